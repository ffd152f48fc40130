"""Making one inode as an entry describes it, and describing one inode as an entry.

Metadata are set on handles, or by name without following links, in the order that keeps them: owner (which clears suid and
capabilities), extended attributes, mode, times. A file is private until it is complete.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from lamina.diff.directories import DEFAULT_ACL, busy
from lamina.diff.entries import NO_XATTRS, Entry, EntryKind, printable
from lamina.diff.xattrs import carried, is_carried
from lamina.errors import HostError
from lamina.host import xattr
from lamina.host.descent import Descent, open_quietly
from lamina.host.syscalls import chmod_at

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from lamina.diff.directories import Directory

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_TYPES: Final = {EntryKind.CHAR: stat.S_IFCHR, EntryKind.BLOCK: stat.S_IFBLK, EntryKind.FIFO: stat.S_IFIFO}
_KINDS: Final = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.DIRECTORY,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFCHR: EntryKind.CHAR,
    stat.S_IFBLK: EntryKind.BLOCK,
    stat.S_IFIFO: EntryKind.FIFO,
}


def read_node(path: bytes, status: os.stat_result, dir_fd: int, name: bytes) -> Entry:
    """Describe what is at ``name`` in a directory, with ``status`` for its lstat(2), as the entry ``path``.

    A socket, which has no form in an archive, raises ``KeyError``.
    """
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    is_device = kind is EntryKind.CHAR or kind is EntryKind.BLOCK
    return Entry(
        name=path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind is EntryKind.FILE else 0,
        mtime=status.st_mtime_ns,
        link=os.readlink(name, dir_fd=dir_fd) if kind is EntryKind.SYMLINK else b"",
        major=os.major(status.st_rdev) if is_device else 0,
        minor=os.minor(status.st_rdev) if is_device else 0,
        xattrs=carried(xattr.read_xattrs_at(dir_fd, name)),
    )


def open_file(dir_fd: int, name: bytes) -> int:
    """Open a regular file for reading; neither waits for a FIFO nor follows a link."""
    return open_quietly(dir_fd, os.fsdecode(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


def descent(dir_fd: int) -> Descent:
    """Return a way down from an open directory, which stays the caller's."""
    return Descent(os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd))


def enter(where: Descent, name: bytes) -> None:
    """Go into a directory; one that something is mounted on raises :class:`lamina.errors.MountBusyError`."""
    try:
        where.enter(os.fsdecode(name))
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise busy(name) from error
        raise


class Maker:
    """Makes inodes. With ``ignore_xattr_errors`` an attribute that the filesystem refuses is left out, else it is an error.

    All methods take a name that must be free (``FileExistsError``).
    """

    def __init__(self, *, ignore_xattr_errors: bool) -> None:
        self._ignore_xattr_errors = ignore_xattr_errors

    def file(self, parent: Directory, name: bytes, entry: Entry, body: Iterable[bytes | memoryview]) -> None:
        """Make a regular file with the data ``body``."""
        fd = os.open(name, _CREATE, 0o600, dir_fd=parent.fd)
        try:
            for piece in body:
                written = os.write(fd, piece)
                while written < len(piece):
                    written += os.write(fd, piece[written:])
            if entry.uid or entry.gid or not parent.root_owned:
                os.fchown(fd, entry.uid, entry.gid)
            if parent.hands_down_acl:
                _clear_xattrs(fd, NO_XATTRS)
            if entry.xattrs:
                self._set_xattrs(fd, entry)
            os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def symlink(self, parent: Directory, name: bytes, entry: Entry) -> None:
        """Make a symbolic link; its mode is the kernel's business."""
        os.symlink(entry.link, name, dir_fd=parent.fd)
        if entry.uid or entry.gid or not parent.root_owned:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent.fd, follow_symlinks=False)
        if entry.xattrs:
            self._set_xattrs_at(parent.fd, name, entry)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent.fd, follow_symlinks=False)

    def special(self, parent: Directory, name: bytes, entry: Entry) -> None:
        """Make a device node or a FIFO."""
        os.mknod(name, _TYPES[entry.kind] | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent.fd)
        if entry.uid or entry.gid or not parent.root_owned:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent.fd, follow_symlinks=False)
        if parent.hands_down_acl:
            for attribute in filter(is_carried, xattr.list_xattrs(parent.fd, name)):
                xattr.remove_xattr(parent.fd, name, attribute)
        if entry.xattrs:
            self._set_xattrs_at(parent.fd, name, entry)
        chmod_at(parent.fd, name, entry.mode)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent.fd, follow_symlinks=False)

    def describe(self, directory: Directory, entry: Entry, *, is_new: bool) -> None:
        """Give a directory the metadata of ``entry``, the time once it is let go. What else an old one had of attributes goes."""
        if not is_new or entry.uid or entry.gid or not directory.root_owned:
            os.fchown(directory.fd, entry.uid, entry.gid)
        if not is_new or directory.hands_down_acl:
            _clear_xattrs(directory.fd, entry.xattrs)
        if entry.xattrs:
            self._set_xattrs(directory.fd, entry)
        os.fchmod(directory.fd, entry.mode)
        directory.root_owned = directory.root_owned and not entry.gid
        directory.hands_down_acl = DEFAULT_ACL in entry.xattrs
        directory.atime = directory.mtime = entry.mtime
        directory.touched = True

    def _set_xattrs(self, fd: int, entry: Entry) -> None:
        for attribute, value in entry.xattrs.items():
            if is_carried(attribute):
                try:
                    os.setxattr(fd, attribute, value)
                except OSError as error:
                    self._refused(entry, attribute, error)

    def _set_xattrs_at(self, dir_fd: int, name: bytes, entry: Entry) -> None:
        for attribute, value in entry.xattrs.items():
            if is_carried(attribute):
                try:
                    xattr.set_xattr(dir_fd, name, attribute, value)
                except OSError as error:
                    # No filesystem has user.* on anything but files and directories (xattr(7)).
                    if error.errno != errno.EPERM or not attribute.startswith(b"user."):
                        self._refused(entry, attribute, error)

    def _refused(self, entry: Entry, attribute: bytes, error: OSError) -> None:
        if not self._ignore_xattr_errors:
            path = printable(entry.name)
            raise HostError(
                path,
                f"{path}: the filesystem refuses the extended attribute {printable(attribute)} ({error.strerror}): "
                "use another filesystem, or unpack without what it refuses",
            ) from error


def implicit(path: bytes) -> Entry:
    """Return the entry that stands in for a directory which a layer uses without describing it: root's, 0755, and of a time
    that is the same wherever and whenever the layer is unpacked."""
    return Entry(name=path, kind=EntryKind.DIRECTORY, mode=0o755)


def reset(fd: int) -> None:
    """Make an open directory one that no entry describes."""
    entry = implicit(b"")
    os.fchown(fd, entry.uid, entry.gid)
    _clear_xattrs(fd, entry.xattrs)
    os.fchmod(fd, entry.mode)
    os.utime(fd, ns=(entry.mtime, entry.mtime))


def _clear_xattrs(fd: int, keep: Container[bytes]) -> None:
    """Remove the attributes of an open file or directory that layers carry, except those in ``keep``."""
    try:
        names = [os.fsencode(name) for name in os.listxattr(fd)]
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return
        raise
    for name in names:
        if is_carried(name) and name not in keep:
            os.removexattr(fd, name)
