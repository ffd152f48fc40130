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
