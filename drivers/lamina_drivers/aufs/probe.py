"""Whether layers in the layout of AUFS can be shown on this machine at this place, and by what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.driver import Check, ProbeReport
from lamina_drivers.aufs.options import FUSE, KERNEL
from lamina_drivers.aufs.union import by_fuse, by_kernel

if TYPE_CHECKING:
    from lamina.host import Host
    from lamina_drivers.aufs.options import AufsOptions

_DEVICE = Path("/dev/fuse")
_INSTALL = "apt-get install fuse-overlayfs"
_ELSEWHERE = "choose a --root on ext4 or xfs"

#: Filesystems that cannot hold the branches of the kernel's aufs (its manual, aufs(5), and what others learned).
_NO_BRANCHES = frozenset(("aufs", "btrfs", "ecryptfs", "fuse", "nfs", "overlay"))
#: Filesystems in which fuse-overlayfs cannot record changes, or that change behind its back.
_NO_UPPER = frozenset(("ecryptfs", "fuse", "nfs"))


def choose(host: Host, options: AufsOptions) -> str:
    """Return what makes the union here: ``kernel`` or ``fuse-overlayfs``."""
    if options.union != "auto":
        return options.union
    return KERNEL if "aufs" in host.kernel_filesystems() else FUSE


def probe(host: Host, root: Path, options: AufsOptions) -> ProbeReport:
    """Try everything below ``root`` and leave nothing there; see :meth:`lamina.driver.Driver.probe`.

    The mount is tried when nothing else stands in its way, so that each obstacle is named once.
    """
    chosen = choose(host, options)
    scratch = root / f"probe-{os.urandom(4).hex()}"
    writable = Check.attempt("directory is writable", f"making a directory in {root}", scratch.mkdir, "choose another --root")
    checks = [_privilege(host), writable, _kernel(host, required=chosen == KERNEL)]
    if chosen == FUSE:
        checks += [_program(host), _device()]
    if writable.ok:
        try:
            checks += [_path(root, chosen), _filesystem(host, root, chosen), _attributes(host, scratch, required=chosen == FUSE)]
            if all(check.ok for check in checks if check.required):
                checks.append(_mount(host, scratch, options, chosen))
        finally:
            host.remove_tree(scratch)
    return ProbeReport("aufs", tuple(checks))


def _privilege(host: Host) -> Check:
    held = host.effective_capability("CAP_SYS_ADMIN")
    return Check("may mount", held, f"CAP_SYS_ADMIN is {'' if held else 'not '}in effect", "" if held else "run as root")


def _kernel(host: Host, *, required: bool) -> Check:
    ok = "aufs" in host.kernel_filesystems()
    evidence = f"/proc/filesystems lists {'' if ok else 'no '}aufs"
    remedy = "" if ok else "modprobe aufs, on a kernel with the aufs patches; or leave it to fuse-overlayfs"
    return Check("kernel has aufs", ok, evidence, remedy, required=required)


def _program(host: Host) -> Check:
    found = host.which(FUSE)
    evidence = f"it is {found}" if found else "no such program on the path of system tools"
    return Check("fuse-overlayfs is installed", found is not None, evidence, "" if found else _INSTALL)


def _device() -> Check:
    return Check.attempt(
        "FUSE device",
        f"opening {_DEVICE}",
        lambda: os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)),
        "modprobe fuse; in a container, hand over --device /dev/fuse",
    )


def _path(root: Path, chosen: str) -> Check:
    found = [mark for mark in (":,=" if chosen == KERNEL else ":") if mark in str(root)]
    evidence = f"{root} holds {' and '.join(map(repr, found)) or 'nothing'} that {_named(chosen)} would misread"
    return Check("path can be told to the union", not found, evidence, "choose another --root" if found else "")


def _filesystem(host: Host, root: Path, chosen: str) -> Check:
    found = host.filesystem(root).type
    ok = found not in (_NO_BRANCHES if chosen == KERNEL else _NO_UPPER)
    return Check("filesystem can hold layers", ok, f"{root} is on {found}, for {_named(chosen)}", "" if ok else _ELSEWHERE)


def _attributes(host: Host, scratch: Path, *, required: bool) -> Check:
    """fuse-overlayfs marks opaque directories by an attribute beside the file."""
    return Check.attempt(
        "trusted extended attributes",
        "setting trusted.lamina",
        lambda: host.set_xattr(scratch, "trusted.lamina", b"probe"),
        f"run as root of the machine, not of a user namespace; {_ELSEWHERE}",
        required=required,
    )


def _mount(host: Host, scratch: Path, options: AufsOptions, chosen: str) -> Check:
    for directory in ("near", "far", "far/replaced", "far/replaced/inside", "upper", "work"):
        (scratch / directory).mkdir()
    for file in ("near/both", "far/both", "far/removed"):
        (scratch / file).write_text(file)
    lowers, upper = [f"{scratch}/near", f"{scratch}/far"], f"{scratch}/upper"

    def use() -> None:
        if chosen == KERNEL:
            mounts = by_kernel(lowers, upper, extra=options.extra)
        else:
            mounts = by_fuse(lowers, upper, f"{scratch}/work", extra=options.extra)
        handle = host.open_mounts(mounts)
        try:
            _change(handle)
            _compare(handle, scratch / "upper")
        finally:
            os.close(handle)

    trial = f"mounting two directories below an upper one by {_named(chosen)}, then removing and replacing"
    remedy = f"the kernel's log says more (dmesg); {_ELSEWHERE}" if chosen == KERNEL else f"{_INSTALL}, version 1.0 or later"
    return Check.attempt("union works here", trial, use, remedy)


def _change(handle: int) -> None:
    os.unlink("removed", dir_fd=handle)
    os.rmdir("replaced/inside", dir_fd=handle)
    os.rmdir("replaced", dir_fd=handle)
    os.mkdir("replaced", dir_fd=handle)


def _compare(handle: int, upper: Path) -> None:
    """Raise ``OSError`` when the mount ``handle`` does not show, or ``upper`` not record, what :func:`_change` did."""
    shown = sorted(os.listdir(handle))
    if shown != ["both", "replaced"]:
        raise OSError(None, f"it showed {', '.join(shown)}")
    with os.fdopen(os.open("both", os.O_RDONLY, dir_fd=handle)) as file:
        if file.read() != "near/both":
            raise OSError(None, "the farther of two files was shown")
    for name in (".wh.removed", "replaced/.wh..wh..opq"):
        if not (upper / name).is_file():
            raise OSError(None, f"{name} was not recorded")


def _named(chosen: str) -> str:
    return "the kernel's aufs" if chosen == KERNEL else chosen
