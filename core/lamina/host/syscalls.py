"""The system calls that Python lacks, through ctypes: each raises ``OSError`` as the functions of :mod:`os` do.

A function with the name of a system call is just that; its manual page in section 2 tells the rest.

Four hazards are fenced in here. Integers are declared with their C width, since the upper half of an untyped argument is
garbage. ``errno`` is read from ctypes' own copy. Bytes with a NUL are refused, since C would cut them there. Every descriptor
that is made is close-on-exec.

The numbers are those of the table that all architectures but Alpha share for system calls since Linux 5.1.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_long, c_size_t, c_uint32, c_uint64, c_ulong
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

AT_FDCWD: Final = -100

# rules of resolution for openat2
RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

# attributes of one mount, for fsmount and mount_setattr
MOUNT_ATTR_RDONLY: Final = 0x01
MOUNT_ATTR_NOSUID: Final = 0x02
MOUNT_ATTR_NODEV: Final = 0x04
MOUNT_ATTR_NOEXEC: Final = 0x08
MOUNT_ATTR_RELATIME: Final = 0x00
MOUNT_ATTR_NOATIME: Final = 0x10
MOUNT_ATTR_STRICTATIME: Final = 0x20
MOUNT_ATTR_ATIME: Final = 0x70
MOUNT_ATTR_NODIRATIME: Final = 0x80
MOUNT_ATTR_NOSYMFOLLOW: Final = 0x200000

# flags of mount and umount2
MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_NOSYMFOLLOW: Final = 256
MS_NOATIME: Final = 1024
MS_NODIRATIME: Final = 2048
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MS_RELATIME: Final = 1 << 21
MS_STRICTATIME: Final = 1 << 24
MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8

# what unshare gives a copy of
CLONE_FS: Final = 0x00000200
CLONE_NEWNS: Final = 0x00020000

_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_OPEN_TREE_CLONE: Final = 1
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_MOVE_MOUNT_EMPTY_PATHS: Final = 0x04 | 0x40
_STATX_MNT_ID: Final = 0x1000
_STATX_ATTR_MOUNT_ROOT: Final = 0x2000
_FICLONE: Final = 0x40049409
_FS_IOC_GETFLAGS: Final = 0x80086601
_FS_IOC_SETFLAGS: Final = 0x40086602
_FS_IMMUTABLE_FL: Final = 0x10
_FS_APPEND_FL: Final = 0x20


class _OpenHow(Structure):
    _fields_ = (("flags", c_uint64), ("mode", c_uint64), ("resolve", c_uint64))


class _MountAttr(Structure):
    _fields_ = (("attr_set", c_uint64), ("attr_clr", c_uint64), ("propagation", c_uint64), ("userns_fd", c_uint64))


class _Statx(Structure):
    _fields_ = (
        ("mask", c_uint32),
        ("blksize", c_uint32),
        ("attributes", c_uint64),
        ("_owner_to_attributes_mask", c_uint64 * 6),
        ("_times_and_devices", c_uint64 * 10),
        ("mnt_id", c_uint64),
        ("_later", c_uint64 * 13),
    )


class _Statfs(Structure):
    _fields_ = (("type", c_long), ("_rest", c_long * 31))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _declare(function: Any, result_type: Any, *argument_types: Any) -> Callable[..., int]:
    """Give a C function its types, and turn -1 into ``OSError``; an interrupted call is repeated (PEP 475)."""
    function.restype = result_type
    function.argtypes = argument_types

    def call(*arguments: object) -> int:
        while (result := function(*arguments)) == -1:
            if (error := ctypes.get_errno()) != errno.EINTR:
                raise OSError(error, os.strerror(error))
        return int(result)

    return call


def _syscall(*argument_types: Any) -> Callable[..., int]:
    # Indexing, unlike attribute access, makes a new function object, which keeps argument types of its own.
    return _declare(_LIBC["syscall"], c_long, c_long, *argument_types)


_open_tree = _syscall(c_long, c_char_p, c_long)
_move_mount = _syscall(c_long, c_char_p, c_long, c_char_p, c_long)
_fsopen = _syscall(c_char_p, c_long)
_fsconfig = _syscall(c_long, c_long, c_char_p, c_char_p, c_long)
_fsmount = _syscall(c_long, c_long, c_long)
_openat2 = _syscall(c_long, c_char_p, POINTER(_OpenHow), c_size_t)
_mount_setattr = _syscall(c_long, c_char_p, c_long, POINTER(_MountAttr), c_size_t)
_fchmodat2 = _syscall(c_long, c_char_p, c_long, c_long)

_mount = _declare(_LIBC["mount"], c_int, c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_umount2 = _declare(_LIBC["umount2"], c_int, c_char_p, c_int)
_unshare = _declare(_LIBC["unshare"], c_int, c_int)
_syncfs = _declare(_LIBC["syncfs"], c_int, c_int)
_fstatfs = _declare(_LIBC["fstatfs"], c_int, c_int, POINTER(_Statfs))
_statx = _declare(_LIBC["statx"], c_int, c_int, c_char_p, c_int, c_uint32, POINTER(_Statx))
_linkat = _declare(_LIBC["linkat"], c_int, c_int, c_char_p, c_int, c_char_p, c_int)


def _text(value: bytes) -> bytes:
    if b"\0" in value:
        raise ValueError("embedded null byte")
    return value


# --- opening -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _open_how(flags: int, mode: int, resolve: int) -> _OpenHow:
    return _OpenHow(flags | os.O_CLOEXEC, mode, resolve)


def openat2(dir_fd: int, path: bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` below ``dir_fd`` under the ``RESOLVE_*`` rules and return a descriptor; Linux 5.6."""
    how = _open_how(flags, mode, resolve)
    return _openat2(437, dir_fd, _text(path), byref(how), ctypes.sizeof(how))


