"""Performing mounts, at a directory or attached to nowhere, and undoing them.

Kernels from 6.8 on get the new mount API: each option goes to the kernel on its own, a failure comes with the kernel's own
words, and a mount is complete before anybody sees it. Older ones get mount(2). What is different there: ``ro`` and its like
hold for the uppermost mount of an ``rbind`` only, and for a moment a bind mount is seen without them. What a program serves
(``fuse.NAME``) needs the new API on every kernel; it has been there since 5.2, only overlay's part of it is younger.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

from lamina.errors import MountBusyError, MountFailedError
from lamina.host import mount_api, mount_classic, mount_fuse, syscalls
from lamina.host.machine import kernel_release
from lamina.host.mount_options import parse_options
from lamina.host.mountinfo import mount_table
from lamina.host.process import processes_using

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lamina.host.mount_options import MountOptions
    from lamina.model import Mount

#: Filesystems that take all their options as one string, which only mount(2) can give them.
_ONE_STRING: Final = frozenset({"aufs"})

_BUSY_TRIES: Final = 10
_BUSY_PAUSE: Final = 0.02


@cache
def offers_new_api() -> bool:
    """Whether the kernel has all of the new mount API, overlay's ``lowerdir+`` included (Linux 6.8)."""
    if kernel_release() < (6, 8):
        return False
    try:
        syscalls.fsopen("")
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


def mount(mounts: Sequence[Mount], target: Path, *, new_api: bool | None = None) -> None:
    """Perform ``mounts`` in order at ``target``, an existing directory; after :class:`MountFailedError` none of them is left.

    ``new_api`` chooses between the new mount API and mount(2); None leaves that to the kernel.
    """
    new = offers_new_api() if new_api is None else new_api
    place = os.path.realpath(os.fsencode(target))
    with ExitStack() as undo:
        for each in mounts:
            with _explained(f"mount {each.type} at", target):
                _attach(each, place, new_api=new)
            if not parse_options(each).remount:
                undo.callback(syscalls.umount, place, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
        undo.pop_all()


def open_mounts(mounts: Sequence[Mount], *, new_api: bool | None = None) -> int:
    """Perform ``mounts`` attached to nowhere and return a directory handle (O_RDONLY) of the root, for the caller to close.

    No other process sees the mount, and it ends with the handle, also when this process is killed. A single bind mount
    of a directory is simply opened, whatever its options. Raises :class:`MountFailedError`.
    """
    new = offers_new_api() if new_api is None else new_api
    first, *others = mounts
    options = parse_options(first)
    with _explained("mount", f"an unattached {first.type}"):
        if options.bind and not others:
            return os.open(first.source, os.O_RDONLY | os.O_DIRECTORY)
        if not others and not _in_one_string(first.type, new_api=new):
            return _open(_make(first, options))
        if any(mount_fuse.is_fuse(each.type) for each in mounts):
            # Its program would keep the namespace, and the namespace the mount that it serves.
            raise OSError(errno.EINVAL, "what a program serves is mounted alone, or at a directory")

        def attach_and_open(place: bytes) -> int:
            for each in mounts:
                _attach(each, place, new_api=new)
            return os.open(place, os.O_RDONLY | os.O_DIRECTORY)

        return mount_classic.in_own_namespace(attach_and_open)


def unmount(target: Path, *, detach: bool = False) -> None:
    """Unmount everything at ``target``; nothing there, or no such directory, is fine.

    ``detach`` lets go at once and finishes when the last user leaves (MNT_DETACH). Without it a mount that stays in use for a
    fifth of a second raises :class:`MountBusyError`, naming who uses it as far as that can be seen.
    """
    # The directory itself is not looked at: a FUSE filesystem whose server has died answers no question.
    directory, name = os.path.split(os.path.abspath(os.fsencode(target)))
    place = os.path.join(os.path.realpath(directory), name)
    flags = syscalls.UMOUNT_NOFOLLOW | (syscalls.MNT_DETACH if detach else 0)
    tries = 0
    while True:
        try:
            syscalls.umount(place, flags)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno == errno.EBUSY:
                tries += 1
                if tries == _BUSY_TRIES:
                    raise MountBusyError(os.fsdecode(place), _holders(os.fsdecode(place))) from error
                time.sleep(_BUSY_PAUSE)
                continue
            if error.errno == errno.EINVAL and not syscalls.is_mount_root(place):
                return
            raise MountFailedError(os.fsdecode(place), "unmount", _reason(error)) from error


def _attach(mount: Mount, place: bytes, *, new_api: bool) -> None:
    options = parse_options(mount)
    if options.bind and options.settings:
        raise OSError(errno.EINVAL, "not an option of a bind mount", options.settings[0][0])
    if options.remount:
        mount_classic.remount(mount.type, options, place)
    elif _in_one_string(mount.type, new_api=new_api):
        mount_classic.attach(mount.type, mount.source, options, place)
    else:
        mount_api.attach(_make(mount, options), place)


def _in_one_string(type: str, *, new_api: bool) -> bool:
    """Whether mount(2) is the way to mount filesystems of this type."""
    return not mount_fuse.is_fuse(type) and (not new_api or type in _ONE_STRING)


def _make(mount: Mount, options: MountOptions) -> int:
    make = mount_fuse.make if mount_fuse.is_fuse(mount.type) else mount_api.make
    return make(mount.type, mount.source, options)


def _open(made: int) -> int:
    """Return a handle of the root directory of the mount ``made``, which is closed."""
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=made)
    finally:
        os.close(made)


@contextmanager
def _explained(what: str, where: object) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MountFailedError(str(where), what, _reason(error)) from error


def _reason(error: OSError) -> str:
    if error.errno == errno.ENODEV:
        return "the kernel has no filesystem of this type"
    reason = str(error.strerror)
    if error.errno == errno.EPERM:
        reason = "root, or CAP_SYS_ADMIN, is needed"
    elif reason == os.strerror(errno.EINVAL):
        reason += " (the kernel's log may tell more: dmesg)"
    return reason if error.filename is None else f"{os.fsdecode(error.filename)}: {reason}"


def _holders(place: str) -> list[str]:
    below = [f"the mount {entry.target}" for entry in mount_table() if entry.target.startswith(place + "/")]
    return below + processes_using(place)
