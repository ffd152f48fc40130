"""The ``btrfs`` driver: each snapshot is a subvolume, made as a snapshot of its parent's; both then share what neither changes.

Layers are read-only subvolumes, so that not even root writes to them by mistake. What a snapshot changed is told by btrfs itself
(:mod:`lamina_drivers.btrfs.changes`). For what is on disk see :mod:`lamina_drivers.btrfs.layout`.

A subvolume that somebody makes inside of a snapshot (``btrfs subvolume create``) would be empty in snapshots of that one. It is a
plain directory of the same content from the commit on.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.driver import ApplyTarget, DirectApply, Driver, Encoding, LoopBacked, NativeDiff
from lamina.errors import UnsupportedError
from lamina.model import Capability, Mount, Usage
from lamina_drivers.btrfs import subvolumes
from lamina_drivers.btrfs.changes import Replay
from lamina_drivers.btrfs.layout import Layout
from lamina_drivers.btrfs.options import BtrfsOptions
from lamina_drivers.btrfs.probe import probe
from lamina_drivers.btrfs.stream import read_stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.driver import Chain, ProbeReport, StoredObject, Touched
    from lamina.host import Host
    from lamina_drivers.btrfs.changes import Written


class BtrfsDriver(Driver, NativeDiff, DirectApply, LoopBacked):
    """Layers as subvolumes."""

    name = "btrfs"
    summary = "subvolumes and snapshots of btrfs: nothing is copied, and changes are told by the filesystem"
    capabilities = frozenset(
        (
            Capability.NATIVE_DIFF,
            Capability.DIRECT_APPLY,
            Capability.RENAME_DIRECTORY,
            Capability.SHARED_HARD_LINKS,
            Capability.SHARED_DATA,
        )
    )
    Options = BtrfsOptions
    preference = 20

    def __init__(self, host: Host, root: Path, options: object) -> None:
        """Raises :class:`lamina.errors.DriverUnavailableError` without a working libbtrfsutil."""
        super().__init__(host, root, options)
        subvolumes.library()
        self._layout = Layout(root)

    @classmethod
    def probe(cls, host: Host, root: Path, options: object) -> ProbeReport:
        return probe(host, root)

    @classmethod
    def format(cls, host: Host, file: Path) -> None:
        host.run(["mkfs.btrfs", "--quiet", "--force", str(file)])

    @classmethod
    def attach(cls, host: Host, file: Path, place: Path) -> None:
        if not _is_mounted(host, place):
            with host.loop_device(file) as device:
                host.mount([Mount("btrfs", device)], place)

    @classmethod
    def detach(cls, host: Host, file: Path, place: Path) -> None:
        host.unmount(place)

    def prepare(self, id: int, chain: Chain) -> None:
        if chain:
            # A commit that was cut short by the machine may have lost it, and only what is immutable can be compared with.
            subvolumes.set_read_only(self._layout.path(chain[0]), read_only=True)
        self._layout.make(id, chain[0] if chain else None)

    def mounts(self, id: int, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        own = self._layout.path(id)
        if writable:
            # A commit that was cut short, or came too late for its name, has left it immutable.
            subvolumes.set_read_only(own, read_only=False)
        return (Mount("bind", str(own), ("rw" if writable else "ro",)),)

    def commit(self, id: int, chain: Chain, *, durable: bool) -> None:
        self._layout.flatten(id, self.host)
        subvolumes.set_read_only(self._layout.path(id), read_only=True)
        if durable:
            self.host.sync_filesystem(self.root)

    def remove(self, id: int) -> None:
        self._layout.remove(id)

    def usage(self, id: int, chain: Chain) -> Usage:
        """Count the data that were written on top of the parent, and new inodes; for a snapshot without one, what is in it.

        Metadata of btrfs are not counted, and what is compressed is counted as it was before. Where btrfs cannot tell what was
        written, or not to somebody without privilege, the growth of the tree is taken.
        """
        if not chain:
            return self._whole(id)
        try:
            with self._changes(id, chain) as (tree, changes):
                return Usage(sum(_size(tree, file) for file in changes.written()), changes.made)
        except (UnsupportedError, PermissionError):
            here, below = self._whole(id), self._whole(chain[0])
            return Usage(max(here.size - below.size, 0), max(here.inodes - below.inodes, 0))

    def objects(self) -> Iterator[StoredObject]:
        return self._layout.objects()

    def touched(self, id: int, chain: Chain) -> Iterator[Touched]:
        """Yield what btrfs itself says to differ. Raises :class:`UnsupportedError` while there are subvolumes inside, and for a
        parent that is no longer immutable."""
        if subvolumes.nested(self._layout.path(id)):
            raise UnsupportedError(self.name, "telling what changed in subvolumes inside of a snapshot")
        with self._changes(id, chain) as (_, changes):
            yield from changes.touched()

    def apply_target(self, id: int, chain: Chain) -> ApplyTarget:
        return ApplyTarget(self._layout.path(id), Encoding.PLAIN)

    @contextmanager
    def _changes(self, id: int, chain: Chain) -> Iterator[tuple[Path, Replay]]:
        """Yield the snapshot as it is now, immutable for this block, and what was changed in it."""
        with self._layout.look(id) as tree:
            stream = self.host.send_differences(tree, subvolumes.number(self._layout.path(chain[0])))
            try:
                changes = Replay(read_stream(stream))
            except OSError as error:
                raise UnsupportedError(self.name, f"telling what changed: {error.strerror}") from error
            yield tree, changes

    def _whole(self, id: int) -> Usage:
        """Count all that a snapshot shows, its root directory apart, which is always there."""
        tree = self._layout.path(id)
        found = self.host.tree_usage(tree)
        return Usage(found.size - tree.lstat().st_blocks * 512, found.inodes - 1)


def _is_mounted(host: Host, place: Path) -> bool:
    return any(entry.target == os.path.realpath(place) for entry in host.mount_table())


def _size(tree: Path, file: Written) -> int:
    """Return what was written to a file and is still in it: a hole that was punched is part of the stream too."""
    return min(file.size, os.lstat(os.fsencode(tree) + b"/" + file.path).st_blocks * 512)
