"""What hard links make of changes: names of one inode change together.

A layer says that names are one file by an entry that carries the data, for the first of them, and links to it for the others.
So if any name of an inode is added or modified, all its names have to be in the layer, or the file would fall apart where the
layer is unpacked. That gives the rules, for the names that are one inode in the child (a *group*):

1. If one of them is added or modified, all are; those without a change of their own count as modified.
2. If they were different inodes in the parent, they are modified even when nothing else has changed: they were merged.
3. If several groups stem from one inode of the parent, that was split. The group that holds the first name, in the order of
   paths, may stay as it is; the others are modified.

Removing some names of an inode is nothing but that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from lamina.diff.names import order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.diff.same import Seen

#: Device and inode number.
Inode: TypeAlias = tuple[int, int]


class IncompleteError(Exception):
    """Some names of an inode were not looked at, and the answer depends on them."""


@dataclass(slots=True)
class _Group:
    """Names that are one inode in the child."""

    #: Number of names that the inode has, here or elsewhere.
    names: int
    changed: list[bytes] = field(default_factory=list)
    #: Names without a change of their own, and the inodes that they are in the parent.
    unchanged: list[bytes] = field(default_factory=list)
    origins: set[Inode] = field(default_factory=set)


class Links:
    """The names of files with several names, as a comparison comes across them in the order of paths."""

    def __init__(self) -> None:
        self._groups: dict[Inode, _Group] = {}
        #: Of inodes of the parent: how many names they have, and how many of those were looked at.
        self._wanted: dict[Inode, int] = {}
        self._found: dict[Inode, int] = {}

    def add(self, path: bytes, below: Seen | None, here: Seen | None, *, changed: bool) -> None:
        """Take note of what is at ``path`` in the parent and in the child, if that has several names; directories have not."""
        if below is not None and below.status.st_nlink > 1 and not below.is_directory:
            self._wanted[below.inode] = below.status.st_nlink
            self._found[below.inode] = self._found.get(below.inode, 0) + 1
        elif here is None or here.status.st_nlink < 2:
            return
        if here is None or here.is_directory:
            return
        group = self._groups.setdefault(here.inode, _Group(here.status.st_nlink))
        if changed or below is None:
            group.changed.append(path)
        else:
            group.unchanged.append(path)
            group.origins.add(below.inode)

    def check_complete(self) -> None:
        """Raise :class:`IncompleteError` unless all names were looked at on which an answer depends."""
        for group in self._groups.values():
            if len(group.changed) + len(group.unchanged) < group.names:
                raise IncompleteError
            if any(self._found.get(origin, 1) < self._wanted.get(origin, 1) for origin in group.origins):
                raise IncompleteError

    def modified(self) -> list[bytes]:
        """Return the names that are modified by these rules alone, in the order of paths."""
        result: list[bytes] = []
        stems: dict[Inode, list[list[bytes]]] = {}
        for group in self._groups.values():
            if group.changed or len(group.origins) > 1:
                result += group.unchanged
            else:
                stems.setdefault(next(iter(group.origins)), []).append(group.unchanged)
        for groups in stems.values():
            result += _all_but_first(groups)
        return sorted(result, key=order)


def _all_but_first(groups: Iterable[list[bytes]]) -> list[bytes]:
    """Return the names of all groups but the one with the first name; names in a group are in order already."""
    return [name for group in sorted(groups, key=lambda names: order(names[0]))[1:] for name in group]
