"""Extended headers: what PAX records and GNU's long names say about the entry that follows.

Sources: POSIX.1-2024 pax, "pax Extended Header"; GNU tar manual, "Storing Sparse Files"; libarchive's tar(5) for the
``LIBARCHIVE`` keywords; star(5) for ``SCHILY``. Where readers differ, Go's archive/tar is followed, since it unpacks most
images; where an archive plays on the difference, it is refused. What is malformed raises ``ValueError``.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from lamina.diff.entries import EntryKind, printable
from lamina.diff.header import MAX_ID, MAX_SIZE, MAX_TIME, MIN_TIME, text, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.diff.entries import Entry

SCHILY_XATTR = b"SCHILY.xattr."
_LIBARCHIVE_XATTR = b"LIBARCHIVE.xattr."
_GNU_SPARSE = b"GNU.sparse."
SECOND = 1_000_000_000


class Extended:
    """What the extended headers in front of an entry say about it."""

    __slots__ = ("_gid", "_gnu_link", "_gnu_path", "_is_pax", "_link", "_mtime", "_path", "_size", "_uid", "_xattrs", "sparse")

    def __init__(self) -> None:
        self._path: bytes | None = None
        self._link: bytes | None = None
        self._gnu_path: bytes | None = None
        self._gnu_link: bytes | None = None
        self._size: int | None = None
        self._uid: int | None = None
        self._gid: int | None = None
        self._mtime: int | None = None
        self._xattrs: dict[bytes, bytes] = {}
        self._is_pax = False
        #: The ``GNU.sparse`` records without their prefix, in order; some keywords come many times.
        self.sparse: list[tuple[bytes, bytes]] = []

    def add_gnu_path(self, body: bytes) -> None:
        """Take in the data of an ``L`` entry."""
        if self._gnu_path is not None:
            raise ValueError("two long names for one entry")
        self._gnu_path = _name(text(body, 0, len(body)), "path")

    def add_gnu_link(self, body: bytes) -> None:
        """Take in the data of a ``K`` entry."""
        if self._gnu_link is not None:
            raise ValueError("two long link targets for one entry")
        self._gnu_link = _name(text(body, 0, len(body)), "link target")

    def add_pax(self, body: bytes) -> None:
        """Take in the records of an ``x`` entry; of equal keywords the last counts.

        An empty value is refused for a keyword that matters here: POSIX has it undo earlier headers, Go has it do nothing,
        Python takes it literally. An empty extended attribute is just that.
        """
        if self._is_pax:
            raise ValueError("two PAX headers for one entry")
        self._is_pax = True
        encoded: dict[bytes, bytes] = {}
        for keyword, value in records(body):
            if keyword == b"mtime":
                self._mtime = _nanoseconds(value)
            elif keyword == b"path":
                self._path = _name(value, "path")
            elif keyword == b"linkpath":
                self._link = _name(value, "link target")
            elif keyword == b"size":
                self._size = decimal(value, "size", 0, MAX_SIZE)
            elif keyword == b"uid":
                self._uid = decimal(value, "uid", 0, MAX_ID)
            elif keyword == b"gid":
                self._gid = decimal(value, "gid", 0, MAX_ID)
            elif keyword.startswith(SCHILY_XATTR):
                self._xattrs[keyword[len(SCHILY_XATTR) :]] = value
            elif keyword.startswith(_LIBARCHIVE_XATTR):
                encoded[unquote_to_bytes(keyword[len(_LIBARCHIVE_XATTR) :])] = _base64(value)
            elif keyword.startswith(_GNU_SPARSE):
                self.sparse.append((keyword[len(_GNU_SPARSE) :], value))
        for xattr, value in encoded.items():
            self._xattrs.setdefault(xattr, value)  # libarchive writes both forms
        if any(not xattr or b"\0" in xattr for xattr in self._xattrs):
            raise ValueError("an extended attribute without a valid name")
        for keyword, value in self.sparse:
            if keyword == b"name":  # the path is a made-up one then
                self._path = _name(value, "path")

    def amend(self, entry: Entry) -> None:
        """Put what is known here in place of what the entry's own header says."""
        entry.name = _agreed(self._path, self._gnu_path, "path") or entry.name
        if entry.kind is EntryKind.SYMLINK or entry.kind is EntryKind.HARDLINK:
            entry.link = _agreed(self._link, self._gnu_link, "link target") or entry.link
        if self._size is not None:
            entry.size = self._size
        if self._uid is not None:
            entry.uid = self._uid
        if self._gid is not None:
            entry.gid = self._gid
        if self._mtime is not None:
            entry.mtime = self._mtime
        if self._xattrs:
            entry.xattrs = self._xattrs


