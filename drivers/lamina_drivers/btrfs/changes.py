"""What a send stream says about paths: which may differ, and how many bytes were written.

A stream tells a way from the parent's tree to the child's, and a path in it is one on that way: new inodes come under names of
their own (``o257-9-0``), directories move, and what was at a path when it was written may be elsewhere in the end. So the steps
are done again, on a tree that holds only the names that were mentioned, each of which knows where it was in the parent. What has
changed is then told by both of its paths, and the trees themselves have the last word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina.driver import Touched
from lamina.errors import UnsupportedError
from lamina_drivers.btrfs.stream import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina_drivers.btrfs.stream import Step

_MAKING = frozenset(
    (
        Command.MAKE_FILE,
        Command.MAKE_DIRECTORY,
        Command.MAKE_NODE,
        Command.MAKE_FIFO,
        Command.MAKE_SOCKET,
        Command.SYMLINK,
    )
)


@dataclass(slots=True, eq=False)
class _Node:
    """A name that a stream has mentioned."""

    #: Its path in the parent; None for what is new.
    origin: bytes | None
    name: bytes
    #: The directory that it is in now; None for the root and for what was removed.
    above: _Node | None
    #: Names in it that were mentioned; None for one that is no longer there.
    names: dict[bytes, _Node | None] = field(default_factory=dict)
    is_moved: bool = False
    #: Bytes written to it.
    written: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """A file that data were written to."""

    path: bytes
    #: Bytes of its extents that are not the parent's.
    size: int


class Replay:
    """The steps of one stream, done on names alone."""

    def __init__(self, steps: Iterable[Step]) -> None:
        """Go through ``steps``. Raises :class:`UnsupportedError` for a step that contradicts those before."""
        self._root = _Node(b"", b"", None)
        #: All that was mentioned as changed, in order; a dict, since it is a set that keeps it.
        self._changed: dict[_Node, None] = {self._root: None}
        #: Number of inodes that are new.
        self.made = 0
        for step in steps:
            self._do(step)

    def touched(self) -> Iterator[Touched]:
        """Yield every path that may differ, in the parent or in the child."""
        for node in self._changed:
            path = self._path(node)
            moved = node.is_moved or path is None
            if path is not None:
                yield Touched(path or b".", subtree=moved and node.origin is not None)
            if node.origin is not None and node.origin != path:
                yield Touched(node.origin, subtree=True)

    def written(self) -> Iterator[Written]:
        """Yield the files of the child with new data."""
        for node in self._changed:
            path = self._path(node)
            if node.written and path is not None:
                yield Written(path, node.written)

    def _do(self, step: Step) -> None:
        command = step.command
        if command in _MAKING:
            self._changed[self._add(step.path, _Node(None, b"", None))] = None
            self.made += 1
        elif command is Command.LINK:
            self._changed[self._find(step.other)] = None
            self._changed[self._add(step.path, _Node(None, b"", None))] = None
        elif command is Command.RENAME:
            node = self._take(step.path)
            node.is_moved = True
            self._changed[self._add(step.other, node)] = None
        elif command in (Command.UNLINK, Command.REMOVE_DIRECTORY):
            self._changed[self._take(step.path)] = None
        else:
            node = self._find(step.path)
            self._changed[node] = None
            if command is Command.UPDATE_EXTENT:
                node.written += step.size

    def _find(self, path: bytes) -> _Node:
        """Return what is at ``path`` at this point of the stream: what was not mentioned yet is where it was in the parent."""
        node = self._root
        for name in path.split(b"/") if path else ():
            known = node.names.get(name, node)
            if known is None or (known is node and node.origin is None):
                raise _contradiction(path)
            if known is node:
                known = _Node(node.origin + b"/" + name if node.origin else name, name, node)
                node.names[name] = known
            node = known
        return node

    def _take(self, path: bytes) -> _Node:
        """Return what is at ``path``, and take it away from there."""
        node = self._find(path)
        if node.above is None:
            raise _contradiction(path)
        node.above.names[node.name] = None
        node.above = None
        return node

    def _add(self, path: bytes, node: _Node) -> _Node:
        """Put ``node`` at ``path``, which has to be free."""
        directory, _, name = path.rpartition(b"/")
        above = self._find(directory)
        if not name or above.names.get(name) is not None:
            raise _contradiction(path)
        above.names[name] = node
        node.name, node.above = name, above
        return node

    def _path(self, node: _Node) -> bytes | None:
        """Return where a node is in the child; None if it is not there."""
        names = []
        while node is not self._root:
            if node.above is None:
                return None
            names.append(node.name)
            node = node.above
        return b"/".join(reversed(names))


def _contradiction(path: bytes) -> UnsupportedError:
    return UnsupportedError("btrfs", f"this send stream: a step at {path!r} that contradicts those before")
