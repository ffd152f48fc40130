"""The ``overlay`` driver: each snapshot is a directory of its own changes, and the kernel shows the stack of them as one.

On disk, below the driver's root (see :mod:`lamina.directories`)::

    <id>/fs     what the snapshot adds, in overlay's own encoding: whiteouts are devices 0:0, opaque directories have an attribute
    <id>/work   the kernel's scratch space while the snapshot is mounted writable
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from lamina.directories import Directories
from lamina.driver import ApplyTarget, DirectApply, Driver, Encoding, NativeDiff
from lamina.errors import UnsupportedError
from lamina.model import Capability, Mount, Usage
from lamina_drivers.overlay.options import OverlayOptions
from lamina_drivers.overlay.probe import probe
from lamina_drivers.overlay.stack import stack, too_deep
from lamina_drivers.overlay.upper import inherit_root, touched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.driver import Chain, ProbeReport, StoredObject, Touched
    from lamina.host import Host


class OverlayDriver(Driver, NativeDiff, DirectApply):
    """Layers as directories, united by the kernel's overlay filesystem."""

    name = "overlay"
    summary = "the kernel's overlay filesystem: layers are directories, and a snapshot costs what it changes"
    capabilities = frozenset((Capability.NATIVE_DIFF, Capability.DIRECT_APPLY, Capability.SHARED_DATA))
    Options = OverlayOptions
    preference = 10

    def __init__(self, host: Host, root: Path, options: OverlayOptions) -> None:
        super().__init__(host, root, options)
        self._extra = options.extra
        self._directories = Directories(host, root)

    @classmethod
    def probe(cls, host: Host, root: Path, options: object) -> ProbeReport:
        """Try everything at ``root``; a real mount is made and used there, seen by nobody else."""
        return probe(host, root, cast("OverlayOptions", options))

    def prepare(self, id: int, chain: Chain) -> None:
        """Make the snapshot's directories; the root takes over what its parent's root is.

        Raises :class:`UnsupportedError` for a chain of 500: the kernel takes 500 directories, and to look at the snapshot
        read-only its own has to be one of them.
        """
        self._stack(id, chain, writable=False)
        with self._directories.make(id) as new:
            fs = new / "fs"
            fs.mkdir()
            (new / "work").mkdir(mode=0o700)
            if chain:
                inherit_root(self._fs(chain[0]), str(fs))
            else:
                # By mkdir(2) alone, the mode would depend on the caller's umask.
                fs.chmod(0o755)

    def mounts(self, id: int, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        """Describe one mount. Read-only, the snapshot's own directory is the nearest lower one, never an upper one, so that it can be
        looked at while it is mounted writable."""
        return (self._stack(id, chain, writable=writable),)

    def commit(self, id: int, chain: Chain, *, durable: bool) -> None:
        if durable:
            self.host.sync_filesystem(self.root)

    def remove(self, id: int) -> None:
        self._directories.remove(id)

    def usage(self, id: int, chain: Chain) -> Usage:
        """Count what the snapshot adds, whiteouts included; its root directory, which is always there, is not counted."""
        fs = Path(self._fs(id))
        tree = self.host.tree_usage(fs)
        return Usage(tree.size - fs.stat().st_blocks * 512, tree.inodes - 1)

    def objects(self) -> Iterator[StoredObject]:
        return self._directories.objects()

    def touched(self, id: int, chain: Chain) -> Iterator[Touched]:
        return touched(self._fs(id))

    def apply_target(self, id: int, chain: Chain) -> ApplyTarget:
        return ApplyTarget(Path(self._fs(id)), Encoding.OVERLAY if chain else Encoding.PLAIN)

    def _fs(self, id: int) -> str:
        return f"{self.root}/{id}/fs"

    def _stack(self, id: int, chain: Chain, *, writable: bool) -> Mount:
        own = self._fs(id)
        if not chain:
            return Mount("bind", own, ("rw" if writable else "ro",))
        lowers = [self._fs(below) for below in chain]
        if writable:
            mount = stack(lowers, own, f"{self.root}/{id}/work", extra=self._extra)
        else:
            mount = stack([own, *lowers], extra=self._extra)
        if excess := too_deep(mount, self.host.kernel_release()):
            raise UnsupportedError(self.name, excess)
        return mount
