"""``lamina layer``: the layers themselves, how they stand on each other, and what each changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamina.cli import names, render
from lamina.cli.group import Group
from lamina.cli.render import Column
from lamina.cli.session import Session, pass_session
from lamina.config import Format

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from lamina.model import Kind, Snapshot
    from lamina.store import Store

_NONE = "no layers: `lamina image load` brings some"


@dataclass(frozen=True, slots=True)
class Listed:
    """A snapshot and what it takes."""

    key: str
    kind: Kind
    parent: str
    created: datetime
    diff_id: str
    labels: Mapping[str, str]
    #: Of itself, parents apart: bytes on disk, and inodes.
    size: int
    inodes: int


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything about one snapshot."""

    snapshot: Snapshot
    size: int
    inodes: int
    #: Keys, nearest first.
    ancestors: tuple[str, ...]
    children: tuple[str, ...]
    mounted_at: tuple[Path, ...]


@click.group(cls=Group)
def command() -> None:
    """Layers: how they stand on each other, and what each changed.

    A layer is called by its key, by the first digits of its digest, or by the name of an image or a container that it is the
    top of.
    """


@command.command("list")
@click.option("-a", "--all", "everything", is_flag=True, help="Containers' writable layers and views too.")
@pass_session
def list_layers(session: Session, everything: bool) -> None:
    """List the layers, parents before children.

    Example:
      lamina layer list --all
    """
    with session.store() as store:
        found = [_listed(store, each) for each in (store.graph.walk() if everything else store.layers.list())]
    columns: list[Column[Listed]] = [
        Column("LAYER", lambda row: render.short(row.key)),
        Column("KIND", lambda row: row.kind),
        Column("PARENT", lambda row: render.short(row.parent) or "-"),
        Column("SIZE", lambda row: render.size(row.size), right=True),
        Column("CREATED", lambda row: render.when(row.created)),
    ]
    render.table(session.format, found, columns, empty=_NONE)


@command.command()
@pass_session
def tree(session: Session) -> None:
    """Draw the layers as they stand on each other, with the images and containers on top.

    The size beside a layer is what it adds. A layer that several images or containers stand on is stored once, and says how
    many share it.

    Example:
      lamina layer tree
    """
    from lamina.cli import layer_tree

    with session.store() as store:
        found = layer_tree.survey(store)
    render.tree(session.format, found.standing, layer_tree.drawn(found), empty=_NONE)
    if session.format is Format.TABLE and found.standing:
        click.echo(layer_tree.summary(found))


@command.command()
@click.argument("layer", shell_complete=names.complete_layers)
@pass_session
def show(session: Session, layer: str) -> None:
    """Show all that is known of one layer.

    Example:
      lamina layer show debian
    """
    with session.store() as store:
        found = _shown(store, names.snapshot(store, layer))
    lines = [
        ("key", found.snapshot.key),
        ("kind", found.snapshot.kind),
        ("diff id", found.snapshot.diff_id or "-"),
        ("created", render.when(found.snapshot.created)),
        ("updated", render.when(found.snapshot.updated)),
        ("size", f"{render.size(found.size)} in {found.inodes} inodes, parents apart"),
        ("labels", "\n".join(f"{name}={value}" for name, value in found.snapshot.labels.items()) or "-"),
        ("stands on", "\n".join(found.ancestors) or "nothing"),
        ("carries", "\n".join(found.children) or "nothing"),
        ("mounted at", "\n".join(map(str, found.mounted_at)) or "-"),
    ]
    render.record(session.format, found, lines)


@command.command()
@click.argument("layer", shell_complete=names.complete_layers)
@click.argument("target", required=False, type=click.Path(path_type=Path))
@pass_session
def mount(session: Session, layer: str, target: Path | None) -> None:
    """Mount a layer read-only, for looking, and print where.

    Without TARGET, an existing directory, the place is inside the store.

    Example:
      ls "$(lamina layer mount debian)"
    """
    with session.store() as store:
        place = store.mounts.mount(names.snapshot(store, layer).key, target)
    render.one(session.format, place, str(place))


@command.command()
@click.argument("layer", shell_complete=names.complete_layers)
@click.argument("target", required=False, type=click.Path(path_type=Path))
@pass_session
def unmount(session: Session, layer: str, target: Path | None) -> None:
    """Unmount a layer from TARGET, or from everywhere.

    Example:
      lamina layer unmount debian
    """
    with session.store() as store:
        store.mounts.unmount(names.snapshot(store, layer).key, target)


@command.command()
@click.argument("layer", metavar="A", shell_complete=names.complete_layers)
@click.argument("against", metavar="[B]", required=False, shell_complete=names.complete_layers)
@pass_session
def changes(session: Session, layer: str, against: str | None) -> None:
    """List the paths that layer A added (A), modified (M) or deleted (D).

    Compared is with its parent, or with B, any other layer.

    Examples:
      lamina layer changes debian-curl
      lamina layer changes debian-curl debian
    """
    with session.store() as store:
        key = names.snapshot(store, layer).key
        base = names.snapshot(store, against).key if against else None
        render.changes(session.format, store.layers.changes(key, against=base))


@command.command()
@click.argument("layers", nargs=-1, required=True, metavar="LAYER...", shell_complete=names.complete_layers)
@pass_session
def remove(session: Session, layers: tuple[str, ...]) -> None:
    """Remove layers that nothing stands on: no layer, image, container or mount.

    Example:
      lamina layer remove 3f2a9c41d0e7
    """
    with session.store() as store:
        for layer in layers:
            store.graph.remove(names.snapshot(store, layer).key)


def _listed(store: Store, found: Snapshot) -> Listed:
    usage = store.graph.usage(found.key)
    return Listed(found.key, found.kind, found.parent, found.created, found.diff_id, found.labels, usage.size, usage.inodes)


def _shown(store: Store, found: Snapshot) -> Shown:
    usage = store.graph.usage(found.key)
    ancestors = tuple(each.key for each in store.graph.chain(found.key))
    children = tuple(each.key for each in store.graph.children(found.key))
    return Shown(found, usage.size, usage.inodes, ancestors, children, store.mounts.mounted(found.key))
