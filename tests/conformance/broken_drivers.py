"""Drivers that are wrong in one way each, and the cases of the conformance suite that must find it.

This is a plugin: :mod:`tests.conformance.test_negative_controls` installs it beside lamina for the length of a run.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from lamina.driver import ApplyTarget, Check, Encoding, ProbeReport, Touched
from lamina.hooks import hookimpl
from lamina.model import Capability, Mount, Usage
from lamina_drivers.overlay.driver import OverlayDriver
from lamina_drivers.vfs.driver import VfsDriver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.driver import Chain, Driver
    from lamina.hooks import DriverRegister
    from lamina.host import Host


class ForgetsDeletions(VfsDriver):
    """What was deleted on top of a layer is back once the snapshot is committed."""

    name = "forgets-deletions"

    def commit(self, id: int, chain: Chain, *, durable: bool) -> None:
        if chain:
            restore(self._tree(chain[0]), self._tree(id))
        super().commit(id, chain, durable=durable)


class SharesInodes(VfsDriver):
    """A child's files are its parent's, by hard links: what is written in place is written in both."""

    name = "shares-inodes"

    def prepare(self, id: int, chain: Chain) -> None:
        super().prepare(id, chain)
        for path in below(self._tree(id)) if chain else ():
            if path.is_file() and not path.is_symlink():
                path.unlink()
                os.link(self._tree(chain[0]) / path.relative_to(self._tree(id)), path)


class DropsXattrs(VfsDriver):
    """A child begins without the extended attributes of its parent."""

    name = "drops-xattrs"

    def prepare(self, id: int, chain: Chain) -> None:
        super().prepare(id, chain)
        for path in (self._tree(id), *below(self._tree(id))):
            for name in os.listxattr(path, follow_symlinks=False):
                os.removexattr(path, name, follow_symlinks=False)


class LeaksIntoParents(VfsDriver):
    """A file that is new in a child shows up in its parent when the child is committed."""

    name = "leaks-into-parents"

    def commit(self, id: int, chain: Chain, *, durable: bool) -> None:
        super().commit(id, chain, durable=durable)
        if chain:
            restore(self._tree(id), self._tree(chain[0]))


class WritableViews(VfsDriver):
    """Looks are not read-only."""

    name = "writable-views"

    def mounts(self, id: int, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        return super().mounts(id, chain, writable=True)


class LosesRootMode(VfsDriver):
    """The root of a child is like that of an empty layer."""

    name = "loses-root-mode"

    def prepare(self, id: int, chain: Chain) -> None:
        super().prepare(id, chain)
        self._tree(id).chmod(0o755)
        os.chown(self._tree(id), 0, 0)


class RoundsTimes(VfsDriver):
    """A child's times are whole seconds."""

    name = "rounds-times"

    def prepare(self, id: int, chain: Chain) -> None:
        super().prepare(id, chain)
        for path in below(self._tree(id)):
            seconds = path.lstat().st_mtime_ns // 10**9
            os.utime(path, ns=(0, seconds * 10**9), follow_symlinks=False)


class SplitsLinks(VfsDriver):
    """Hard links become copies in a child."""

    name = "splits-links"

    def prepare(self, id: int, chain: Chain) -> None:
        super().prepare(id, chain)
        for path in below(self._tree(id)):
            if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1:
                copy = path.with_name(".copy")
                shutil.copy2(path, copy)
                copy.replace(path)


class UsesUmask(VfsDriver):
    """An empty root has the mode that the caller's umask leaves."""

    name = "uses-umask"

    def prepare(self, id: int, chain: Chain) -> None:
        super().prepare(id, chain)
        if not chain:
            os.umask(umask := os.umask(0))
            self._tree(id).chmod(0o777 & ~umask)


class LeavesRemains(VfsDriver):
    """Removing a snapshot removes its record alone."""

    name = "leaves-remains"

    def remove(self, id: int) -> None: ...


class MakesOnce(VfsDriver):
    """What a crash left makes the next attempt fail."""

    name = "makes-once"

    def prepare(self, id: int, chain: Chain) -> None:
        if self._tree(id).exists():
            raise FileExistsError(f"snapshot {id}")
        super().prepare(id, chain)


class LeavesMounts(VfsDriver):
    """Something stays mounted below the store."""

    name = "leaves-mounts"

    def commit(self, id: int, chain: Chain, *, durable: bool) -> None:
        super().commit(id, chain, durable=durable)
        (self.root / "forgotten").mkdir(exist_ok=True)
        self.host.mount([Mount("tmpfs", "forgotten")], self.root / "forgotten")


class ProbesUntidily(VfsDriver):
    """The probe forgets what it made."""

    name = "probes-untidily"

    @classmethod
    def probe(cls, host: Host, root: Path, options: object) -> ProbeReport:
        if root.exists():
            (root / "probe").touch()
        return super().probe(host, root, options)


