"""``lamina store``: the store as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lamina.cli import render
from lamina.cli.group import Group
from lamina.cli.render import Column
from lamina.cli.session import Session, pass_session
from lamina.config import Format
from lamina.errors import StoreExistsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.recovery import Finding
    from lamina.usage import SnapshotUsage

#: Exit code of `check` when something was found that `repair` does not mend.
FOUND = 4


@click.group(cls=Group)
def command() -> None:
    """The store: making and removing it, where the space goes, and whether all is well."""


@command.command()
@click.option("--loop", metavar="SIZE", help="Make the driver's storage in a sparse file of this size, such as 20G.")
@pass_session
def init(session: Session, loop: str | None) -> None:
    """Make a store and print where it is.

    Any command that adds something makes one too. With --loop a driver that needs a filesystem or disk of its own (btrfs) runs
    anywhere: its storage is a file in the store, attached whenever the store is opened.

    Example:
      lamina --root /srv/lamina --driver btrfs store init --loop 20G
    """
    if loop:
        session.tell("loop", loop)
    if (session.config.root / "lamina.db").exists():
        raise StoreExistsError(session.config.root)
    with session.store(create=True) as store:
        click.echo(store.root)


@command.command()
@click.option("--force", is_flag=True, help="Also while something of it is mounted.")
@pass_session
def destroy(session: Session, force: bool) -> None:
    """Remove the store with all that is in it.

    That is: images, containers, layers, and the storage that `init --loop` made. What else is in the directory stays.

    Example:
      lamina --root /srv/lamina store destroy
    """
    with session.store() as store:
        store.destroy(force=force)


@command.command()
@pass_session
def info(session: Session) -> None:
    """Show what the store is and what it holds.

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
@pass_session
def usage(session: Session) -> None:
    """Show where the space goes, each byte counted once.

    NEEDED BY says how many images and containers show a layer; it is stored once for all of them.

    Example:
      lamina store usage
    """
    with session.store() as store:
        found = store.usage()
    if session.format is Format.JSON:
        render.json(found)
        return
    columns: list[Column[SnapshotUsage]] = [
        Column("LAYER", lambda row: render.short(row.key)),
        Column("KIND", lambda row: row.kind),
        Column("SIZE", lambda row: render.size(row.usage.size), right=True),
        Column("INODES", lambda row: str(row.usage.inodes), right=True),
        Column("NEEDED BY", lambda row: str(row.dependents or "nobody"), right=True),
    ]
    render.table(session.format, found.snapshots, columns, empty="no layers")
    lines = [
        ("layers", render.size(found.layers.size)),
        ("writable layers", render.size(found.writable.size)),
        ("image blobs", render.size(found.blobs)),
        ("saved by sharing", render.size(found.saved) if found.shares_data else "nothing, this driver copies"),
        ("needed by nobody", render.size(found.unneeded)),
    ]
    click.echo()
    render.record(session.format, found, lines)


@command.command()
@click.option("--deep", is_flag=True, help="Read every blob and compare its digest.")
@click.pass_context
@pass_session
def check(session: Session, context: click.Context, deep: bool) -> None:
    """Compare records, objects on disk, mounts and blobs; nothing is changed.

    The exit code is 4 when they disagree anywhere.

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
def repair(session: Session, dry_run: bool) -> None:
    """Mend what `check` finds, as far as that loses nothing, and list it.

    Example:
      lamina store repair --dry-run
    """
    with session.store() as store:
        found = store.repair(dry_run=dry_run)
    _print(session.format, found, empty="nothing to mend")


@command.command()
@pass_session
def gc(session: Session) -> None:
    """Remove what nobody needs.

    That is: images without a name or a container, and layers and blobs without an image.

    Example:
      lamina store gc
    """
    with session.store() as store:
        found = store.gc()
    lines = [
        ("images", "\n".join(found.images) or "-"),
        ("layers", "\n".join(found.layers) or "-"),
        ("blobs", "\n".join(found.blobs) or "-"),
        ("given back", render.size(found.size)),
    ]
    render.record(session.format, found, lines)


def _print(form: Format, found: Sequence[Finding], *, empty: str) -> None:
    columns: list[Column[Finding]] = [
        Column("SEVERITY", lambda row: row.severity, style=lambda row: "red" if row.severity == "damage" else "yellow"),
        Column("WHAT", lambda row: row.subject, wrap=True),
        Column("PROBLEM", lambda row: row.problem, wrap=True),
        Column("CURE", lambda row: row.cure, wrap=True),
    ]
    render.table(form, found, columns, empty=empty)
