"""Unpacking one layer stream into a directory.

The result depends on what the layer says and not on the order in which it says it, with two exceptions that the format
leaves no choice: of two entries for one path the last counts, and a hard link follows the file that it is a link to.

In the numbers of the design's settled rules: whiteouts hide what lower layers brought and never what this layer brings (1);
missing directories are 0755 root:root (3); a name with ``..`` is refused (4); a file is used as a directory (5, see
:mod:`lamina.diff.tree`); a directory replaces a symbolic link (6); the root's own entry sets its metadata (9); an attribute that
cannot be set is an error unless asked otherwise (10); ``trusted.*`` and what belongs to one machine is dropped (11, see
:mod:`lamina.diff.xattrs`); devices are left out on request, and reported (12); the last duplicate wins (15); hard links carry
no metadata (16); nanoseconds are kept (17).

A directory that the layer does not describe keeps the times it had. One that the layer needs and nobody describes is of the
epoch, so that a layer unpacks to the same tree at any time.

Old layers written by AUFS hold its records, ``.wh..wh.aufs``, ``.wh..wh.orph`` and ``.wh..wh.plnk``. They are passed over; files
in the last are unpacked for as long as it takes to link to them.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.diff.entries import EntryKind, printable
from lamina.diff.limits import DEFAULT_LIMITS, Limits
from lamina.diff.names import PLINKS, is_reserved, normalized
from lamina.diff.nodes import Maker
from lamina.diff.tar_reader import TarReader
from lamina.diff.tree import Tree
from lamina.diff.union import Union
from lamina.diff.whiteouts import PREFIX, Whiteout, classify
from lamina.driver import Encoding
from lamina.errors import MalformedArchiveError, UnsafeEntryError
from lamina.host.syscalls import link_handle

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.diff.directories import Directory
    from lamina.diff.entries import Entry
    from lamina.diff.streams import Readable


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """How to unpack, and on top of what."""

    #: How the target says "deleted".
    encoding: Encoding = Encoding.PLAIN
    #: With another encoding than PLAIN: handle of the merged tree of the layers below, which must not change meanwhile.
    #: None when there are none, in which case nothing has to be marked as deleted.
    lower: int | None = None
    #: With PLAIN: whether the target holds the tree of layers below already. Unpacking then notes which names are its own.
    has_parent: bool = False
    limits: Limits = DEFAULT_LIMITS
    #: Take a stream that ends without the two blocks of zeros, as `umoci insert` writes it. For those who verify a digest of
    #: the whole stream: nothing else tells such a one from one that was cut between two entries.
    may_lack_end: bool = False
    #: Leave device nodes out, as one must without the privilege to make them.
    skip_devices: bool = False
    #: Go on when the filesystem refuses an extended attribute.
    ignore_xattr_errors: bool = False
    #: Is told the number of bytes of each piece that was read.
    progress: Callable[[int], None] | None = None


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What a layer held."""

    #: Entries, whiteouts among them.
    entries: int
    #: Bytes of the regular files, as the entries declare them.
    size: int
    #: Device nodes that were left out, in the order of the layer.
    skipped: tuple[bytes, ...] = ()


def apply(source: Readable, target_fd: int, options: ApplyOptions = ApplyOptions()) -> ApplyResult:
    """Unpack the uncompressed layer stream ``source`` into the directory ``target_fd``; read it to its end.

    Nobody else may write to the target meanwhile. After an error it holds a part of the layer and is to be thrown away.

    Raises :class:`lamina.errors.ArchiveError` for what is wrong with the stream, :class:`lamina.errors.HostError` for an
    attribute that the filesystem refuses, and ``OSError``, with the entry for its file name, for everything else that it
    refuses: ENOSPC, EMLINK, ENAMETOOLONG for a whiteout that AUFS has no room for.
    """
    maker = Maker(ignore_xattr_errors=options.ignore_xattr_errors)
    if options.encoding is Encoding.PLAIN or options.lower is None:
        tree = Tree(target_fd, maker, has_parent=options.has_parent and options.encoding is Encoding.PLAIN)
    else:
        tree = Union(target_fd, maker, options.lower, options.encoding)
    stream = source if options.progress is None else _Reporting(source, options.progress)
    reader = TarReader(stream, options.limits, may_lack_end=options.may_lack_end)
    try:
        return _Unpacking(tree, maker, reader, skip_devices=options.skip_devices).run()
    finally:
        tree.close()


