"""One subvolume for each snapshot: where they are, and what cut-short attempts leave.

::

    <root>/<id>/             a snapshot
    <root>/new-<id>/         one that is being made; renamed when it is whole
    <root>/old-<id>/         one that is being removed
    <root>/looks/<id>-…/     a read-only copy of one in use, for the time of a look at it

Nothing half-made or half-removed is ever found under a snapshot's own name, whenever the machine stops. All are renamed inside of
one directory, since a read-only subvolume can be moved nowhere else.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lamina.driver import StoredObject
from lamina_drivers.btrfs import subvolumes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.host import Host

_NEW, _OLD = "new-", "old-"


class Layout:
    """The subvolumes below ``root``, an existing directory that nobody else writes to."""

    def __init__(self, root: Path) -> None:
        """Remove the looks that a crash left behind. Cheap when there are none."""
        self._root = root
        self._looks = root / "looks"
        self._looks.mkdir(mode=0o700, exist_ok=True)
        for name in os.listdir(self._looks):
            # One that is in use by another process stays: the kernel deletes nothing that is being sent.
            with suppress(OSError):
                subvolumes.delete(self._looks / name)

    def path(self, id: int) -> Path:
        """Return the subvolume of a snapshot, whether or not it exists."""
        return self._root / str(id)

    def make(self, id: int, parent: int | None) -> None:
        """Make a snapshot's subvolume, a copy of that of ``parent`` or empty. What an earlier attempt left is replaced."""
        self.remove(id)
        new = self._root / f"{_NEW}{id}"
        try:
            if parent is None:
                subvolumes.create(new)
                # By the kernel alone, the mode would depend on the caller's umask.
                new.chmod(0o755)
            else:
                subvolumes.snapshot(self.path(parent), new)
            new.rename(self.path(id))
        except BaseException:
            subvolumes.delete(new)
            raise

    @contextmanager
    def look(self, id: int) -> Iterator[Path]:
        """Yield the subvolume of a snapshot as it is now: itself if it is immutable, else a read-only copy for this block."""
        own = self.path(id)
        if subvolumes.is_read_only(own):
            yield own
            return
        copy = self._looks / f"{id}-{os.urandom(6).hex()}"
        subvolumes.snapshot(own, copy, read_only=True)
        try:
            yield copy
        finally:
            subvolumes.delete(copy)

    def flatten(self, id: int, host: Host) -> None:
        """Replace the subvolumes inside of a snapshot, which copies would show empty, by directories of the same content."""
        inside = subvolumes.nested(self.path(id))
        for each in inside:
            subvolumes.set_read_only(each, read_only=False)
        for each in inside:
            copy = each.with_name(f".lamina-{id}")
            before = each.parent.stat()
            host.remove_tree(copy)
            host.copy_tree(each, copy)
            subvolumes.delete(each)
            copy.rename(each)
            os.utime(each.parent, ns=(before.st_atime_ns, before.st_mtime_ns))

    def remove(self, id: int) -> None:
        """Remove the snapshot's subvolume and what cut-short attempts left of it. Unknown ids are fine."""
        old = self._root / f"{_OLD}{id}"
        subvolumes.delete(self._root / f"{_NEW}{id}")
        subvolumes.delete(old)
        with suppress(FileNotFoundError):
            self.path(id).rename(old)
        subvolumes.delete(old)

    def objects(self) -> Iterator[StoredObject]:
        """Yield everything below ``root``, cut-short attempts and looks included."""
        for name in sorted(os.listdir(self._root)):
            if name != self._looks.name:
                number = name.removeprefix(_NEW).removeprefix(_OLD)
                yield StoredObject(_id(number), str(self._root / name), whole=name == number)
        for name in sorted(os.listdir(self._looks)):
            yield StoredObject(_id(name.partition("-")[0]), str(self._looks / name), whole=False)


def _id(name: str) -> int | None:
    """Return the number of the snapshot that a name stands for."""
    return int(name) if name.isascii() and name.isdigit() and str(int(name)) == name else None
