"""Writing a layer tar: the same entries give the same bytes, on any machine, in any time zone, under any umask.

The form is POSIX pax, and the canon is this: a plain ustar header, preceded by a PAX header for what does not fit into it and
only then. That is: names that are not ASCII or longer than 100 bytes (the ustar prefix is never used), sizes from 8 GiB,
ids from 2 097 152, times before 1970, from 2242, or with a fraction of a second, and extended attributes. Its records are
sorted by keyword; ``hdrcharset=BINARY`` comes first when a name is not UTF-8. No user names, no other times than mtime, no
sparse files; two blocks of zeros at the end, and no further padding. GNU tar, libarchive, Go and Python read all of it,
except that an extended attribute without a value does not exist for Go.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lamina.diff import header, pax
from lamina.diff.entries import EntryKind, printable
from lamina.diff.streams import CHUNK
from lamina.errors import UnrepresentableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.diff.entries import Entry
    from lamina.diff.streams import Writable

_FLAGS = {
    EntryKind.FILE: b"0",
    EntryKind.HARDLINK: b"1",
    EntryKind.SYMLINK: b"2",
    EntryKind.CHAR: b"3",
    EntryKind.BLOCK: b"4",
    EntryKind.DIRECTORY: b"5",
    EntryKind.FIFO: b"6",
}
#: Pieces from this size on go to the sink as they are; smaller ones are gathered first.
_LARGE = 128 << 10
#: What readers that do not know PAX call the file that they make of its headers.
_PAX_NAME = b"././@PaxHeader"
#: What Go reads at most, and lamina by default: a layer with more could be written, and never unpacked.
_MAX_PAX = 1 << 20


class TarWriter:
    """Writes entries to ``sink`` in the order in which they are added, and as they are: what their names mean is not looked at.

    Raises whatever ``sink`` raises.
    """

    def __init__(self, sink: Writable) -> None:
        self._sink = sink
        self._held: list[bytes] = []
        self._held_bytes = 0

    def add(self, entry: Entry, body: Iterable[bytes | memoryview] | int = ()) -> None:
        """Write one entry; ``body`` is its data in pieces, or a file descriptor that ``entry.size`` bytes are read from.

        Raises :class:`lamina.errors.UnrepresentableError` if the data have another size than the entry says, since the file
        changed meanwhile; the archive is spoilt then. Also, with nothing written, for an extended attribute with a ``=`` in its
        name, for more of them than readers take, and for character device 0:0. Raises ``ValueError`` for what no file can be.
        """
        self._put(_headers(entry))
        if entry.size:
            left = entry.size
            for piece in _read(body, left) if isinstance(body, int) else body:
                left -= len(piece)
                if left < 0:
                    break
                self._put(piece)
            if left:
                raise UnrepresentableError(printable(entry.name), "its size changed while it was read")
            self._put(bytes(header.padding(entry.size)))

    def close(self) -> None:
        """Write the end of the archive. The sink stays open."""
        self._put(header.ZEROS * 2)
        self._flush()

    def _put(self, piece: bytes | memoryview) -> None:
        if len(piece) >= _LARGE:
            self._flush()
            self._sink.write(piece)
        else:
            self._held.append(bytes(piece))
            self._held_bytes += len(piece)
            if self._held_bytes >= CHUNK:
                self._flush()

    def _flush(self) -> None:
        self._sink.write(b"".join(self._held))
        self._held.clear()
        self._held_bytes = 0


def _read(fd: int, size: int) -> Iterator[bytes]:
    while size and (piece := os.read(fd, min(size, CHUNK))):
        size -= len(piece)
        yield piece


def _headers(entry: Entry) -> bytes:
    """Return the header of an entry, behind the PAX header that it may need."""
    _check(entry)
    if entry.kind is EntryKind.CHAR and not entry.major and not entry.minor:
        raise UnrepresentableError(printable(entry.name), "character device 0:0, which overlay takes for a whiteout")
    records: dict[bytes, bytes] = {}
    if len(entry.name) > 100 or not entry.name.isascii():
        records[b"path"] = entry.name
    if len(entry.link) > 100 or not entry.link.isascii():
        records[b"linkpath"] = entry.link
    size, uid, gid = entry.size, entry.uid, entry.gid
    if size > header.OCTAL_11:
        records[b"size"] = b"%d" % size
        size = 0
    if uid > header.OCTAL_7:
        records[b"uid"] = b"%d" % uid
        uid = 0
    if gid > header.OCTAL_7:
        records[b"gid"] = b"%d" % gid
        gid = 0
    mtime, fraction = divmod(entry.mtime, pax.SECOND)
    if fraction or not 0 <= mtime <= header.OCTAL_11:
        records[b"mtime"] = pax.seconds(entry.mtime)
        mtime = mtime if 0 <= mtime <= header.OCTAL_11 else 0
    for xattr, value in entry.xattrs.items():
        if b"=" in xattr:
            raise UnrepresentableError(printable(entry.name), f"the '=' in the name of xattr {printable(xattr)!r}")
        records[pax.SCHILY_XATTR + xattr] = value
    plain = header.compose(
        entry.name, entry.mode, uid, gid, size, mtime, _FLAGS[entry.kind], entry.link, entry.major, entry.minor
    )
    if not records:
        return plain
    body = pax.compose(records)
    if len(body) > _MAX_PAX:
        raise UnrepresentableError(printable(entry.name), f"{len(body)} bytes of xattrs, where {_MAX_PAX} are the most")
    extended = header.compose(_PAX_NAME, 0o644, 0, 0, len(body), 0, b"x")
    return b"".join((extended, body, bytes(header.padding(len(body))), plain))


def _check(entry: Entry) -> None:
    """Refuse what only a mistake of the program can make."""
    is_link = entry.kind is EntryKind.SYMLINK or entry.kind is EntryKind.HARDLINK
    is_file = entry.kind is EntryKind.FILE
    if (
        not entry.name
        or b"\0" in entry.name
        or b"\0" in entry.link
        or bool(entry.link) is not is_link
        or (is_file and entry.name.endswith(b"/"))
        or (not is_file and entry.size)
        or not 0 <= entry.mode <= 0o7777
        or not 0 <= entry.uid <= header.MAX_ID
        or not 0 <= entry.gid <= header.MAX_ID
        or not 0 <= entry.size <= header.MAX_SIZE
        or not 0 <= entry.major <= header.MAX_MAJOR
        or not 0 <= entry.minor <= header.MAX_MINOR
    ):
        raise ValueError(f"no tar entry: {entry}")