def records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keyword and value of each record of a PAX header: length of the record, blank, keyword, ``=``, value, line end."""
    start = 0
    while start < len(body):
        blank = body.find(b" ", start, start + 20)
        digits = body[start:blank]
        if blank < 0 or not digits.isdigit():
            raise ValueError("an extended header record without a length")
        end = start + int(digits)
        equals = body.find(b"=", blank, end)
        if end > len(body) or equals < 0 or body[end - 1] != 0x0A:
            raise ValueError("an extended header record of a wrong length")
        keyword = body[blank + 1 : equals]
        if not keyword or b"\0" in keyword:
            raise ValueError("an extended header record without a valid keyword")
        yield keyword, body[equals + 1 : end - 1]
        start = end


def decimal(value: bytes, what: str, low: int, high: int) -> int:
    """Return a decimal number out of a PAX record, in a range."""
    digits = value.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 20:
        raise ValueError(f"{what} is no decimal number: {printable(value[:40])}")
    return within(int(value), what, low, high)


def _nanoseconds(value: bytes) -> int:
    """Return a PAX time in nanoseconds; digits beyond the ninth are cut, as everywhere."""
    whole, _, fraction = value.partition(b".")
    if fraction and not fraction.isdigit():
        raise ValueError(f"mtime is no decimal number: {printable(value[:40])}")
    seconds = decimal(whole, "mtime", MIN_TIME, MAX_TIME)
    nanoseconds = int(fraction[:9].ljust(9, b"0"))
    return seconds * SECOND + (-nanoseconds if whole.startswith(b"-") else nanoseconds)


def compose(records: dict[bytes, bytes]) -> bytes:
    """Return a PAX header's data: the records by keyword, behind the one that readers need first if a name is not UTF-8."""
    lines = [_record(keyword, records[keyword]) for keyword in sorted(records)]
    if not (_is_utf8(records.get(b"path", b"")) and _is_utf8(records.get(b"linkpath", b""))):
        lines.insert(0, _record(b"hdrcharset", b"BINARY"))
    return b"".join(lines)


def seconds(nanoseconds: int) -> bytes:
    """Return a time as PAX has it, without zeros at the end of its fraction."""
    whole, fraction = divmod(abs(nanoseconds), SECOND)
    sign = b"-" if nanoseconds < 0 else b""
    return sign + (b"%d.%09d" % (whole, fraction)).rstrip(b"0") if fraction else sign + b"%d" % whole


def _record(keyword: bytes, value: bytes) -> bytes:
    rest = len(keyword) + len(value) + 3  # blank, "=" and line end
    length = rest + len(str(rest))
    length = rest + len(str(length))  # the digits may have made it longer by one more
    return b"%d %b=%b\n" % (length, keyword, value)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _name(value: bytes, what: str) -> bytes:
    if not value or b"\0" in value:
        raise ValueError(f"a {what} in an extended header that is empty or holds a NUL")
    return value


def _agreed(pax: bytes | None, gnu: bytes | None, what: str) -> bytes | None:
    """Return the name that a PAX header, a GNU one, or both in unison give: readers disagree on which of them wins."""
    if pax is not None and gnu is not None and pax != gnu:
        raise ValueError(f"two extended headers disagree on the {what}: {printable(pax[:200])} and {printable(gnu[:200])}")
    return gnu if pax is None else pax


def _base64(value: bytes) -> bytes:
    try:
        # libarchive leaves the padding out
        return binascii.a2b_base64(value + b"=" * (-len(value) % 4), strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"an extended attribute that is no base64: {error}") from None
