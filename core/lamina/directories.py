"""One directory for each snapshot: what every driver that keeps snapshots as plain directories needs on disk.

::

    <root>/<id>/        a snapshot
    <root>/new-<id>/    one that is being made; renamed when it is whole
    <root>/trash/<id>/  one that is being removed

Nothing half-made or half-removed is ever found under a snapshot's own name, whenever the machine stops.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.driver import StoredObject
from lamina.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.host import Host

_NEW = "new-"
_TRASH = "trash"


class Directories:
    """The snapshot directories below ``root``, an existing directory that nobody else writes to."""

    def __init__(self, host: Host, root: Path) -> None:
        """Finish the removals that a crash cut short. Cheap when there are none."""
        self._host = host
        self._root = root
        self._trash = root / _TRASH
        self._trash.mkdir(mode=0o700, exist_ok=True)
        with os.scandir(self._trash) as left:
            for entry in left:
                # Neither another process at the same work nor a thing that cannot be removed may keep a store from opening. What
                # stays is seen by objects().
                with suppress(OSError, HostError):
                    host.remove_tree(Path(entry.path))

    def path(self, id: int) -> Path:
        """Return the directory of a snapshot, whether or not it exists."""
        return self._root / str(id)

    @contextmanager
    def make(self, id: int) -> Iterator[Path]:
        """Yield an empty directory, mode 0700, that becomes the snapshot's at the end of the block, in one step.

        What an earlier attempt left is replaced. After an exception nothing is left.
        """
        self.remove(id)
        new = self._root / f"{_NEW}{id}"
        new.mkdir(mode=0o700)
        try:
            yield new
            new.rename(self.path(id))
        except BaseException:
            self._host.remove_tree(new)
            raise

    def remove(self, id: int) -> None:
        """Remove the snapshot's directory and what cut-short attempts left of it. Unknown ids are fine."""
        trash = self._trash / str(id)
        self._host.remove_tree(self._root / f"{_NEW}{id}")
        with suppress(FileNotFoundError):
            self.path(id).rename(trash)
        self._host.remove_tree(trash)

    def objects(self) -> Iterator[StoredObject]:
        """Yield everything below ``root``, cut-short attempts included."""
        with os.scandir(self._root) as entries:
            for entry in entries:
                if entry.name != _TRASH:
                    yield StoredObject(_id(entry.name.removeprefix(_NEW)), entry.path, whole=not entry.name.startswith(_NEW))
        with os.scandir(self._trash) as entries:
            for entry in entries:
                yield StoredObject(_id(entry.name), entry.path, whole=False)


def _id(name: str) -> int | None:
    """Return the number of the snapshot that a directory's name stands for."""
    return int(name) if name.isascii() and name.isdigit() and str(int(name)) == name else None
