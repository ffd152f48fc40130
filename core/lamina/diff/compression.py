"""gzip and zstd, in and out, each in a thread of its own so that it overlaps with the work of the caller."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, Self

from lamina.diff.limits import DEFAULT_LIMITS
from lamina.diff.streams import Readable, Writable

if TYPE_CHECKING:
    from types import TracebackType

    from lamina.diff.digests import Digester
    from lamina.diff.limits import Limits


class Compression(StrEnum):
    """How a stream is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class ClosingReadable(Readable, Protocol):
    """A readable that holds a thread until it is closed. A context manager."""

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class ClosingWritable(Writable, Protocol):
    """A writable that is complete only when closed. A context manager; an error inside the block abandons the stream."""

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def detect(head: bytes) -> Compression:
    """Tell the compression by the first bytes of a stream (four are enough)."""
    raise NotImplementedError


def decompressed(
    source: Readable, limits: Limits = DEFAULT_LIMITS, *, digester: Digester | None = None, label: str = "archive"
) -> ClosingReadable:
    """Return the uncompressed bytes of ``source``; ``digester`` is fed with them, and is final once ``read`` gave ``b""``."""
    raise NotImplementedError


def compressed(sink: Writable, compression: Compression, level: int | None = None) -> ClosingWritable:
    """Return a writable that compresses into ``sink``, which stays open."""
    raise NotImplementedError
