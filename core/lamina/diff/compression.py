"""Compressed streams, in and out, each worked on in a thread of its own."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from isal import isal_zlib
from zstandard import MAX_COMPRESSION_LEVEL, ZstdCompressor

from lamina.diff import gunzip, unzstd
from lamina.diff.limits import DEFAULT_LIMITS
from lamina.diff.streams import Window
from lamina.diff.threads import ReadAhead, WriteBehind
from lamina.errors import LimitExceededError, MalformedArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.diff.digests import Digester
    from lamina.diff.limits import Limits
    from lamina.diff.streams import Readable, Writable

#: Starts of formats that archives come in elsewhere, named in the error that refuses them.
_FOREIGN = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x04\x22\x4d\x18": "lz4", b"LZIP": "lzip"}


class Compression(StrEnum):
    """How a stream is compressed: what OCI layers may be."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


def detect(head: bytes) -> Compression:
    """Tell the compression by the first four bytes of a stream. ``NONE`` means: neither of the others."""
    if head[:2] == gunzip.MAGIC:
        return Compression.GZIP
    if head[:4] == unzstd.MAGIC or unzstd.is_skippable(head[:4]):
        return Compression.ZSTD
    return Compression.NONE


def decompressed(
    source: Readable, limits: Limits = DEFAULT_LIMITS, *, digester: Digester | None = None, label: str = "archive"
) -> ReadAhead:
    """Return the uncompressed bytes of ``source``, whose compression is told by its first bytes.

    A thread reads, unpacks and digests ahead of the caller, a few MiB at most; close the result to end it. ``digester`` is fed
    the uncompressed bytes, and is final once ``read`` returned ``b""``. ``read`` raises what ``source`` raises,
    :class:`lamina.errors.MalformedArchiveError` (cut, corrupt, followed by junk, or another format) and
    :class:`lamina.errors.LimitExceededError`. The source is read to its end, and stays open.
    """
    return ReadAhead(_digested(_bounded(Window(source), limits, label), digester))


def _digested(pieces: Iterator[bytes], digester: Digester | None) -> Iterator[bytes]:
    for piece in pieces:
        if digester is not None:
            digester.update(piece)
        yield piece


def _bounded(window: Window, limits: Limits, label: str) -> Iterator[bytes]:
    size = 0
    for piece in _unpacked(window, limits, label):
        size += len(piece)
        if size > limits.unpacked_bytes:
            raise LimitExceededError(label, "unpacked_bytes", limits.unpacked_bytes)
        if size > limits.ratio_free_bytes and size > limits.ratio * window.position:
            raise LimitExceededError(label, "ratio", limits.ratio, size // window.position)
        yield piece


def _unpacked(window: Window, limits: Limits, label: str) -> Iterator[bytes]:
    head = window.peek(6)
    compression = detect(head)
    if compression is Compression.GZIP:
        return gunzip.gunzip(window, label)
    if compression is Compression.ZSTD:
        return unzstd.Unzstd(window, limits.window_bytes, label).pieces()
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise MalformedArchiveError(label, f"compressed with {name}, where gzip and zstd are known")
    return iter(window.rest, b"")


def compressed(sink: Writable, compression: Compression, level: int | None = None) -> WriteBehind:
    """Return a writable that compresses into ``sink`` in a thread; it is complete only when closed, and leaves the sink open.

    ``level`` is 0 to 3 for gzip (default 2), 1 to 22 for zstd (default 3). The same data give the same bytes, however they are
    cut into writes. Other versions of the libraries may give others, and so may, for gzip, other processors: what names the
    content of a layer is the digest of the uncompressed stream.
    """
    if compression is Compression.NONE:
        return WriteBehind(sink.write, lambda: None)
    packer = _gzip(2 if level is None else level) if compression is Compression.GZIP else _zstd(3 if level is None else level)

    def pack(data: bytes) -> None:
        if packed := packer.compress(data):
            sink.write(packed)

    return WriteBehind(pack, lambda: sink.write(packer.flush()))


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _gzip(level: int) -> _Packer:
    if not isal_zlib.ISAL_BEST_SPEED <= level <= isal_zlib.ISAL_BEST_COMPRESSION:
        raise ValueError(f"gzip level {level} is not among 0 to 3")
    # 16 more than the window's exponent asks for a gzip header; isal's holds no name and no time
    return isal_zlib.compressobj(level, wbits=16 + isal_zlib.MAX_WBITS)


def _zstd(level: int) -> _Packer:
    if not 1 <= level <= MAX_COMPRESSION_LEVEL:
        raise ValueError(f"zstd level {level} is not among 1 to {MAX_COMPRESSION_LEVEL}")
    # Any number of threads gives the same bytes, except that none at all gives others.
    threads = len(os.sched_getaffinity(0))
    return ZstdCompressor(level, write_checksum=True, threads=threads).compressobj()
