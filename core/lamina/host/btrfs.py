"""What btrfs alone has, by ioctl(2): how two subvolumes differ, and subvolumes that refuse to be written to.

The kernel describes the way from one read-only subvolume to another as a stream of commands (btrfs-send(8); the format is in the
kernel's fs/btrfs/send.h). Without the data of files that takes a time that follows the differences, for it skips what the two
trees on disk share.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from ctypes import Structure, c_int64, c_uint8, c_uint32, c_uint64
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: linux/btrfs.h
_BTRFS_IOC_SEND: Final = 0x40489426
_BTRFS_IOC_SUBVOL_GETFLAGS: Final = 0x80089419
_BTRFS_IOC_SUBVOL_SETFLAGS: Final = 0x4008941A
_NO_FILE_DATA: Final = 1
_SUBVOL_RDONLY: Final = 2
#: The inode number of every subvolume's root directory.
_FIRST_INODE: Final = 256

#: What a pipe holds at a time.
_PIECE: Final = 1 << 16


class _SendArguments(Structure):
    _fields_ = (
        ("send_fd", c_int64),
        ("clone_sources_count", c_uint64),
        ("clone_sources", c_uint64),
        ("parent_root", c_uint64),
        ("flags", c_uint64),
        ("version", c_uint32),
        ("_reserved", c_uint8 * 28),
    )


def send_differences(subvolume: Path, parent: int) -> Iterator[bytes]:
    """Yield, piece by piece, the send stream without file data that leads from the subvolume with the id ``parent`` to
    ``subvolume``.

    Both have to be read-only, and the caller needs CAP_SYS_ADMIN. Neither can be deleted meanwhile. What the kernel has against
    it is raised as ``OSError``, at the latest after the last piece.
    """
    failures: list[OSError] = []
    source = os.open(subvolume, os.O_RDONLY | os.O_DIRECTORY)
    reader, writer = os.pipe()

    def send() -> None:
        try:
            fcntl.ioctl(source, _BTRFS_IOC_SEND, bytes(_SendArguments(writer, 0, 0, parent, _NO_FILE_DATA)))
        except OSError as error:
            failures.append(error)
        finally:
            os.close(writer)

    # The kernel fills the pipe within that one call, so somebody else has to empty it.
    sender = threading.Thread(target=send, name="lamina-btrfs-send")
    sender.start()
    try:
        while piece := os.read(reader, _PIECE):
            yield piece
    finally:
        # To a sender that is still at work a closed pipe is an end.
        os.close(reader)
        sender.join()
        os.close(source)
    if failures:
        raise failures[0]


def make_writable(dir_fd: int) -> bool:
    """Make the subvolume that holds the directory ``dir_fd`` writable; False if that is not what keeps one from writing."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        while (found := os.fstat(fd)).st_ino != _FIRST_INODE:
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = above
            if os.path.samestat(os.fstat(fd), found):
                return False
        flags = int.from_bytes(fcntl.ioctl(fd, _BTRFS_IOC_SUBVOL_GETFLAGS, bytes(8)), "little")
        if not flags & _SUBVOL_RDONLY:
            return False
        fcntl.ioctl(fd, _BTRFS_IOC_SUBVOL_SETFLAGS, (flags & ~_SUBVOL_RDONLY).to_bytes(8, "little"))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP):
            return False  # inode 256 of another filesystem
        raise
    finally:
        os.close(fd)
    return True