class _Unpacking:
    """One layer on its way into one tree."""

    def __init__(self, tree: Tree, maker: Maker, reader: TarReader, *, skip_devices: bool) -> None:
        self._tree = tree
        self._maker = maker
        self._reader = reader
        self._skip_devices = skip_devices
        self._skipped: list[bytes] = []
        self._has_plinks = False

    def run(self) -> ApplyResult:
        entries = size = 0
        for entry in self._reader:
            entries += 1
            size += entry.size
            try:
                path = normalized(entry.name)
                if not path:
                    self._root(entry)
                elif PREFIX not in path or not self._is_sign(entry, path):
                    self._place(entry, path)
            except OSError as error:
                # What the kernel names is the last component, or nothing.
                error.filename = printable(entry.name)
                raise
        if self._has_plinks:
            self._tree.vacate(self._tree.directories.root, PLINKS)
        return ApplyResult(entries, size, tuple(self._skipped))

    def _root(self, entry: Entry) -> None:
        if entry.kind is not EntryKind.DIRECTORY:
            raise UnsafeEntryError(printable(entry.name), "the root can be nothing but a directory")
        self._maker.describe(self._tree.directories.root, entry, is_new=False)

    def _is_sign(self, entry: Entry, path: bytes) -> bool:
        """Do what a whiteout or a record of AUFS asks for; False for an entry that is to be made."""
        top, _, rest = path.partition(b"/")
        if top == PLINKS and rest:
            self._has_plinks = True
            return False
        above, _, name = path.rpartition(b"/")
        sign = classify(top)
        if sign and sign[0] is Whiteout.META:
            return True
        if is_reserved(path):
            raise UnsafeEntryError(printable(path), "a name below a whiteout")
        sign = classify(name)
        if sign is None:
            return False
        # AUFS itself made its whiteouts as hard links of each other, and wrote them so.
        if entry.kind is not EntryKind.FILE and entry.kind is not EntryKind.HARDLINK:
            raise UnsafeEntryError(printable(path), "a whiteout that is no regular file")
        kind, hidden = sign
        if kind is Whiteout.PLAIN:
            self._tree.whiteout(above, hidden)
        elif kind is Whiteout.OPAQUE:
            self._tree.opaque(above)
        return True

    def _place(self, entry: Entry, path: bytes) -> None:
        """Make what an entry describes."""
        tree = self._tree
        above, _, name = path.rpartition(b"/")
        parent = tree.directories.get(above) or tree.parent(above)
        kind = entry.kind
        if kind is EntryKind.DIRECTORY:
            directory, is_new = tree.make_directory(parent, name, path)
            self._maker.describe(directory, entry, is_new=is_new)
            return
        if kind is EntryKind.HARDLINK:
            self._link(entry, path)
            return
        if self._skip_devices and (kind is EntryKind.CHAR or kind is EntryKind.BLOCK):
            self._skipped.append(path)
            return
        if parent.record is not None:
            tree.claim(parent, name)
        parent.touched = True
        try:
            self._make(parent, name, entry)
        except FileExistsError:
            tree.vacate(parent, name)
            self._make(parent, name, entry)

    def _make(self, parent: Directory, name: bytes, entry: Entry) -> None:
        if entry.kind is EntryKind.FILE:
            self._maker.file(parent, name, entry, self._reader.body())
        elif entry.kind is EntryKind.SYMLINK:
            self._maker.symlink(parent, name, entry)
        else:
            self._maker.special(parent, name, entry)

    def _link(self, entry: Entry, path: bytes) -> None:
        """Make a hard link. The target is a path inside the root, whether it starts with a slash or not."""
        target = normalized(entry.link)
        handle = self._tree.open_node(target) if target else None
        if handle is None:
            raise MalformedArchiveError(printable(entry.name), f"a hard link to {printable(entry.link)}, which is not there")
        try:
            if stat.S_ISDIR(os.fstat(handle).st_mode) or target == path:
                raise MalformedArchiveError(printable(entry.name), "a hard link to a directory, or to itself")
            # Finding the target may have closed any other directory.
            above, _, name = path.rpartition(b"/")
            parent = self._tree.parent(above)
            self._tree.claim(parent, name)
            parent.touched = True
            try:
                link_handle(handle, parent.fd, name)
            except FileExistsError:
                self._tree.vacate(parent, name)
                if not os.fstat(handle).st_nlink:
                    raise MalformedArchiveError(printable(entry.name), "a hard link to what it replaces") from None
                link_handle(handle, parent.fd, name)
        finally:
            os.close(handle)


class _Reporting:
    """A stream that tells how much of it was read."""

    def __init__(self, source: Readable, report: Callable[[int], None]) -> None:
        self._source = source
        self._report = report

    def read(self, n: int, /) -> bytes:
        piece = self._source.read(n)
        self._report(len(piece))
        return piece
