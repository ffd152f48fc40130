"""Whether plain copies work on this machine at this place, and how well."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from lamina.driver import Check, ProbeReport

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.host import Host


def probe(host: Host, root: Path) -> ProbeReport:
    """Try everything below ``root`` and leave nothing there; see :meth:`lamina.driver.Driver.probe`."""
    scratch = root / f"probe-{os.urandom(4).hex()}"
    writable = Check.attempt("directory is writable", f"making a directory in {root}", scratch.mkdir, "choose another --root")
    if not writable.ok:
        return ProbeReport("vfs", (writable,))
    try:
        checks = (_owners(scratch), _mounts(host), _reflinks(host, scratch), _attributes(host, scratch), _devices(scratch))
    finally:
        host.remove_tree(scratch)
    return ProbeReport("vfs", (writable, *checks))


def _owners(scratch: Path) -> Check:
    return Check.attempt("files can be given away", "chown of a directory to 1:1", lambda: os.chown(scratch, 1, 1), "run as root")


def _mounts(host: Host) -> Check:
    held = host.effective_capability("CAP_SYS_ADMIN")
    evidence = f"CAP_SYS_ADMIN is {'' if held else 'not '}in effect"
    return Check("may mount", held, evidence, "" if held else "run as root, to mount containers", required=False)


def _reflinks(host: Host, scratch: Path) -> Check:
    shared = host.can_reflink(scratch)
    evidence = f"{host.filesystem(scratch).type} {'cloned' if shared else 'does not clone'} files (FICLONE)"
    return Check("copies share data", shared, evidence, "" if shared else "choose a --root on btrfs or xfs", required=False)


def _attributes(host: Host, scratch: Path) -> Check:
    return Check.attempt(
        "extended attributes",
        "setting user.lamina",
        lambda: host.set_xattr(scratch, "user.lamina", b"probe"),
        "choose a --root on ext4, xfs or btrfs",
        required=False,
    )


def _devices(scratch: Path) -> Check:
    def act() -> None:
        os.mknod(scratch / "null", stat.S_IFCHR, os.makedev(1, 3))

    return Check.attempt("device nodes", "making device 1:3", act, "run as root", required=False)