class HidesRenames(VfsDriver):
    """Can rename directories of lower layers, and does not say so."""

    name = "hides-renames"
    capabilities = VfsDriver.capabilities - {Capability.RENAME_DIRECTORY}


class ClaimsRenames(OverlayDriver):
    """Says that directories of lower layers can be renamed, which they cannot."""

    name = "claims-renames"
    capabilities = OverlayDriver.capabilities | {Capability.RENAME_DIRECTORY}


class ClaimsSharedLinks(OverlayDriver):
    """Says that names stay linked when one of them is written to, which they do not."""

    name = "claims-shared-links"
    capabilities = OverlayDriver.capabilities | {Capability.SHARED_HARD_LINKS}


class TellsNoDeletions(OverlayDriver):
    """Leaves deletions out when asked what was touched."""

    name = "tells-no-deletions"

    def touched(self, id: int, chain: Chain) -> Iterator[Touched]:
        fs = os.fsencode(self._fs(id))
        return (touched for touched in super().touched(id, chain) if not is_whiteout(os.path.join(fs, touched.path)))


class MixesEncodings(OverlayDriver):
    """Has layers unpacked as if nothing were below: whiteouts find nothing to remove."""

    name = "mixes-encodings"

    def apply_target(self, id: int, chain: Chain) -> ApplyTarget:
        return ApplyTarget(super().apply_target(id, chain).directory, Encoding.PLAIN)


class CountsParents(OverlayDriver):
    """Usage is that of the whole chain."""

    name = "counts-parents"

    def usage(self, id: int, chain: Chain) -> Usage:
        return sum((OverlayDriver.usage(self, number, ()) for number in (id, *chain)), Usage(0, 0))


class NeedsTheMoon(VfsDriver):
    """Runs nowhere."""

    name = "needs-the-moon"

    @classmethod
    def probe(cls, host: Host, root: Path, options: object) -> ProbeReport:
        moon = Check("the moon is up", ok=False, evidence="looked, and saw clouds", remedy="wait for a clear night")
        return ProbeReport(cls.name, (moon,))


class Flaw(NamedTuple):
    """A driver, and which cases must fail on it."""

    driver: type[Driver]
    #: Ids of cases.
    found_by: frozenset[str]


def flaw(driver: type[Driver], *found_by: str) -> Flaw:
    return Flaw(driver, frozenset(found_by))


FLAWS = (
    flaw(ForgetsDeletions, "LC04", "LC44", "FS05", "FS08", "WH01", "WH13", "DF18", "RS01"),
    flaw(SharesInodes, "LC04", "FS04", "FS18", "FS27", "RS01"),
    flaw(DropsXattrs, "FS03", "FS44", "AP03", "RS01"),
    flaw(LeaksIntoParents, "FS27", "FS28", "RS01"),
    flaw(WritableViews, "FS26"),
    flaw(LosesRootMode, "FS03", "RS01"),
    flaw(RoundsTimes, "FS08", "FS19"),
    flaw(SplitsLinks, "FS42", "CP09", "RS01"),
    flaw(UsesUmask, "FS02"),
    flaw(LeavesRemains, "LC07", "AP30", "RB02", "RB06"),
    flaw(MakesOnce, "RB01"),
    flaw(LeavesMounts, "LC02", "FS18"),
    flaw(ProbesUntidily, "CP03"),
    flaw(HidesRenames, "CP08"),
    flaw(ClaimsRenames, "CP08", "FS10", "RS01"),
    flaw(ClaimsSharedLinks, "CP09", "FS43"),
    flaw(TellsNoDeletions, "DF18", "DF27", "CP05"),
    flaw(MixesEncodings, "WH01", "WH13"),
    flaw(CountsParents, "QU01"),
)


@hookimpl
def lamina_register_drivers(register: DriverRegister) -> None:
    for broken in FLAWS:
        register.add(broken.driver)
    register.add(NeedsTheMoon)


def below(tree: Path) -> list[Path]:
    """All paths below a directory; symbolic links are not followed."""
    return sorted(tree.rglob("*"))


def restore(source: Path, target: Path) -> None:
    """Copy into ``target`` the files and directories of ``source`` that it lacks."""
    for path in below(source):
        copy = target / path.relative_to(source)
        if copy.exists() or copy.is_symlink() or not copy.parent.is_dir():
            continue
        if path.is_dir() and not path.is_symlink():
            copy.mkdir()
        elif path.is_file():
            shutil.copy2(path, copy, follow_symlinks=False)


def is_whiteout(path: bytes) -> bool:
    """Whether overlayfs takes ``path`` for a deletion."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_mode & 0o170000 == 0o020000 and status.st_rdev == 0
