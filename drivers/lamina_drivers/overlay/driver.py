"""The ``overlay`` driver: each snapshot is a directory of its own changes, and the kernel shows the stack of them as one.

On disk, below the driver's root (see :mod:`lamina.directories`)::

    <id>/fs     what the snapshot adds, in overlay's own encoding: whiteouts are devices 0:0, opaque directories have an attribute
    <id>/work   the kernel's scratch space while the snapshot is mounted writable
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lamina.directories import Directories
from lamina.driver import UNION_SOURCE, ApplyTarget, DirectApply, Driver, Encoding, NativeDiff, UnionMount
from lamina.errors import UnsupportedError
from lamina.model import Capability, Mount, Usage
from lamina_drivers.overlay.options import OverlayOptions
from lamina_drivers.overlay.probe import probe
from lamina_drivers.overlay.stack import MAX_LOWER, stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lamina.driver import Chain, ProbeReport, StoredObject, Touched
    from lamina.host import Host


class OverlayDriver(Driver, NativeDiff, DirectApply, UnionMount):
    """Layers as directories, united by the kernel's overlay filesystem."""

    name = "overlay"
    summary = "the kernel's overlay filesystem: layers are directories, and a snapshot costs what it changes"
    capabilities = frozenset((Capability.NATIVE_DIFF, Capability.DIRECT_APPLY, Capability.SHARED_DATA, Capability.UNION))
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
        self._lowers(id, chain)
        with self._directories.make(id) as new:
            fs = new / "fs"
            fs.mkdir()
            (new / "work").mkdir(mode=0o700)
            if chain:
                from lamina.diff.upper import inherit_root  # the codecs come with it: not for who only lists drivers

                inherit_root(self._fs(chain[0]), str(fs), Encoding.OVERLAY)
            else:
                # By mkdir(2) alone, the mode would depend on the caller's umask.
                fs.chmod(0o755)

    def mounts(self, id: int, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        """Describe one mount. Read-only, the snapshot's own directory is the nearest lower one and never an upper one: it can be
        looked at while it is mounted writable."""
        own = self._fs(id)
        if not chain:
            return (Mount("bind", own, ("rw" if writable else "ro",)),)
        lowers = self._lowers(id, chain)
        if writable:
            return (stack(lowers[1:], own, f"{self.root}/{id}/work", extra=self._extra),)
        return (stack(lowers, extra=self._extra),)

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
        from lamina.diff.upper import touched

        return touched(self._fs(id), Encoding.OVERLAY)

    def apply_target(self, id: int, chain: Chain) -> ApplyTarget:
        return ApplyTarget(Path(self._fs(id)), Encoding.OVERLAY if chain else Encoding.PLAIN)

    @classmethod
    def union(cls, directories: Sequence[Path], options: object, *, upper: Path | None = None, work: Path | None = None) -> Mount:
        if len(directories) > MAX_LOWER:
            raise UnsupportedError(cls.name, f"a union of {len(directories)} directories: the kernel's limit is {MAX_LOWER}")
        lowers = [str(each) for each in directories]
        extra = cast("OverlayOptions", options).extra
        mount = stack(lowers, str(upper), str(work), extra=extra) if upper else stack(lowers, extra=extra)
        return replace(mount, source=UNION_SOURCE)

    def _fs(self, id: int) -> str:
        return f"{self.root}/{id}/fs"

    def _lowers(self, id: int, chain: Chain) -> list[str]:
        """Return the lower directories of a read-only mount: the snapshot's own, then those of the layers below."""
        if len(chain) >= MAX_LOWER:
            raise UnsupportedError(self.name, f"a stack of {len(chain) + 1} layers: the kernel's limit is {MAX_LOWER}")
        return [self._fs(each) for each in (id, *chain)]
