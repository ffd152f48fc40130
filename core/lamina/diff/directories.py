"""Directories that are held open while a layer is unpacked, each of which has its proper time again when it is let go.

Whatever is made or removed in a directory changes its modification time. The time that it shall have is known when it is
opened, for then it has it: from its own entry, from the layer below, or from its making. It is put back when the handle is
closed, so nothing has to be remembered for the end, and no path is looked up twice.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from lamina.diff.entries import printable
from lamina.errors import MountBusyError
from lamina.host.paths import open_in_root, open_inside

if TYPE_CHECKING:
    from collections.abc import Callable

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY
#: What the kernel says when a path leads to no directory, or is longer than PATH_MAX.
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_PATH_MAX: Final = 4096
#: What every new name in a directory that has it takes over.
DEFAULT_ACL: Final = b"system.posix_acl_default"


@dataclass(slots=True)
class Record:
    """What is known of the names in a directory that may hold something of the layers below."""

    #: Names that the layer being unpacked brought.
    own: set[bytes] = field(default_factory=set)
    #: Names of the layers below that a mark in the directory hides; only in the upper directory of a union.
    hidden: set[bytes] = field(default_factory=set)
    #: Path of the directory that shows through from below; only in the upper directory of a union.
    lower: bytes = b""


@dataclass(slots=True, eq=False)
class Directory:
    """One open directory of the target."""

    fd: int
    inode: int
    #: Times that the directory has when it is let go, in ns.
    atime: int
    mtime: int
    #: Whether what is made in it belongs to root:root without further ado.
    root_owned: bool
    #: Whether what is made in it takes over a default ACL (acl(5)).
    hands_down_acl: bool
    #: None when all names in it are of the layer being unpacked.
    record: Record | None
    #: Whether the times have to be put back.
    touched: bool = False
    paths: list[bytes] = field(default_factory=list)


class Directories:
    """The directories of one target, the latest of them held open.

    What is cached are handles, never verdicts: whoever replaces or removes a directory or a symbolic link calls :meth:`forget`
    first. ``record`` tells what is known about the directory with an inode number; those must not change meanwhile.
    """

    def __init__(self, root_fd: int, record: Callable[[int], Record | None], *, capacity: int = 64) -> None:
        self._record = record
        self._capacity = capacity
        self._is_root = (os.geteuid(), os.getegid()) == (0, 0)
        self._by_inode: dict[int, Directory] = {}
        self._by_path: dict[bytes, Directory] = {}
        fd = os.open(b".", _OPEN, dir_fd=root_fd)
        status = os.fstat(fd)
        self.device = status.st_dev
        self.root = self._describe(fd, status, hands_down_acl=_has_default_acl(fd))
        self._latest = self.root
        self._by_path[b""] = self.root

    def get(self, path: bytes) -> Directory | None:
        """Return the directory that was opened by this path, if it still is open."""
        found = self._by_path.get(path)
        if found is not None and found is not self._latest:
            self._renew(found)
        return found

    def open(self, path: bytes) -> Directory | None:
        """Return the directory at ``path``, which the kernel resolves inside the root; None when there is none."""
        if found := self.get(path):
            return found
        fd = _try(open_in_root, self.root.fd, path)
        return None if fd is None else self._hold(fd, path, may_have_acl=True)

    def at(self, path: bytes) -> Directory | None:
        """As :meth:`open`, for a path of which no component is a link; it may be longer than PATH_MAX."""
        if len(path) < _PATH_MAX or path in self._by_path:
            return self.open(path)
        fd = os.open(b".", _OPEN, dir_fd=self.root.fd)
        for name in path.split(b"/"):
            try:
                deeper = _try(open_inside, fd, name)
            finally:
                os.close(fd)
            if deeper is None:
                return None
            fd = deeper
        return self._hold(fd, path, may_have_acl=True)

    def enter(self, parent: Directory, name: bytes, path: bytes, *, is_new: bool) -> Directory:
        """Return the directory ``name`` of ``parent``, to be found by ``path`` if ``parent`` is found by the path above.

        ``parent`` stays open.
        """
        fd = os.open(name, _OPEN | os.O_NOFOLLOW, dir_fd=parent.fd)
        if parent is not self._latest:
            self._renew(parent)
        is_known = self._by_path.get(path.rpartition(b"/")[0]) is parent
        return self._hold(fd, path if is_known else None, may_have_acl=parent.hands_down_acl or not is_new)

    def forget(self, keep: Directory | None = None) -> None:
        """Close all but the root and ``keep``, and forget which path led where."""
        kept = self._by_inode.pop(keep.inode, None) if keep else None
        for directory in self._by_inode.values():
            _release(directory)
        self._by_inode.clear()
        self._by_path.clear()
        self._by_path[b""] = self._latest = self.root
        if kept:
            kept.paths.clear()
            self._by_inode[kept.inode] = self._latest = kept

    def close(self) -> None:
        """Close all. Every directory has its time now."""
        self.forget()
        _release(self.root)

    def _renew(self, directory: Directory) -> None:
        """Make ``directory`` the last to be closed when room is needed. The root is never closed."""
        self._latest = directory
        if directory is not self.root:
            self._by_inode[directory.inode] = self._by_inode.pop(directory.inode)

    def _hold(self, fd: int, path: bytes | None, *, may_have_acl: bool) -> Directory:
        """Keep the handle ``fd``, or close it if there is another one of the same directory, for that one knows its times."""
        status = os.fstat(fd)
        if status.st_dev != self.device:
            # A subvolume of btrfs, for other mounts are not entered at all: it has inode numbers of its own.
            os.close(fd)
            raise busy(path or b"a subvolume")
        if status.st_ino == self.root.inode:
            os.close(fd)
            return self.root
        directory = self._by_inode.get(status.st_ino)
        if directory is not None:
            os.close(fd)
            self._renew(directory)
        else:
            if len(self._by_inode) >= self._capacity:
                oldest = self._by_inode.pop(next(iter(self._by_inode)))
                for known in oldest.paths:
                    del self._by_path[known]
                _release(oldest)
            directory = self._describe(fd, status, hands_down_acl=may_have_acl and _has_default_acl(fd))
            self._latest = self._by_inode[status.st_ino] = directory
        if path is not None and path not in self._by_path:
            self._by_path[path] = directory
            directory.paths.append(path)
        return directory

    def _describe(self, fd: int, status: os.stat_result, *, hands_down_acl: bool) -> Directory:
        return Directory(
            fd=fd,
            inode=status.st_ino,
            atime=status.st_atime_ns,
            mtime=status.st_mtime_ns,
            # Owned by root, a directory cannot hand down another group, neither by its setgid bit nor by a mount option.
            root_owned=self._is_root and status.st_gid == 0,
            hands_down_acl=hands_down_acl,
            record=self._record(status.st_ino),
        )


def busy(path: bytes) -> MountBusyError:
    """Return the error for a directory that belongs to another filesystem than the tree it is in."""
    return MountBusyError(printable(path), ["what is mounted there"])


def _try(opener: Callable[[int, bytes, int], int], dir_fd: int, path: bytes) -> int | None:
    """Open a directory; None when there is none."""
    try:
        return opener(dir_fd, path, _OPEN)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        if error.errno == errno.EXDEV:
            raise busy(path) from error
        raise


def _has_default_acl(fd: int) -> bool:
    try:
        os.getxattr(fd, DEFAULT_ACL)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise
    return True


def _release(directory: Directory) -> None:
    try:
        if directory.touched:
            os.utime(directory.fd, ns=(directory.atime, directory.mtime))
    finally:
        os.close(directory.fd)
