"""``lamina store``: the store as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamina.cli import render
from lamina.cli.group import Group
from lamina.cli.render import Column
from lamina.cli.session import Session, pass_session
from lamina.config import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.recovery import Finding

#: Exit code of `check` when something was found that `repair` does not mend.
FOUND = 4


@click.group(cls=Group)
def command() -> None:
    """The store: where the space goes, and whether everything is as it should be."""


@command.command()
@pass_session
def info(session: Session) -> None:
    r"""Show what the store is and what it holds.

    \b
    Example:
      lamina store info
    """
    with session.store() as store:
        found = store.info()
    lines = [
        ("root", str(found.root)),
        ("driver", found.driver),
        ("options", "\n".join(f"{name}={value}" for name, value in found.options.items()) or "-"),
        ("durability", found.durability),
        ("filesystem", f"{found.filesystem}, {render.size(found.free)} free"),
        ("images", str(found.images)),
        ("containers", str(found.containers)),
        ("snapshots", ", ".join(f"{count} {kind}" for kind, count in found.snapshots.items()) or "none"),
    ]
    render.record(session.format, found, lines)


@command.command()
@click.option("--deep", is_flag=True, help="Read every blob and compare its digest.")
@click.pass_context
@pass_session
def check(session: Session, context: click.Context, deep: bool) -> None:  # noqa: FBT001  click passes it by name
    r"""Compare records, objects on disk, mounts and blobs; nothing is changed.

    The exit code is 4 when they disagree anywhere.

    \b
    Example:
      lamina store check --deep
    """
    with session.store() as store:
        found = store.check(deep=deep)
    _print(session.format, found, empty="everything agrees")
    if found:
        context.exit(FOUND)


@command.command()
@click.option("-n", "--dry-run", is_flag=True, help="Only tell what would be mended.")
@pass_session
def repair(session: Session, dry_run: bool) -> None:  # noqa: FBT001  click passes it by name
    r"""Mend what `check` finds, as far as that loses nothing, and list it.

    \b
    Example:
      lamina store repair --dry-run
    """
    with session.store() as store:
        found = store.repair(dry_run=dry_run)
    _print(session.format, found, empty="nothing to mend")


def _print(form: Format, found: Sequence[Finding], *, empty: str) -> None:
    columns: list[Column[Finding]] = [
        Column("SEVERITY", lambda row: row.severity, style=lambda row: "red" if row.severity == "damage" else "yellow"),
        Column("WHAT", lambda row: row.subject, wrap=True),
        Column("PROBLEM", lambda row: row.problem, wrap=True),
        Column("CURE", lambda row: row.cure, wrap=True),
    ]
    render.table(form, found, columns, empty=empty)
