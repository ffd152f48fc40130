"""gzip, inwards: every member, to the end of the source (RFC 1952).

Layers that can be read in parts (eStargz) have thousands of members; a reader that stops behind the first one cuts the
layer short without a word. Zeros may follow the last member, as tapes and GNU gzip have it; anything else is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isal.igzip_lib import DECOMP_GZIP, IgzipDecompressor, IsalError

from lamina.diff.streams import CHUNK
from lamina.errors import MalformedArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.diff.streams import Window

MAGIC = b"\x1f\x8b"
#: Bytes handed over at a time. What is left of them behind a member is copied, so this bounds what tiny members cost.
_FEED = 64 << 10


def gunzip(window: Window, label: str) -> Iterator[bytes]:
    """Yield the data in pieces of up to a chunk; ``label`` is what a :class:`lamina.errors.MalformedArchiveError` calls them."""
    while True:
        yield from _member(window, label)
        head = window.peek(len(MAGIC))
        if head.startswith(b"\0") or not head:
            break
        if head != MAGIC:
            raise MalformedArchiveError(label, f"junk behind the gzip data at byte {window.position}")
    while padding := window.rest():
        if padding.strip(b"\0"):
            raise MalformedArchiveError(label, f"junk behind the gzip data before byte {window.position}")


def _member(window: Window, label: str) -> Iterator[bytes]:
    member = IgzipDecompressor(flag=DECOMP_GZIP)
    piece: bytes | memoryview
    try:
        while not member.eof:
            piece = b""
            if member.needs_input and not (piece := window.some(_FEED)):
                raise MalformedArchiveError(label, f"the gzip data end too early, at byte {window.position}")
            if data := member.decompress(piece, CHUNK):
                yield data
    except IsalError as error:  # type: ignore[misc]  # isal's stubs declare the class as an instance
        raise MalformedArchiveError(label, f"gzip data before byte {window.position}: {error}") from None
    window.give_back(len(member.unused_data))
