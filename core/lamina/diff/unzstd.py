"""zstd, inwards: every frame, to the end of the source (RFC 8878).

The library does not tell a stream that was cut from a whole one, so frames are walked here, block by block. That also bounds
what one call can make, since a block unpacks to 128 KiB at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zstandard import ZstdDecompressor, ZstdError

from lamina.errors import LimitExceededError, MalformedArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.diff.streams import Window

MAGIC = b"\x28\xb5\x2f\xfd"
#: Blocks that are unpacked in one call: a chunk of data.
_BATCH = 8


def is_skippable(magic: bytes) -> bool:
    """Whether a frame that starts with these four bytes holds no data (zstd:chunked keeps its index in such)."""
    return magic[1:] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50


class Unzstd:
    """The data of the frames in ``window``; ``label`` is what errors call them."""

    def __init__(self, window: Window, window_limit: int, label: str) -> None:
        self._window = window
        self._window_limit = window_limit
        self._label = label
        self._decoder = ZstdDecompressor(max_window_size=window_limit)

    def pieces(self) -> Iterator[bytes]:
        """Yield the data in pieces of up to a chunk.

        Raises :class:`lamina.errors.MalformedArchiveError`, and :class:`lamina.errors.LimitExceededError` for a frame that asks
        for a larger window.
        """
        while self._window.peek(1):
            magic = self._take(4)
            if magic == MAGIC:
                yield from self._frame()
            elif not is_skippable(magic):
                raise self._malformed("junk where a zstd frame should start")
            elif not self._window.skip(int.from_bytes(self._take(4), "little")):
                raise self._malformed("the zstd data end too early")

    def _frame(self) -> Iterator[bytes]:
        head, has_checksum = self._header()
        frame = self._decoder.decompressobj()
        parts = [MAGIC, head]
        is_whole = False
        try:
            while not is_whole:
                is_whole = self._blocks(parts)
                if is_whole and has_checksum:
                    parts.append(self._take(4))
                if data := frame.decompress(b"".join(parts)):
                    yield data
                parts.clear()
        except ZstdError as error:
            raise self._malformed(str(error)) from None

    def _blocks(self, parts: list[bytes]) -> bool:
        """Take blocks to unpack in one call; return whether the last one of the frame is among them."""
        for _ in range(_BATCH):
            head = self._take(3)
            fields = int.from_bytes(head, "little")
            is_run, size = fields >> 1 & 3 == 1, fields >> 3
            parts += head, self._take(1 if is_run else size)
            if fields & 1:
                return True
        return False

    def _header(self) -> tuple[bytes, bool]:
        """Take the frame's header; return it, and whether a checksum ends the frame."""
        descriptor = self._take(1)
        flags = descriptor[0]
        is_single_segment = bool(flags & 0x20)
        content_size_bytes = (1 if is_single_segment else 0, 2, 4, 8)[flags >> 6]
        rest = self._take((not is_single_segment) + (0, 1, 2, 4)[flags & 3] + content_size_bytes)
        if is_single_segment:
            content_size = int.from_bytes(rest[len(rest) - content_size_bytes :], "little")
            window = content_size + (256 if content_size_bytes == 2 else 0)
        else:
            base = 1 << 10 + (rest[0] >> 3)
            window = base + (base >> 3) * (rest[0] & 7)
        if window > self._window_limit:
            raise LimitExceededError(self._label, "window_bytes", self._window_limit, window)
        return descriptor + rest, bool(flags & 4)

    def _take(self, n: int) -> bytes:
        taken = self._window.take(n)
        if len(taken) < n:
            raise self._malformed("the zstd data end too early")
        return taken

    def _malformed(self, detail: str) -> MalformedArchiveError:
        return MalformedArchiveError(self._label, f"{detail} (before byte {self._window.position})")
