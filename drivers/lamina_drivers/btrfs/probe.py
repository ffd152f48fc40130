"""Whether btrfs keeps snapshots on this machine at this place: every precondition is tried there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lamina.driver import Check, ProbeReport
from lamina.errors import DriverUnavailableError
from lamina_drivers.btrfs import subvolumes

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.host import Host


def probe(host: Host, root: Path) -> ProbeReport:
    """Try everything below ``root`` and leave nothing there; see :meth:`lamina.driver.Driver.probe`.

    Subvolumes are made when nothing else stands in their way, so that each obstacle is named once.
    """
    checks = [_filesystem(host, root), _library(), _privilege(host)]
    if all(check.ok for check in checks):
        checks.append(_subvolumes(root))
    return ProbeReport("btrfs", tuple(checks))


def _filesystem(host: Host, root: Path) -> Check:
    remedy = "choose a --root on btrfs, or make one in a file: lamina store init --driver btrfs --loop SIZE"
    try:
        found = host.filesystem(root).type
    except OSError as error:
        return Check("directory is on btrfs", ok=False, evidence=f"{root}: {error.strerror}", remedy=remedy)
    ok = found == "btrfs"
    return Check("directory is on btrfs", ok, f"{root} is on {found}", "" if ok else remedy)


def _library() -> Check:
    try:
        found = subvolumes.library()
    except DriverUnavailableError as error:
        return Check("Python module btrfsutil", ok=False, evidence=str(error.__cause__), remedy=subvolumes.REMEDY)
    return Check("Python module btrfsutil", ok=True, evidence=f"imported from {found.__file__}")


def _privilege(host: Host) -> Check:
    held = host.effective_capability("CAP_SYS_ADMIN")
    return Check("may mount", held, f"CAP_SYS_ADMIN is {'' if held else 'not '}in effect", "" if held else "run as root")


def _subvolumes(root: Path) -> Check:
    scratch = root / f"probe-{os.urandom(4).hex()}"
    copy = scratch.with_name(f"{scratch.name}-copy")

    def use() -> None:
        try:
            subvolumes.create(scratch)
            (scratch / "file").touch()
            subvolumes.snapshot(scratch, copy, read_only=True)
            if os.listdir(copy) != ["file"]:
                raise OSError(None, f"the snapshot showed {os.listdir(copy)}")
        finally:
            subvolumes.delete(copy)
            subvolumes.delete(scratch)

    trial = "making a subvolume, a snapshot of it, and deleting both"
    return Check.attempt(
        "subvolumes work here", trial, use, "the kernel's log says more (dmesg); choose a writable --root on btrfs"
    )
