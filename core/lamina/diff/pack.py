"""Writing changes as an OCI layer: for the same two trees always the same bytes.

Entries come in the order of paths, each directory on the way to one before it and with its attributes as they are (rule 7 of
the design); in a directory the whiteouts come first. Deleted names are whiteouts one by one, never an opaque mark (rule 8).
What took the place of a node of another type needs no whiteout. Of the names of one inode the first carries the data and
the others are links to it. The root has an entry only if it was modified (rule 9).

Names have no leading ``./``, and directories a trailing slash. A whiteout is an empty file without permissions, of root and of
the epoch.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.diff.entries import NO_XATTRS, Entry, EntryKind, printable
from lamina.diff.nodes import descent, enter, open_file, read_node
from lamina.diff.tar_writer import TarWriter
from lamina.diff.whiteouts import PREFIX
from lamina.errors import HostError, UnrepresentableError
from lamina.model import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.diff.streams import Writable
    from lamina.host.descent import Descent
    from lamina.model import Change


@dataclass(frozen=True, slots=True)
class PackResult:
    """What a layer that was written holds."""

    #: Entries, whiteouts and the directories on the way among them.
    entries: int
    #: Bytes of the regular files, each inode once.
    size: int
    #: Sockets, which no archive can hold, and which were left out.
    sockets: int


def pack(changes: Iterable[Change], child_fd: int, sink: Writable) -> PackResult:
    """Write the layer that turns the parent into the tree ``child_fd``, given what :func:`lamina.diff.changes_of` found.

    ``sink`` is not closed; after an error what it got is no archive.

    Raises :class:`lamina.errors.UnrepresentableError` for a name that starts with ``.wh.``, for an extended attribute that no
    archive can hold, and for a file whose size changes while it is read, :class:`lamina.errors.HostError` for one that vanishes.
    """
    with descent(child_fd) as at:
        packing = _Packing(at, sink)
        for change in sorted(changes, key=_order):
            packing.add(change)
        return packing.finish()


def _order(change: Change) -> bytes:
    """Key for the order of entries: as :func:`lamina.diff.names.order`, but whiteouts before their siblings."""
    path = change.path
    if path == b".":
        return b""
    above, slash, name = path.rpartition(b"/")
    mark = b"\0\0" if change.kind is ChangeKind.DELETED else b"\0\1"
    return (b"\0\1" + above.replace(b"/", b"\0\1") if slash else b"") + mark + name


class _Packing:
    """One layer being written."""

    def __init__(self, tree: Descent, sink: Writable) -> None:
        self._tree = tree
        self._writer = TarWriter(sink)
        #: Components of the directory at hand.
        self._at: list[bytes] = []
        #: Directories that were gone into, and whose entries are due when something in them is written.
        self._due: list[Entry] = []
        #: Path of the latest directory that was written.
        self._latest = b""
        #: First names of inodes that have several.
        self._first: dict[tuple[int, int], bytes] = {}
        self._entries = self._size = self._sockets = 0

    def add(self, change: Change) -> None:
        """Write one change."""
        path = change.path
        if path == b".":
            self._write(replace(read_node(b"", os.fstat(self._tree.fd), self._tree.fd, b"."), name=b"./"))
            return
        above, _, name = path.rpartition(b"/")
        if name.startswith(PREFIX):
            raise _reserved(path)
        try:
            self._go(above)
            if change.kind is ChangeKind.DELETED:
                self._write(Entry(path[: len(path) - len(name)] + PREFIX + name, EntryKind.FILE, mode=0))
            else:
                self._add_node(path, name)
        except FileNotFoundError as error:
            where = printable(path)
            raise HostError(where, f"{where}: vanished while its tree was read: stop what writes to it and try again") from error

    def finish(self) -> PackResult:
        """End the archive."""
        self._writer.close()
        return PackResult(self._entries, self._size, self._sockets)

    def _go(self, path: bytes) -> None:
        """Go to a directory; those on the way are written before the next entry, unless they were."""
        names = path.split(b"/") if path else []
        common = 0
        for one, other in zip(names, self._at, strict=False):
            if one != other:
                break
            common += 1
        gone = len(self._at) - common
        for _ in range(gone):
            self._tree.leave()
        del self._at[common:]
        del self._due[max(0, len(self._due) - gone) :]
        for name in names[common:]:
            self._at.append(name)
            here = b"/".join(self._at)
            if name.startswith(PREFIX):
                raise _reserved(here)
            if here != self._latest:
                status = os.stat(name, dir_fd=self._tree.fd, follow_symlinks=False)
                self._due.append(read_node(here + b"/", status, self._tree.fd, name))
            enter(self._tree, name)

    def _add_node(self, path: bytes, name: bytes) -> None:
        dir_fd = self._tree.fd
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if stat.S_ISSOCK(status.st_mode):
            self._sockets += 1
        elif stat.S_ISDIR(status.st_mode):
            self._write(read_node(path + b"/", status, dir_fd, name))
            self._latest = path
        elif status.st_nlink > 1 and (first := self._first.setdefault((status.st_dev, status.st_ino), path)) != path:
            # Some readers give the file what the entry of a link says, so that has to be the same again.
            entry = read_node(path, status, dir_fd, name)
            self._write(replace(entry, kind=EntryKind.HARDLINK, size=0, link=first, major=0, minor=0, xattrs=NO_XATTRS))
        elif stat.S_ISREG(status.st_mode):
            self._add_file(path, name)
        else:
            self._write(read_node(path, status, dir_fd, name))

    def _add_file(self, path: bytes, name: bytes) -> None:
        fd = open_file(self._tree.fd, name)
        try:
            entry = read_node(path, os.fstat(fd), self._tree.fd, name)
            if entry.kind is not EntryKind.FILE:
                raise UnrepresentableError(printable(path), "it changed while it was read")
            self._write(entry, fd)
        finally:
            os.close(fd)

    def _write(self, entry: Entry, body: int = -1) -> None:
        """Write an entry, after those of the directories on the way to it."""
        for directory in self._due:
            self._writer.add(directory)
        self._writer.add(entry, () if body < 0 else body)
        self._entries += len(self._due) + 1
        self._size += entry.size
        self._due.clear()


def _reserved(path: bytes) -> UnrepresentableError:
    """Return the error for a name that means something else in a layer."""
    return UnrepresentableError(printable(path), "names that start with '.wh.' stand for deleted files")
