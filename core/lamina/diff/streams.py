"""Byte streams as this package takes and gives them: a ``read`` or a ``write``, and nothing else."""

from __future__ import annotations

from typing import Protocol

#: Bytes moved at a time between files, threads and codecs: large enough that a step costs nothing per byte.
CHUNK = 1 << 20


class Readable(Protocol):
    """A stream to read once, front to back. Binary files opened for reading qualify."""

    def read(self, n: int, /) -> bytes:
        """Return 1 to ``n`` bytes, or ``b""`` at the end. Fewer than ``n`` says nothing about the end."""


class Writable(Protocol):
    """A stream to write once, front to back. Buffered binary files opened for writing qualify; raw ones, which may write
    only a part, do not."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of ``data``; the caller may reuse its memory afterwards. The result means nothing."""


class NullWriter:
    """A :class:`Writable` that forgets everything: for those who want only the digest of what they write."""

    def write(self, data: bytes | memoryview, /) -> None:
        """Forget ``data``."""


class Window:
    """A :class:`Readable` seen through one chunk of read-ahead, in pieces of the sizes that a parser asks for."""

    __slots__ = ("_at", "_chunk", "_passed", "_source")

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._chunk = b""
        self._at = 0
        self._passed = 0

    @property
    def position(self) -> int:
        """How many bytes of the source were taken."""
        return self._passed + self._at

    def take(self, n: int) -> bytes:
        """Return the next ``n`` bytes, fewer only at the end of the source."""
        end = self._at + n
        if end <= len(self._chunk):
            piece = self._chunk[self._at : end]
            self._at = end
            return piece
        pieces = []
        while n and (piece := bytes(self.some(n))):
            pieces.append(piece)
            n -= len(piece)
        return b"".join(pieces)

    def some(self, n: int) -> memoryview:
        """Return 1 to ``n`` bytes without copying them; none only at the end of the source."""
        if self._at == len(self._chunk):
            self._refill()
        piece = memoryview(self._chunk)[self._at : self._at + n]
        self._at += len(piece)
        return piece

    def skip(self, n: int) -> bool:
        """Pass over ``n`` bytes; False when the source ended before."""
        while n > (held := len(self._chunk) - self._at):
            n -= held
            if not self._refill():
                return False
        self._at += n
        return True

    def rest(self) -> bytes:
        """Return what is left of the chunk at hand, or the next chunk; nothing only at the end of the source."""
        if self._at == len(self._chunk):
            self._refill()
        piece = self._chunk[self._at :]
        self._at = len(self._chunk)
        return piece

    def peek(self, n: int) -> bytes:
        """Return the next ``n`` bytes, fewer only at the end of the source, and leave them to be taken."""
        if self._at == len(self._chunk):
            self._refill()
        while len(self._chunk) - self._at < n and (more := self._source.read(CHUNK)):
            self._passed += self._at
            self._chunk = self._chunk[self._at :] + more
            self._at = 0
        return self._chunk[self._at : self._at + n]

    def give_back(self, n: int) -> None:
        """Leave the last ``n`` bytes to be taken again, which must be of the piece that :meth:`some` gave last."""
        self._at -= n

    def _refill(self) -> bool:
        """Replace the chunk, all of which was passed, by the next one; False at the end of the source."""
        self._passed += len(self._chunk)
        self._at = 0
        self._chunk = self._source.read(CHUNK)
        return bool(self._chunk)
