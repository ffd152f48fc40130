"""The ``vfs`` driver: each snapshot is a whole tree, made by copying its parent's.

It asks nothing of the kernel but files, so it is the one to fall back on, and the plain directory to compare others with. Where
the filesystem has reflinks (btrfs, xfs), a copy shares its parent's data until one of them is written to.

On disk, below the driver's root (see :mod:`lamina.directories`), ``<id>/tree`` is the snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.directories import Directories
from lamina.driver import ApplyTarget, DirectApply, Driver, Encoding
from lamina.model import Capability, Mount
from lamina_drivers.vfs.options import VfsOptions
from lamina_drivers.vfs.probe import probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.driver import Chain, ProbeReport, StoredObject
    from lamina.host import Host
    from lamina.model import Usage


class VfsDriver(Driver, DirectApply):
    """Layers as full copies."""

    name = "vfs"
    summary = "plain copies of directories: works everywhere, costs space and time unless the filesystem has reflinks"
    capabilities = frozenset(
        (Capability.DIRECT_APPLY, Capability.RENAME_DIRECTORY, Capability.SHARED_HARD_LINKS, Capability.SHARED_DATA)
    )
    Options = VfsOptions
    preference = 90

    def __init__(self, host: Host, root: Path, options: object) -> None:
        super().__init__(host, root, options)
        if not host.can_reflink(root):
            self.capabilities -= {Capability.SHARED_DATA}
        self._directories = Directories(host, root)

    @classmethod
    def probe(cls, host: Host, root: Path, options: object) -> ProbeReport:
        return probe(host, root)

    def prepare(self, id: int, chain: Chain) -> None:
        with self._directories.make(id) as new:
            tree = new / "tree"
            if chain:
                self.host.copy_tree(self._tree(chain[0]), tree)
            else:
                tree.mkdir()
                # By mkdir(2) alone, the mode would depend on the caller's umask.
                tree.chmod(0o755)

    def mounts(self, id: int, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        return (Mount("bind", str(self._tree(id)), ("rw" if writable else "ro",)),)

    def commit(self, id: int, chain: Chain, *, durable: bool) -> None:
        if durable:
            self.host.sync_filesystem(self.root)

    def remove(self, id: int) -> None:
        self._directories.remove(id)

    def usage(self, id: int, chain: Chain) -> Usage:
        """Count the whole tree: what a snapshot has in common with its parent is its own copy. Where it is a reflink, this is too
        much; which blocks are shared, a filesystem does not tell cheaply."""
        return self.host.tree_usage(self._tree(id))

    def objects(self) -> Iterator[StoredObject]:
        return self._directories.objects()

    def apply_target(self, id: int, chain: Chain) -> ApplyTarget:
        return ApplyTarget(self._tree(id), Encoding.PLAIN)

    def _tree(self, id: int) -> Path:
        return self._directories.path(id) / "tree"
