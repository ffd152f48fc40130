"""Facts about the filesystem that holds a path, what it can do, and bringing it to stable storage."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Final

from lamina.host import Filesystem, syscalls

if TYPE_CHECKING:
    from pathlib import Path

#: Magic numbers (linux/magic.h, and the sources of ZFS and AUFS) to the names in /proc/filesystems.
_TYPES: Final = {
    0x0000EF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0xCA451A4E: "bcachefs",
    0xF2F52010: "f2fs",
    0x2FC12FC1: "zfs",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x794C7630: "overlay",
    0x61756673: "aufs",
    0x65735546: "fuse",
    0x73717368: "squashfs",
    0xE0F5E1E2: "erofs",
    0x00006969: "nfs",
    0xFF534D42: "cifs",
    0x01021997: "9p",
    0x0000F15F: "ecryptfs",
    0x00004D44: "vfat",
    0x2011BAB0: "exfat",
    0x00009660: "iso9660",
    0x9FA0: "proc",
    0x62656572: "sysfs",
}


def filesystem(path: Path) -> Filesystem:
    """Return facts about the filesystem that holds ``path`` (statfs(2)); a last link is followed."""
    fd = os.open(path, os.O_PATH)
    try:
        magic = syscalls.filesystem_magic(fd)
        counts = os.fstatvfs(fd)
        device = os.fstat(fd).st_dev
    finally:
        os.close(fd)
    return Filesystem(
        type=_TYPES.get(magic, hex(magic)),
        device=device,
        free=counts.f_bavail * counts.f_frsize,
        size=counts.f_blocks * counts.f_frsize,
        free_inodes=counts.f_favail,
        read_only=bool(counts.f_flag & os.ST_RDONLY),
    )


def can_reflink(directory: Path) -> bool:
    """Whether files in ``directory`` can share their data (ioctl_ficlone(2)): tried with two files that have no name."""
    with tempfile.TemporaryFile(dir=directory) as source, tempfile.TemporaryFile(dir=directory) as target:
        source.write(bytes(4096))
        source.flush()
        try:
            syscalls.clone_file(source.fileno(), target.fileno())
        except OSError:
            return False
        return True


def sync_filesystem(path: Path) -> None:
    """Bring everything on the filesystem that holds the directory ``path`` to stable storage.

    Errors of writing back that nobody was told of yet are raised (Linux 5.8), whoever's data they concern.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syscalls.syncfs(fd)
    finally:
        os.close(fd)
