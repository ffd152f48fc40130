"""``lamina union``: several directories as one, with a driver's own means and without a store."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamina import config
from lamina.cli import render
from lamina.cli.group import Command
from lamina.cli.session import Session, pass_session
from lamina.driver import UNION_SOURCE, UnionMount
from lamina.errors import DriverUnavailableError, MountBusyError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.host import Host

_WORK = ".lamina-union-"

_directory = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)


@click.command(cls=Command)
@click.argument("directories", nargs=-1, type=_directory, metavar="DIR...")
@click.argument("target", type=_directory)
@click.option(
    "--writable", "upper", type=_directory, metavar="UPPER", help="A directory that lies above all and takes every change."
)
@click.option("--undo", is_flag=True, help="Unmount the union at TARGET instead.")
@pass_session
def command(session: Session, directories: tuple[Path, ...], target: Path, upper: Path | None, undo: bool) -> None:
    """Show several directories as one.

    They are mounted at TARGET, an empty directory, which is printed. Where two have a file of the same name the one of the first
    DIR is seen. The directories themselves are not changed: with --writable all that is written, and what is deleted, is kept in
    UPPER.

    Examples:
      lamina union ./patches ./release /mnt/both
      lamina union ./release /mnt/work --writable ./mine
      lamina union --undo /mnt/work
    """
    if undo:
        _undo(session.host, target)
        return
    _refuse_unsuitable(session.host, directories, target, upper)
    name, union, options = _driver(session, directories[0])
    work = upper.parent / f"{_WORK}{upper.name}" if upper else None
    mount = union.union(directories, options, upper=upper, work=work)
    if work:
        work.mkdir(mode=0o700, exist_ok=True)
    try:
        session.host.mount((mount,), target)
    except BaseException:
        if work:
            session.host.remove_tree(work)
        raise
    render.one(session.format, {"target": target, "driver": name}, str(target))


def _driver(session: Session, place: Path) -> tuple[str, type[UnionMount], object]:
    """Return the driver that was asked for, or the first that can unite directories and runs."""
    asked = session.config
    if asked.driver != "auto":
        driver = session.plugins.driver(asked.driver)
        if not issubclass(driver, UnionMount):
            raise UnsupportedError(driver.name, "uniting directories: see `lamina driver info` for one with the capability union")
        return driver.name, driver, config.parse_options(driver, asked.options)
    for driver in session.plugins.drivers.values():
        if issubclass(driver, UnionMount):
            options = driver.Options()
            if driver.probe(session.host, place, options).ok:
                return driver.name, driver, options
    raise DriverUnavailableError("auto", "no driver with the capability union runs", "see `lamina driver probe`")


def _refuse_unsuitable(host: Host, directories: Sequence[Path], target: Path, upper: Path | None) -> None:
    parts = [*directories, *([upper] if upper else [])]
    if len(parts) < 2:
        raise click.UsageError("a union takes two directories at least, UPPER included: name another")
    for one, other in itertools.combinations([*parts, target], 2):
        if one == other or one in other.parents or other in one.parents:
            raise click.UsageError(f"{one} and {other} are one inside the other: name directories that lie apart")
    if any(entry.target == str(target) for entry in host.mount_table()):
        raise MountBusyError(str(target), ("another mount",))
    with os.scandir(target) as entries:
        if any(entries):
            raise click.UsageError(f"{target} is not empty, and the union would hide what is there: name an empty directory")


def _undo(host: Host, target: Path) -> None:
    entry = next((entry for entry in reversed(host.mount_table()) if entry.target == str(target)), None)
    if entry is None or entry.source != UNION_SOURCE:
        raise click.UsageError(f"there is no union at {target}: findmnt(8) shows what is mounted where")
    host.unmount(target)
    for option in entry.options:
        place = Path(option.partition("=")[2])
        if place.is_absolute() and place.name.startswith(_WORK):
            host.remove_tree(place)
