"""Making a true copy of a tree, sharing its data where the filesystem can."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from lamina.errors import MountBusyError
from lamina.host import syscalls, xattr
from lamina.host.copy_data import DataCopier
from lamina.host.descent import Descent, open_quietly, open_top

if TYPE_CHECKING:
    from pathlib import Path

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def copy_tree(source: Path, target: Path) -> None:
    """Make ``target``, which must not exist, a true copy of the directory ``source``.

    Kept are owners, modes, access and modification times to the nanosecond, extended attributes, hard links within the tree,
    holes, device nodes, FIFOs and sockets. Data are shared by reflink where the filesystem can, else copied inside the kernel,
    else read and written. Symbolic links are copied, not followed. Raises :class:`MountBusyError` when something is mounted
    below ``source``, and ``OSError`` for whatever cannot be kept; then a part of ``target`` is left.
    """
    with ExitStack() as handles:
        below_source = handles.enter_context(Descent(open_top(source)))
        os.mkdir(target, 0o700)
        top = open_top(target)
        handles.callback(os.close, top)
        below_target = handles.enter_context(Descent(os.dup(top)))
        _drop_inherited_acls(top)
        _TreeCopy(below_source, below_target, top, str(source)).run()


class _TreeCopy:
    """The copying of one tree into an empty directory."""

    def __init__(self, source: Descent, target: Descent, top: int, place: str) -> None:
        self._source = source
        self._target = target
        self._copier = DataCopier()
        #: Below which directory of the target, and as what, the first name of an inode with several was copied.
        self._top = top
        self._copied: dict[tuple[int, int], str] = {}
        #: Where we are, and where that is, for messages.
        self._names: list[str] = []
        self._place = place

    def run(self) -> None:
        found = [os.fstat(self._source.fd)]
        pending = [self._copy_entries()]
        while True:
            if pending[-1]:
                self._enter(pending[-1].pop())
                found.append(os.fstat(self._source.fd))
                pending.append(self._copy_entries())
                continue
            # Last of all, since entries made below change its times, and inherit from its mode and its ACL.
            _copy_metadata(self._source.fd, self._target.fd, found.pop(), os.fstat(self._target.fd))
            pending.pop()
            if not pending:
                return
            self._source.leave()
            self._target.leave()
            self._names.pop()

    def _enter(self, name: str) -> None:
        try:
            self._source.enter(name)
        except OSError as error:
            raise self._unreadable(error, name) from error
        os.mkdir(name, 0o700, dir_fd=self._target.fd)
        self._target.enter(name)
        self._names.append(name)

    def _copy_entries(self) -> list[str]:
        """Copy all but directories from the one at work to its twin, and return their names."""
        directories = []
        with os.scandir(self._source.fd) as entries:
            for entry in entries:
                try:
                    if entry.is_file(follow_symlinks=False):
                        self._copy_file(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        directories.append(entry.name)
                    else:
                        self._copy_special(entry.name)
                except OSError as error:
                    raise OSError(error.errno, error.strerror, self._path(entry.name)) from error
        return directories

    def _copy_file(self, name: str) -> None:
        try:
            source = open_quietly(self._source.fd, name, _READ)
        except OSError as error:
            raise self._unreadable(error, name) from error
        try:
            found = os.fstat(source)
            if found.st_nlink > 1 and self._linked(found, name):
                return
            target = os.open(name, _CREATE, found.st_mode & 0o777, dir_fd=self._target.fd)
            try:
                made = os.fstat(target)
                if found.st_size:
                    self._copier.copy(source, target, found, made.st_dev)
                _copy_metadata(source, target, found, made)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _copy_special(self, name: str) -> None:
        """Copy a link, or a node that has no data."""
        source, target = self._source.fd, self._target.fd
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if found.st_nlink > 1 and self._linked(found, name):
            return
        is_link = stat.S_ISLNK(found.st_mode)
        encoded = os.fsencode(name)
        if is_link:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, stat.S_IFMT(found.st_mode) | 0o600, found.st_rdev, dir_fd=target)
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
        for attribute, value in xattr.read_xattrs_at(source, encoded).items():
            xattr.set_xattr(target, encoded, attribute, value)
        if not is_link:
            syscalls.chmod_at(target, encoded, stat.S_IMODE(found.st_mode))
        os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _linked(self, found: os.stat_result, name: str) -> bool:
        """Whether ``name`` could be made as one more hard link of what was copied already; if not, remember it."""
        inode = found.st_dev, found.st_ino
        path = self._copied.get(inode)
        if path is None:
            self._copied[inode] = "/".join([*self._names, name])
            return False
        try:
            os.link(path, name, src_dir_fd=self._top, dst_dir_fd=self._target.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            *names, last = path.split("/")
            with Descent(os.dup(self._top)) as way:
                for part in names:
                    way.enter(part)
                os.link(last, name, src_dir_fd=way.fd, dst_dir_fd=self._target.fd, follow_symlinks=False)
        return True

    def _unreadable(self, error: OSError, name: str) -> Exception:
        path = self._path(name)
        if error.errno == errno.EXDEV:
            return MountBusyError(path, ["what is mounted there"])
        return OSError(error.errno, error.strerror, path)

    def _path(self, name: str) -> str:
        return "/".join([self._place, *self._names, name])


def _copy_metadata(source: int, target: int, found: os.stat_result, made: os.stat_result) -> None:
    """Give the open file or directory ``target``, made just now, the metadata of ``source``.

    The owner goes first, since a change of owner clears set-user-id bits and capabilities; the times go last.
    """
    if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid):
        os.fchown(target, found.st_uid, found.st_gid)
    for name, value in xattr.read_xattrs(source).items():
        os.setxattr(target, name, value)
    if made.st_mode != found.st_mode:
        os.fchmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _drop_inherited_acls(fd: int) -> None:
    """Remove the ACLs that a new directory has from the one above, and would hand on to all that is made in it."""
    for name in xattr.read_xattrs(fd):
        if name.startswith(b"system.posix_acl_"):
            os.removexattr(fd, name)