# --- mounts ------------------------------------------------------------------------------------------------------------


def fsopen(type: str) -> int:
    """Begin the configuration of a filesystem; Linux 5.2."""
    return _fsopen(430, _text(type.encode()), _FSOPEN_CLOEXEC)


def fsconfig_flag(fd: int, key: bytes) -> None:
    """Set an option without a value; FSCONFIG_SET_FLAG."""
    _fsconfig(431, fd, _FSCONFIG_SET_FLAG, _text(key), None, 0)


def fsconfig_string(fd: int, key: bytes, value: bytes) -> None:
    """Set an option to a value of at most 255 bytes; FSCONFIG_SET_STRING."""
    _fsconfig(431, fd, _FSCONFIG_SET_STRING, _text(key), _text(value), 0)


def fsconfig_create(fd: int) -> None:
    """Make the superblock as configured; FSCONFIG_CMD_CREATE."""
    _fsconfig(431, fd, _FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attributes: int) -> int:
    """Return an O_PATH descriptor of a new mount that is attached nowhere and dies with it; Linux 5.2."""
    return _fsmount(432, fd, _FSMOUNT_CLOEXEC, attributes)


def clone_tree(path: bytes, *, recursive: bool) -> int:
    """Return an O_PATH descriptor of a bind mount of ``path`` that is attached nowhere; open_tree(2), Linux 5.2."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return _open_tree(428, AT_FDCWD, _text(path), flags)


def mount_setattr(fd: int, attr_set: int, attr_clr: int, *, recursive: bool) -> None:
    """Change the ``MOUNT_ATTR_*`` of the mount ``fd``, with ``recursive`` also of those below; Linux 5.12."""
    attributes = _MountAttr(attr_set, attr_clr, 0, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    _mount_setattr(442, fd, b"", flags, byref(attributes), ctypes.sizeof(attributes))


def move_mount(mount_fd: int, target_fd: int) -> None:
    """Attach a detached mount to the directory ``target_fd``; Linux 5.2."""
    _move_mount(429, mount_fd, b"", target_fd, b"", _MOVE_MOUNT_EMPTY_PATHS)


def mount(source: bytes, target: bytes, type: str, flags: int, data: bytes = b"") -> None:
    """Mount in the classic way. The kernel reads one page of ``data`` and cuts the rest without a word."""
    _mount(_text(source), _text(target), _text(type.encode()), flags, _text(data))


def umount(target: bytes, flags: int) -> None:
    """umount2(2) of the uppermost mount at ``target``."""
    _umount2(_text(target), flags)


def unshare(flags: int) -> None:
    """Give the calling thread a copy of its own of what ``CLONE_*`` names."""
    _unshare(flags)


# --- facts about files and mounts --------------------------------------------------------------------------------------


def mount_id(fd: int) -> int:
    """Return the number of the mount that ``fd`` was opened through, as in mountinfo; statx(2), Linux 5.8."""
    found = _Statx()
    _statx(fd, b"", _AT_EMPTY_PATH, _STATX_MNT_ID, byref(found))
    return int(found.mnt_id)


def is_mount_root(path: bytes) -> bool:
    """Whether something is mounted at ``path``; symbolic links are not followed; statx(2), Linux 5.8."""
    found = _Statx()
    _statx(AT_FDCWD, _text(path), _AT_SYMLINK_NOFOLLOW, 0, byref(found))
    return bool(found.attributes & _STATX_ATTR_MOUNT_ROOT)


def filesystem_magic(fd: int) -> int:
    """Return the magic number of the filesystem that holds ``fd``; statfs(2)."""
    found = _Statfs()
    _fstatfs(fd, byref(found))
    return int(found.type) & 0xFFFFFFFF


# --- acting on files ---------------------------------------------------------------------------------------------------


def syncfs(fd: int) -> None:
    """Write back the filesystem that holds ``fd``. Reports write-back errors since Linux 5.8."""
    _syncfs(fd)


def chmod_at(dir_fd: int, name: bytes, mode: int) -> None:
    """Set the mode of what ``name`` is, never of what it points to: EOPNOTSUPP for a symbolic link. fchmodat2(2), Linux 6.6,
    and through an O_PATH handle before that."""
    try:
        _fchmodat2(452, dir_fd, _text(name), mode, _AT_SYMLINK_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        chmod_by_handle(dir_fd, name, mode)


def chmod_by_handle(dir_fd: int, name: bytes, mode: int) -> None:
    """:func:`chmod_at` on any kernel, given a mounted /proc."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def link_handle(fd: int, dir_fd: int, name: bytes) -> None:
    """Make ``name`` another hard link of the inode behind ``fd``, an O_PATH handle will do; linkat(2) with AT_EMPTY_PATH.

    The caller holds CAP_DAC_READ_SEARCH. A name that exists is an error.
    """
    _linkat(fd, b"", dir_fd, _text(name), _AT_EMPTY_PATH)


def clone_file(source_fd: int, target_fd: int) -> None:
    """Make ``target_fd`` share all data of ``source_fd``; FICLONE of ioctl_ficlone(2)."""
    fcntl.ioctl(target_fd, _FICLONE, source_fd)


def clear_protection(fd: int) -> bool:
    """Clear the immutable and append-only flags (chattr +i, +a) and return whether one was set; ioctl_iflags(2).

    A filesystem without such flags answers like one where none is set.
    """
    try:
        flags = int.from_bytes(fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(4)), "little")
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            return False
        raise
    kept = flags & ~(_FS_IMMUTABLE_FL | _FS_APPEND_FL)
    if kept == flags:
        return False
    fcntl.ioctl(fd, _FS_IOC_SETFLAGS, kept.to_bytes(4, "little"))
    return True
