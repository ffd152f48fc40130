"""Sparse files in a tar: GNU's four ways to store the data and leave out the holes.

Source: GNU tar manual, "Storing Sparse Files", and its tar.h for the header of type ``S``. Layers should hold none (OCI
image-spec, layer.md), yet ``tar -S`` makes them. They are read as what they stand for, holes as zeros, and never written.
Functions raise ``ValueError`` with a detail for people, and :class:`lamina.errors.LimitExceededError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.diff.header import BLOCK, MAX_SIZE, number
from lamina.diff.pax import decimal
from lamina.diff.streams import CHUNK
from lamina.errors import LimitExceededError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_HOLE = memoryview(bytes(CHUNK))


class SparseMap:
    """Where the stored data of a sparse file belong."""

    __slots__ = ("_end", "_label", "_limit", "_segments", "size", "stored")

    def __init__(self, size: int, limit: int, label: str) -> None:
        #: Bytes of the file, holes included, and of the data that the archive holds.
        self.size = size
        self.stored = 0
        self._segments: list[tuple[int, int]] = []
        self._end = 0
        self._limit = limit
        self._label = label

    def add(self, offset: int, length: int) -> None:
        """Add a segment of data behind the last one."""
        if offset < self._end or offset + length > self.size:
            raise ValueError(f"sparse segment {offset}+{length} overlaps another or passes the end")
        if len(self._segments) == self._limit:
            raise LimitExceededError(self._label, "sparse_segments", self._limit)
        self._segments.append((offset, length))
        self._end = offset + length
        self.stored += length

    def expand(self, data: Callable[[int], Iterator[memoryview]]) -> Iterator[memoryview]:
        """Yield the whole file, ``data(n)`` giving the next ``n`` stored bytes in pieces."""
        at = 0
        for offset, length in self._segments:
            yield from _zeros(offset - at)
            yield from data(length)
            at = offset + length
        yield from _zeros(self.size - at)


def _zeros(n: int) -> Iterator[memoryview]:
    while n:
        piece = _HOLE[:n]
        n -= len(piece)
        yield piece


def from_header(block: bytes, take_block: Callable[[], bytes], limit: int, label: str) -> SparseMap:
    """Read the map of a header of type ``S``, and of the blocks that continue it, which ``take_block`` gives."""
    sparse = SparseMap(number(block[483:495], "sparse size"), limit, label)
    entries, more = block[386:482], block[482]
    while True:
        for start in range(0, len(entries), 24):
            if not entries[start]:
                break
            sparse.add(number(entries[start : start + 12], "offset"), number(entries[start + 12 : start + 24], "length"))
        if not more:
            return sparse
        block = take_block()
        entries, more = block[:504], block[504]


def from_records(records: Sequence[tuple[bytes, bytes]], take_block: Callable[[], bytes], limit: int, label: str) -> SparseMap:
    """Read the map that PAX records hold (versions 0.0 and 0.1), or that the data begin with (1.0): then ``take_block`` gives
    the data block by block."""
    known = dict(records)
    if b"major" in known:
        if (known[b"major"], known.get(b"minor")) != (b"1", b"0"):
            raise ValueError("a sparse file of an unknown version")
        return _paired(_size(known, b"realsize"), _lines(take_block), limit, label)
    if b"map" in known:
        return _paired(_size(known, b"size"), known[b"map"].split(b",") if known[b"map"] else (), limit, label)
    numbers = [value for keyword, value in records if keyword in (b"offset", b"numbytes")]
    return _paired(_size(known, b"size"), numbers, limit, label)


def _size(known: dict[bytes, bytes], keyword: bytes) -> int:
    return decimal(known.get(keyword, b""), "sparse size", 0, MAX_SIZE)


def _paired(size: int, numbers: Iterable[bytes], limit: int, label: str) -> SparseMap:
    sparse = SparseMap(size, limit, label)
    rest = iter(numbers)
    for offset in rest:
        length = next(rest, b"")
        sparse.add(decimal(offset, "offset", 0, MAX_SIZE), decimal(length, "length", 0, MAX_SIZE))
    return sparse


def _lines(take_block: Callable[[], bytes]) -> Iterator[bytes]:
    """Yield the numbers in front of the data, a line each, past the first one, which tells how many pairs there are."""
    *lines, tail = take_block().split(b"\n")
    left = 2 * decimal(lines[0] if lines else b"", "number of sparse segments", 0, MAX_SIZE)
    del lines[:1]
    while True:
        yield from lines[:left]
        left -= min(left, len(lines))
        if not left:
            return
        *lines, tail = (tail + take_block()).split(b"\n")
        if len(tail) > BLOCK:
            raise ValueError("a sparse map without line ends")
