"""Whether a path is the same in two trees."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.diff.nodes import open_file
from lamina.diff.streams import CHUNK
from lamina.diff.xattrs import carried
from lamina.host.xattr import read_xattrs_at

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Seen:
    """One name of an open directory, and what lstat(2) said about it."""

    dir_fd: int
    name: bytes
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory itself."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def inode(self) -> tuple[int, int]:
        """What names of the same inode have in common."""
        return self.status.st_dev, self.status.st_ino

    def target(self) -> bytes:
        """Return the text of a symbolic link."""
        return os.readlink(self.name, dir_fd=self.dir_fd)

    def xattrs(self) -> Mapping[bytes, bytes]:
        """Return the extended attributes that layers carry."""
        return carried(read_xattrs_at(self.dir_fd, self.name))


def same_metadata(one: Seen, other: Seen) -> bool:
    """Whether two nodes have the same type, permissions, owner, modification time, device number and attributes."""
    a, b = one.status, other.status
    return (
        a.st_mode == b.st_mode
        and a.st_uid == b.st_uid
        and a.st_gid == b.st_gid
        and a.st_mtime_ns == b.st_mtime_ns
        and (a.st_rdev == b.st_rdev or not (stat.S_ISCHR(a.st_mode) or stat.S_ISBLK(a.st_mode)))
        and one.xattrs() == other.xattrs()
    )


def same_node(one: Seen, other: Seen) -> bool:
    """Whether two nodes, of which at least one is not a directory, are equal in all that a layer carries, hard links apart.

    Equal metadata prove nothing about content: a file can be written twice between two ticks of the clock, or be given its
    old time back. Only what is one and the same inode, not changed between the two looks at it, is not read.
    """
    a, b = one.status, other.status
    if one.inode == other.inode and a.st_ctime_ns == b.st_ctime_ns:
        return True
    if stat.S_ISREG(a.st_mode):
        return a.st_size == b.st_size and same_metadata(one, other) and same_content(one, other)
    return same_metadata(one, other) and (not stat.S_ISLNK(a.st_mode) or one.target() == other.target())


def same_content(one: Seen, other: Seen) -> bool:
    """Whether two regular files hold the same bytes; read up to the first difference."""
    first, second = open_file(one.dir_fd, one.name), -1
    try:
        second = open_file(other.dir_fd, other.name)
        while True:
            piece = _read(first)
            if piece != _read(second):
                return False
            if len(piece) < CHUNK:
                return True
    finally:
        os.close(first)
        if second >= 0:
            os.close(second)


def _read(fd: int) -> bytes:
    """Return the next chunk of a file, shorter only at its end."""
    piece = os.read(fd, CHUNK)
    while piece and len(piece) < CHUNK and (more := os.read(fd, CHUNK - len(piece))):
        piece += more
    return piece
