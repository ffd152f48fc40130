"""How long work on images tells about itself."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lamina.diff.streams import Readable


class LayerState(StrEnum):
    """What is being done with a layer."""

    WAITING = "waiting"
    #: Copied and verified, but not unpacked: the graph has it already.
    READING = "reading"
    UNPACKING = "unpacking"
    #: Nothing to do: the store has its bytes and its files.
    HERE = "here already"
    WRITING = "writing"
    DONE = "done"


class Progress(Protocol):
    """Is told how work goes on. Calls come from several threads, and should return at once."""

    def layer(self, digest: str, size: int, state: LayerState) -> None:
        """A layer is now in ``state``; its blob has ``size`` bytes, 0 where that is not known yet.

        ``digest`` names it throughout: that of its blob, or its diff id where no manifest came with it.
        """

    def advance(self, digest: str, size: int) -> None:
        """Another ``size`` bytes of the blob are done."""


class Silence:
    """A :class:`Progress` that nobody listens to."""

    def layer(self, digest: str, size: int, state: LayerState) -> None:
        """Ignore it."""

    def advance(self, digest: str, size: int) -> None:
        """Ignore it."""


class Watched:
    """``source``, whose every byte ``progress`` is told of."""

    def __init__(self, source: Readable, digest: str, progress: Progress) -> None:
        self._source = source
        self._digest = digest
        self._progress = progress

    def read(self, n: int, /) -> bytes:
        """See :class:`lamina.diff.streams.Readable`."""
        data = self._source.read(n)
        self._progress.advance(self._digest, len(data))
        return data
