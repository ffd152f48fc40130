"""Whether overlay runs on this machine at this place: every precondition is tried on the filesystem that would be used."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from lamina.driver import Check, ProbeReport
from lamina_drivers.overlay.stack import stack

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.host import Host
    from lamina_drivers.overlay.options import OverlayOptions

#: Filesystems that cannot record an overlay's changes, or that change behind its back.
_UNSUITABLE = frozenset(("ecryptfs", "fuse", "nfs", "overlay"))

_MIB = 2**20
#: With less room than this, no image fits.
_ROOM = 64 * _MIB

_ELSEWHERE = "choose a --root on ext4, xfs or btrfs"


def probe(host: Host, root: Path, options: OverlayOptions) -> ProbeReport:
    """Try everything below ``root`` and leave nothing there; see :meth:`lamina.driver.Driver.probe`.

    The mount is tried when nothing else stands in its way, so that each obstacle is named once.
    """
    scratch = root / f"probe-{os.urandom(4).hex()}"
    writable = Check.attempt("directory is writable", f"making a directory in {root}", scratch.mkdir, "choose another --root")
    checks = [_privilege(host), writable]
    trial = []
    if writable.ok:
        try:
            checks += [_filesystem(host, root), _room(host, root), _file_types(scratch), _attributes(host, scratch)]
            if all(check.ok for check in checks if check.required):
                trial = [_mount(host, scratch, options)]
        finally:
            host.remove_tree(scratch)
    return ProbeReport("overlay", (*checks, _kernel(host), *trial))


def _privilege(host: Host) -> Check:
    held = host.effective_capability("CAP_SYS_ADMIN")
    return Check("may mount", held, f"CAP_SYS_ADMIN is {'' if held else 'not '}in effect", "" if held else "run as root")


def _filesystem(host: Host, root: Path) -> Check:
    found = host.filesystem(root).type
    ok = found not in _UNSUITABLE
    return Check("filesystem can hold layers", ok, f"{root} is on {found}", "" if ok else _ELSEWHERE)


def _room(host: Host, root: Path) -> Check:
    free = host.filesystem(root).free
    ok = free >= _ROOM
    remedy = "" if ok else "free some, or choose another --root"
    return Check("room for an image", ok, f"{free // _MIB} MiB are free", remedy, required=False)


def _file_types(scratch: Path) -> Check:
    """Overlay finds whiteouts by the type that readdir(3) gives; xfs made with ``ftype=0`` gives none."""
    file = scratch / "file"
    file.touch()
    with os.scandir(scratch) as entries:
        found = next(entries)
    file.unlink()
    # Without a type from the directory, is_file() would have to ask the file, which is gone.
    ok = found.is_file(follow_symlinks=False)
    evidence = f"reading a directory gave {'the' if ok else 'no'} type of a file (d_type)"
    return Check("directories tell file types", ok, evidence, "" if ok else f"mkfs.xfs -n ftype=1, or {_ELSEWHERE}")


def _attributes(host: Host, scratch: Path) -> Check:
    return Check.attempt(
        "trusted extended attributes",
        "setting trusted.lamina",
        lambda: host.set_xattr(scratch, "trusted.lamina", b"probe"),
        f"run as root of the machine, not of a user namespace; {_ELSEWHERE}",
    )


def _kernel(host: Host) -> Check:
    """Asked for after a mount was tried, since that loads the module where it can be loaded."""
    ok = "overlay" in host.kernel_filesystems()
    evidence = f"/proc/filesystems lists {'' if ok else 'no '}overlay"
    return Check("kernel has overlay", ok, evidence, "" if ok else "modprobe overlay, or a kernel with CONFIG_OVERLAY_FS")


def _mount(host: Host, scratch: Path, options: OverlayOptions) -> Check:
    for directory in ("near", "far", "far/replaced", "far/replaced/inside", "upper", "work"):
        (scratch / directory).mkdir()
    for file in ("near/both", "far/both", "far/removed", "far/renamed"):
        (scratch / file).write_text(file)
    lowers = [f"{scratch}/near", f"{scratch}/far"]
    mount = stack(lowers, f"{scratch}/upper", f"{scratch}/work", extra=options.extra)

    def use() -> None:
        handle = host.open_mounts([mount])
        try:
            _change(handle)
            _compare(host, handle, scratch / "upper")
        finally:
            os.close(handle)

    trial = "mounting two directories below an upper one, then removing, renaming and replacing"
    return Check.attempt("overlay works here", trial, use, f"the kernel's log says more (dmesg); {_ELSEWHERE}")


def _change(handle: int) -> None:
    """Change the mount ``handle`` in each way that needs a record of its own in the upper directory."""
    os.unlink("removed", dir_fd=handle)
    os.rename("renamed", "moved", src_dir_fd=handle, dst_dir_fd=handle)
    os.rmdir("replaced/inside", dir_fd=handle)
    os.rmdir("replaced", dir_fd=handle)
    os.mkdir("replaced", dir_fd=handle)


def _compare(host: Host, handle: int, upper: Path) -> None:
    """Raise ``OSError`` when the mount ``handle`` does not show, or ``upper`` not record, what :func:`_change` did."""
    shown = sorted(os.listdir(handle))
    if shown != ["both", "moved", "replaced"]:
        raise OSError(None, f"it showed {', '.join(shown)}")
    with os.fdopen(os.open("both", os.O_RDONLY, dir_fd=handle)) as file:
        if file.read() != "near/both":
            raise OSError(None, "the farther of two files was shown")
    for name in ("removed", "renamed"):
        record = (upper / name).lstat()
        if not stat.S_ISCHR(record.st_mode) or record.st_rdev != 0:
            raise OSError(None, "a whiteout was not recorded")
    if host.get_xattr(upper / "replaced", "trusted.overlay.opaque") != b"y":
        raise OSError(None, "an opaque directory was not recorded")
