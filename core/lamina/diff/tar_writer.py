"""Writing a layer tar: the same entries give the same bytes everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.diff.entries import Entry
    from lamina.diff.streams import Writable


class TarWriter:
    """Writes entries to ``sink``."""

    def __init__(self, sink: Writable) -> None:
        raise NotImplementedError

    def add(self, entry: Entry, body: Iterable[bytes | memoryview] | int = ()) -> None:
        """Write one entry; ``body`` is its data in pieces, or a file descriptor to read ``entry.size`` bytes from."""
        raise NotImplementedError

    def close(self) -> None:
        """Write the end of the archive. The sink stays open."""
        raise NotImplementedError
