"""Reading a layer tar, strictly and in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.diff.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.diff.entries import Entry
    from lamina.diff.streams import Readable


class TarReader:
    """The entries of a tar stream, in order. Read once::

        for entry in reader:
            for piece in reader.body():
                ...
    """

    def __init__(self, source: Readable, limits: Limits = Limits(), *, label: str = "archive") -> None:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Entry]:
        raise NotImplementedError

    def body(self) -> Iterator[memoryview]:
        """Yield the data of the entry at hand; what is not taken is skipped by the next step of the iteration."""
        raise NotImplementedError
