"""The ``aufs`` driver: layers in the layout of AUFS, united by the kernel's aufs or, where there is none, by fuse-overlayfs.

On disk, below the driver's root:

::

    diff/<id>/    what the snapshot adds: a deletion is the file ``.wh.NAME``, an opaque directory holds ``.wh..wh..opq``
    layers/<id>   the numbers of its ancestors, nearest first, one a line
    work/<id>/    scratch space of a mount by fuse-overlayfs

``diff/<id>`` comes last and goes first (see :mod:`lamina.directories`), so that it alone says whether the snapshot exists.
Whiteouts are names, so what is called by more than 251 bytes could not be deleted again: fuse-overlayfs ends at the attempt. Such
names get ENAMETOOLONG where a union is mounted, and where a directory takes everything a commit refuses them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lamina.directories import Directories
from lamina.driver import ApplyTarget, DirectApply, Driver, Encoding, NativeDiff, StoredObject
from lamina.errors import UnsupportedError
from lamina.model import Capability, Limit, Mount, Usage
from lamina_drivers.aufs.options import KERNEL, AufsOptions
from lamina_drivers.aufs.probe import choose, probe
from lamina_drivers.aufs.union import by_fuse, by_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.driver import Chain, ProbeReport, Touched
    from lamina.host import Host


class AufsDriver(Driver, NativeDiff, DirectApply):
    """Layers as directories in the layout of AUFS."""

    name = "aufs"
    summary = "layers in the layout of AUFS, by the kernel's aufs or fuse-overlayfs: no support of the kernel is needed but FUSE"
    capabilities = frozenset((Capability.NATIVE_DIFF, Capability.DIRECT_APPLY, Capability.SHARED_DATA))
    limits = frozenset(Limit)
    Options = AufsOptions
    preference = 80

    def __init__(self, host: Host, root: Path, options: AufsOptions) -> None:
        super().__init__(host, root, options)
        self._extra = options.extra
        self._by_kernel = choose(host, options) == KERNEL
        for name in ("diff", "layers", "work"):
            (root / name).mkdir(mode=0o700, exist_ok=True)
        self._directories = Directories(host, root / "diff")

    @classmethod
    def probe(cls, host: Host, root: Path, options: object) -> ProbeReport:
        """Try everything at ``root``; a real mount is made and used there, seen by nobody else."""
        return probe(host, root, cast("AufsOptions", options))

    def prepare(self, id: int, chain: Chain) -> None:
        """Make the snapshot's directories; the root takes over what its parent's root is."""
        self.mounts(id, chain, writable=True)  # refuses what cannot be mounted
        self._forget(id)
        with self._directories.make(id) as diff:
            # By mkdir(2) alone, the mode would depend on the caller's umask.
            diff.chmod(0o755)
            if chain:
                from lamina.diff.upper import inherit_root  # the codecs come with it: not for who only lists drivers

                inherit_root(self._diff(chain[0]), str(diff), Encoding.AUFS)
            (self.root / f"work/{id}").mkdir(mode=0o700)
            (self.root / f"layers/{id}").write_text("".join(f"{each}\n" for each in chain), encoding="ascii")

    def mounts(self, id: int, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        """Describe one mount, and with the kernel's aufs the remounts that add the branches for which it has no room.

        Read-only, the snapshot's own directory is the nearest lower one and never an upper one: it can be looked at while it is
        mounted writable.
        """
        own = self._diff(id)
        if not chain:
            return (Mount("bind", own, ("rw" if writable else "ro",)),)
        below = [self._diff(each) for each in chain]
        if self._by_kernel:
            return by_kernel(below, own, extra=self._extra) if writable else by_kernel([own, *below], extra=self._extra)
        if writable:
            return by_fuse(below, own, f"{self.root}/work/{id}", extra=self._extra)
        return by_fuse([own, *below], extra=self._extra)

    def commit(self, id: int, chain: Chain, *, durable: bool) -> None:
        """Sync what is there. Raises :class:`UnsupportedError` for a name that no whiteout could hide."""
        from lamina.diff.upper import LONGEST_NAME, unhidable

        if found := unhidable(self._diff(id)):
            raise UnsupportedError(self.name, f"names of over {LONGEST_NAME} bytes: {os.fsdecode(found)!r}")
        if durable:
            self.host.sync_filesystem(self.root)

    def remove(self, id: int) -> None:
        self._directories.remove(id)
        self._forget(id)

    def usage(self, id: int, chain: Chain) -> Usage:
        """Count what the snapshot adds, whiteouts included; its root directory, which is always there, is not counted."""
        diff = Path(self._diff(id))
        tree = self.host.tree_usage(diff)
        return Usage(tree.size - diff.stat().st_blocks * 512, tree.inodes - 1)

    def objects(self) -> Iterator[StoredObject]:
        """Yield the snapshots, and what a cut-short attempt left beside them."""
        known = set()
        for each in self._directories.objects():
            known.add(each.id)
            yield each
        for place in ("layers", "work"):
            with os.scandir(self.root / place) as entries:
                for entry in entries:
                    id = int(entry.name) if entry.name.isdecimal() else None
                    if id is None or id not in known:
                        known.add(id)
                        yield StoredObject(id, entry.path, whole=False)

    def touched(self, id: int, chain: Chain) -> Iterator[Touched]:
        from lamina.diff.upper import touched

        return touched(self._diff(id), Encoding.AUFS)

    def apply_target(self, id: int, chain: Chain) -> ApplyTarget:
        return ApplyTarget(Path(self._diff(id)), Encoding.AUFS if chain else Encoding.PLAIN)

    def _diff(self, id: int) -> str:
        return f"{self.root}/diff/{id}"

    def _forget(self, id: int) -> None:
        """Remove what there is of a snapshot beside its directory."""
        self.host.remove_tree(self.root / f"work/{id}")
        (self.root / f"layers/{id}").unlink(missing_ok=True)
