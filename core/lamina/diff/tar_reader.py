"""Reading a layer tar: strictly, in one pass, and without ever holding more than a chunk of it.

Strict means: what GNU tar, Go and Python read differently is refused, and so is everything that ends too early. An archive
ends with two blocks of zeros, unless a digest vouches for it (``may_lack_end``); a stream of no bytes, or of one block of
zeros, is an archive without entries, as it is for Go.

Formats: ustar and its forerunners, PAX (global headers have no effect, as in Go), GNU (long names, base-256, sparse files).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.diff import header, pax, sparse
from lamina.diff.entries import Entry, EntryKind, printable
from lamina.diff.header import BLOCK, ZEROS, number
from lamina.diff.limits import DEFAULT_LIMITS
from lamina.diff.streams import CHUNK, Window
from lamina.errors import LimitExceededError, MalformedArchiveError, UnsafeEntryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.diff.limits import Limits
    from lamina.diff.streams import Readable

_KINDS = {
    0x00: EntryKind.FILE,  # before POSIX; a directory if the name ends in "/"
    ord("0"): EntryKind.FILE,
    ord("7"): EntryKind.FILE,  # "contiguous"
    ord("S"): EntryKind.FILE,  # sparse, in GNU's first way
    ord("1"): EntryKind.HARDLINK,
    ord("2"): EntryKind.SYMLINK,
    ord("3"): EntryKind.CHAR,
    ord("4"): EntryKind.BLOCK,
    ord("5"): EntryKind.DIRECTORY,
    ord("6"): EntryKind.FIFO,
}
_GNU_SPARSE = ord("S")
_EXTENDED = frozenset(b"xgLK")
_SECOND = 1_000_000_000


class TarReader:
    """The entries of an uncompressed tar stream, in its order, to be gone through once::

        reader = TarReader(source)
        for entry in reader:
            for piece in reader.body():
                os.write(fd, piece)

    Every step raises :class:`lamina.errors.MalformedArchiveError` for bytes that break the format or end too early,
    :class:`lamina.errors.UnsafeEntryError` for entries that mean different things to different readers,
    :class:`lamina.errors.LimitExceededError`, and whatever ``source`` raises. After an error the reader is useless.

    The iteration ends when ``source`` is at *its* end, behind whatever follows the archive, so that a digest taken of the
    source covers all of it. Names are as in the archive: nothing says that a path stays inside the layer, that its parent
    exists, or that it comes only once. ``label`` is what errors call the stream.
    """

    def __init__(
        self, source: Readable, limits: Limits = DEFAULT_LIMITS, *, label: str = "archive", may_lack_end: bool = False
    ) -> None:
        self._window = Window(source)
        self._limits = limits
        self._label = label
        self._may_lack_end = may_lack_end
        #: Bytes of the entry's data that are still ahead in the stream, and of the padding behind them.
        self._left = 0
        self._padding = 0
        self._map: sparse.SparseMap | None = None
        self._unpacked = 0
        #: Names so short that no limit can be passed, and need not be looked at.
        self._short = min(limits.name_bytes, limits.path_bytes, limits.symlink_bytes, 2 * limits.depth)
        self._entries = self._read()

    def __iter__(self) -> Iterator[Entry]:
        return self._entries

    @property
    def offset(self) -> int | None:
        """Where in ``source`` the data of the entry at hand begin, as long as none of :meth:`body` was taken; None for a sparse
        file, whose data are in pieces."""
        return self._window.position if self._map is None else None

    def body(self) -> Iterator[memoryview]:
        """Yield the data of the entry at hand, ``entry.size`` bytes in all; the next step of the iteration passes over the rest.

        The pieces are views of the chunks that were read, as large as those allow; they never change. The holes of a sparse
        file come as zeros.
        """
        return self._data(self._left) if self._map is None else self._map.expand(self._data)

    def _data(self, n: int) -> Iterator[memoryview]:
        """Yield the next ``n`` bytes that are stored for the entry."""
        while n and self._left:
            piece = self._window.some(min(n, self._left))
            if not piece:
                raise self._malformed("ends in the middle of an entry's data")
            n -= len(piece)
            self._left -= len(piece)
            yield piece

    def _read(self) -> Iterator[Entry]:
        window, limits = self._window, self._limits
        extended: pax.Extended | None = None
        count = 0
        while True:
            if not window.skip(self._left):
                raise self._malformed("ends in the middle of an entry's data")
            if not window.skip(self._padding):
                if self._may_lack_end:
                    break
                raise self._malformed("ends in the middle of an entry's padding")
            self._left = self._padding = 0
            self._map = None
            block = window.take(BLOCK)
            if block == ZEROS or len(block) < BLOCK:
                if extended is not None:
                    raise self._malformed("ends behind an extended header, without its entry")
                self._end(block)
                break
            try:
                header.check(block)
                flag = block[156]
                if flag in _EXTENDED:
                    extended = self._extend(extended, block, flag)
                    continue
                entry = self._entry(block, flag, extended)
            except ValueError as error:
                raise self._malformed(str(error)) from None
            if entry.xattrs or len(entry.name) + len(entry.link) > self._short:
                limits.check(entry, self._label)
            extended = None
            count += 1
            if count > limits.entries:
                raise LimitExceededError(self._label, "entries", limits.entries)
            self._unpacked += entry.size
            if self._unpacked > limits.unpacked_bytes:
                raise LimitExceededError(self._label, "unpacked_bytes", limits.unpacked_bytes)
            yield entry

    def _end(self, block: bytes) -> None:
        """Verify the end of the archive, ``block`` being its first block or less, and pass over the rest."""
        is_empty = self._window.position == len(block)
        if block == ZEROS:
            second = self._window.take(BLOCK)
            if second != ZEROS and (second or not (is_empty or self._may_lack_end)):
                raise self._malformed("only one of the two blocks of zeros that end an archive")
        elif block or not (is_empty or self._may_lack_end):
            raise self._malformed("ends without the two blocks of zeros that end an archive")
        trailing = 0
        while piece := self._window.some(CHUNK):
            trailing += len(piece)
            if trailing > self._limits.unpacked_bytes:
                raise LimitExceededError(f"{self._label}, behind its end", "unpacked_bytes", self._limits.unpacked_bytes)

    def _extend(self, extended: pax.Extended | None, block: bytes, flag: int) -> pax.Extended | None:
        """Read an extended header and return what is known about the entry to come, ``extended`` being what was known before."""
        size = number(block[124:136], "size")
        if size > self._limits.header_bytes:
            raise LimitExceededError(self._label, "header_bytes", self._limits.header_bytes, size)
        body = self._take(size)
        self._padding = header.padding(size)
        if flag == ord("g"):
            if extended is not None:
                raise ValueError("a global header between an entry and its extended header")
            for _ in pax.records(body):
                pass  # without effect, yet a malformed one is refused
            return None
        extended = extended or pax.Extended()
        if flag == ord("x"):
            extended.add_pax(body)
        elif flag == ord("L"):
            extended.add_gnu_path(body)
        else:
            extended.add_gnu_link(body)
        return extended

    def _entry(self, block: bytes, flag: int, extended: pax.Extended | None) -> Entry:
        """Return the entry that a header makes, and note where its data end."""
        kind = _KINDS.get(flag)
        if kind is None:
            raise ValueError(f"type flag {chr(flag)!r}, which no layer can hold")
        mode, uid, gid = header.ownership(block[100:124])
        size = number(block[124:136], "size")
        mtime = number(block[136:148], "mtime", header.MIN_TIME, header.MAX_TIME) * _SECOND
        entry = Entry(header.path(block), kind, mode, uid, gid, size, mtime)
        if kind is EntryKind.SYMLINK or kind is EntryKind.HARDLINK:
            entry.link = header.text(block, 157, 257)
        elif kind is EntryKind.CHAR or kind is EntryKind.BLOCK:
            entry.major, entry.minor = header.device(block)
        if extended is not None:
            extended.amend(entry)
        if not entry.name:
            raise ValueError("an entry without a name")
        if kind is EntryKind.FILE and entry.name.endswith(b"/"):
            if flag:
                raise self._unsafe(entry, "a file by its type, a directory by its name")
            kind = entry.kind = EntryKind.DIRECTORY
        if kind is EntryKind.FILE:
            self._left = entry.size
            self._padding = header.padding(entry.size)
            if flag == _GNU_SPARSE or (extended is not None and extended.sparse):
                self._map = self._sparse_map(block, flag, extended)
                entry.size = self._map.size
        elif kind is EntryKind.HARDLINK:
            entry.size = 0  # many writers repeat the size of the file; all readers know that no data follow
        elif entry.size:
            raise self._unsafe(entry, "data where some readers skip them and others do not")
        if not entry.link and (kind is EntryKind.SYMLINK or kind is EntryKind.HARDLINK):
            raise ValueError(f"link {printable(entry.name)} without a target")
        if kind is EntryKind.CHAR and not entry.major and not entry.minor:
            raise self._unsafe(entry, "character device 0:0, which overlay takes for a whiteout")
        return entry

    def _sparse_map(self, block: bytes, flag: int, extended: pax.Extended | None) -> sparse.SparseMap:
        limit = self._limits.sparse_segments
        if extended is None or flag == _GNU_SPARSE:
            if not header.is_gnu(block):
                raise ValueError("type flag 'S' in a header that is not GNU's")
            found = sparse.from_header(block, lambda: self._take(BLOCK), limit, self._label)
        else:
            found = sparse.from_records(extended.sparse, self._take_data_block, limit, self._label)
        if found.stored != self._left:
            raise ValueError(f"sparse segments of {found.stored} bytes where {self._left} are stored")
        return found

    def _take_data_block(self) -> bytes:
        """Take a block off the front of the data."""
        if self._left < BLOCK:
            raise ValueError("a sparse map longer than its entry")
        self._left -= BLOCK
        return self._take(BLOCK)

    def _take(self, n: int) -> bytes:
        taken = self._window.take(n)
        if len(taken) < n:
            raise self._malformed("ends in the middle of a header")
        return taken

    def _malformed(self, detail: str) -> MalformedArchiveError:
        return MalformedArchiveError(self._label, f"{detail} (before byte {self._window.position})")

    def _unsafe(self, entry: Entry, detail: str) -> UnsafeEntryError:
        return UnsafeEntryError(f"{self._label}, entry {printable(entry.name)}", detail)
