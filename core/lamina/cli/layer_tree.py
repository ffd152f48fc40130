"""The layers as a tree: what stands on what, how much each adds, and how many share it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.cli import render
from lamina.cli.render import Line
from lamina.model import Kind

if TYPE_CHECKING:
    from lamina.store import Store
    from lamina.usage import StoreUsage


@dataclass(frozen=True, slots=True)
class Standing:
    """A snapshot and its place in the tree."""

    key: str
    kind: Kind
    #: Key of the layer that it stands on; empty for the ground.
    parent: str
    #: Bytes on disk of itself, parents apart.
    size: int
    #: Names of the images whose top it is, or their digests where they have none.
    images: tuple[str, ...]
    #: The container whose writable layer it is.
    container: str
    #: How many images and containers show it.
    users: int


@dataclass(frozen=True, slots=True)
class Survey:
    """All snapshots of a store."""

    #: Parents before children.
    standing: tuple[Standing, ...]
    usage: StoreUsage


def survey(store: Store) -> Survey:
    """Look at the whole store."""
    images: dict[str, list[str]] = defaultdict(list)
    for image in store.images.list():
        images[image.layer] += image.names or (render.short(image.digest),)
    containers = {container.snapshot: container.name for container in store.containers.list()}
    usage = store.usage()
    rows = {row.key: row for row in usage.snapshots}
    standing = tuple(
        Standing(
            key=each.key,
            kind=each.kind,
            parent=each.parent,
            size=rows[each.key].usage.size,
            images=tuple(images[each.key]),
            container=containers.get(each.key, ""),
            users=rows[each.key].dependents,
        )
        for each in store.graph.walk()
        if each.key in rows  # else it was made since we counted
    )
    return Survey(standing, usage)


def drawn(found: Survey) -> list[Line]:
    """Return the tree to draw. A layer that alone stands on another continues it: stacks do not wander to the right."""
    children: dict[str, list[Standing]] = defaultdict(list)
    for each in found.standing:
        children[each.parent].append(each)
    lines: list[Line] = []
    pending = [(each, 0, False) for each in reversed(children[""])]
    while pending:
        standing, depth, joined = pending.pop()
        lines.append(_line(standing, depth, joined=joined, shares=found.usage.shares_data))
        above = children[standing.key]
        if len(above) == 1 and above[0].kind is Kind.COMMITTED:
            pending.append((above[0], depth, True))
        else:
            pending += [(each, depth + 1, False) for each in reversed(above)]
    return lines


def summary(found: Survey) -> str:
    """Tell what all of it takes, and what it would take if nothing were shared."""
    stored = sum(each.size for each in found.standing)
    if not found.usage.shares_data:
        return f"{render.size(stored)} on disk; this driver shares nothing, each layer is a whole copy"
    apart = render.size(stored + found.usage.saved)
    return f"{render.size(stored)} on disk; a copy for each image and container would take {apart}"


def _line(standing: Standing, depth: int, *, joined: bool, shares: bool) -> Line:
    note = [f"+{render.size(standing.size)}"]
    if standing.users > 1:
        note.append(f"{'shared' if shares else 'needed'} by {standing.users}")
    if standing.images:
        note.append(f"image {', '.join(standing.images)}")
    if standing.container:
        text, style = f"container {standing.container}", "yellow"
    else:
        text = render.short(standing.key) if standing.kind is Kind.COMMITTED else f"{standing.kind} {standing.key}"
        style = "bold cyan" if standing.images else "cyan"
    return Line(text, "  ".join(note), depth, style, joined)
