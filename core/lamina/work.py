"""A fork: a writable, mounted directory on top of an image or layer, that disappears unless it is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lamina.diff import Writable
    from lamina.layers import Diff, Layers
    from lamina.model import Change, Snapshot


class Work:
    """What ``with store.fork(…) as work:`` yields. Outside that block it is of no use any more."""

    def __init__(self, key: str, path: Path, layers: Layers, commit: Callable[[str], Snapshot]) -> None:
        #: Key of the active snapshot in the layer graph.
        self.key = key
        #: The root of the tree: a directory like any other.
        self.path = path
        self._layers = layers
        self._commit = commit

    def changes(self) -> Iterator[Change]:
        """Yield what differs from the image or layer below, so far."""
        return self._layers.changes(self.key)

    def diff(self, sink: Writable) -> Diff:
        """Write the changes so far as a canonical OCI layer tar, uncompressed, and return its diff id and size."""
        return self._layers.diff(self.key, sink)

    def commit(self, tag: str = "") -> Snapshot:
        """Make the tree a layer, and with ``tag`` an image of that name with the configuration of the image below; return the
        layer.

        The directory is unmounted by this. Raises :class:`lamina.errors.MountBusyError` while a process uses it, and
        :class:`lamina.errors.ImageExistsError` for a name that is taken; it stays as it was then.
        """
        return self._commit(tag)
