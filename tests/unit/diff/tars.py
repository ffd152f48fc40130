"""Tar archives byte by byte, valid and broken, and short ways to read them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from lamina.diff.limits import DEFAULT_LIMITS
from lamina.diff.tar_reader import TarReader

if TYPE_CHECKING:
    from lamina.diff.entries import Entry
    from lamina.diff.limits import Limits
    from lamina.diff.streams import Readable

USTAR = b"ustar\x0000"
GNU = b"ustar  \0"
#: The two blocks that end an archive.
END = bytes(1024)


def header(name: bytes = b"f", flag: bytes = b"0", **fields: bytes) -> bytes:
    """A header block; ``fields`` replaces raw fields, from their first byte on."""
    places = {
        "mode": (100, b"0000644\0"),
        "uid": (108, b"0000000\0"),
        "gid": (116, b"0000000\0"),
        "size": (124, b"00000000000\0"),
        "mtime": (136, b"00000000000\0"),
        "link": (157, b""),
        "magic": (257, USTAR),
        "major": (329, b"0000000\0"),
        "minor": (337, b"0000000\0"),
        "prefix": (345, b""),
        "sparse": (386, b""),
    }
    block = bytearray(512)
    block[: len(name)] = name
    block[156:157] = flag
    for field, (start, default) in places.items():
        value = fields.get(field, default)
        block[start : start + len(value)] = value
    return summed(block)


def summed(block: bytes | bytearray) -> bytes:
    """The block with the checksum that it should have."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def octal(number: int) -> bytes:
    return b"%011o\0" % number


def base_256(number: int, width: int = 12) -> bytes:
    sign = b"\xff" if number < 0 else b"\x80"
    return sign + number.to_bytes(width, "big", signed=True)[1:]


def member(name: bytes = b"f", data: bytes = b"", flag: bytes = b"0", **fields: bytes) -> bytes:
    """A header with its data."""
    return header(name, flag, **{"size": octal(len(data)), **fields}) + padded(data)


def record(keyword: bytes, value: bytes) -> bytes:
    length = 0
    while length != (length := len(b"%d %b=%b\n" % (length, keyword, value))):
        pass
    return b"%d %b=%b\n" % (length, keyword, value)


def pax(*records: tuple[bytes, bytes], flag: bytes = b"x") -> bytes:
    """An extended header."""
    return member(b"PaxHeader", b"".join(record(*r) for r in records), flag)


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Entry]:
    return list(TarReader(io.BytesIO(data), limits))


def read_one(data: bytes) -> Entry:
    """The only entry of an archive whose end is missing here."""
    (entry,) = read(data + END)
    return entry


def contents(data: bytes, limits: Limits = DEFAULT_LIMITS) -> dict[bytes, bytes]:
    """The data of each entry by its name."""
    reader = TarReader(io.BytesIO(data), limits)
    return {entry.name: b"".join(reader.body()) for entry in reader}


def drain(source: Readable, step: int = 1 << 20) -> bytes:
    """All that ``source`` has."""
    return b"".join(iter(lambda: source.read(step), b""))


class Drip:
    """A source that gives a byte at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, n: int, /) -> bytes:
        return self._data.read(min(n, 1))
