"""Extended attributes by directory handle and name, of links and device nodes too (xattr(7)).

The calls for extended attributes take no directory handle before Linux 6.13, and refuse O_PATH handles still. A path through
/proc/self/fd starts at the handle just as well, on every kernel, at about the price of one more lookup.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def list_xattrs(dir_fd: int, name: bytes) -> list[bytes]:
    """Return the names of the attributes of ``name`` (``user.x``), sorted; none where the filesystem has no attributes.

    The last link is not followed; the same goes for the functions below. ``name`` is one component.
    """
    return _list(_path(dir_fd, name), follow=False)


def get_xattr(dir_fd: int, name: bytes, attribute: bytes) -> bytes | None:
    """Return the value of one attribute; None when it is absent or the filesystem has none."""
    return _get(_path(dir_fd, name), attribute)


def set_xattr(dir_fd: int, name: bytes, attribute: bytes, value: bytes) -> None:
    """Create or replace one attribute. ENOTSUP, EPERM (``user.*`` of a link), ENOSPC and E2BIG are raised as they are."""
    os.setxattr(_path(dir_fd, name), attribute, value, follow_symlinks=False)


def remove_xattr(dir_fd: int, name: bytes, attribute: bytes) -> None:
    """Remove one attribute; ENODATA is raised when it is absent."""
    os.removexattr(_path(dir_fd, name), attribute, follow_symlinks=False)


def read_xattrs(fd: int) -> dict[bytes, bytes]:
    """Return the attributes of an open file or directory, sorted by name. ``fd`` is not an O_PATH handle."""
    return _read(fd, follow=True)


def read_xattrs_at(dir_fd: int, name: bytes) -> dict[bytes, bytes]:
    """Return the attributes of ``name``, sorted by name."""
    return _read(_path(dir_fd, name), follow=False)


def get_path_xattr(path: Path, name: str) -> bytes | None:
    """Return the value of one attribute of a trusted path; None when it is absent or the filesystem has none."""
    return _get(path, name)


def set_path_xattr(path: Path, name: str, value: bytes) -> None:
    """Create or replace one attribute of a trusted path."""
    os.setxattr(path, name, value, follow_symlinks=False)


def _path(dir_fd: int, name: bytes) -> bytes:
    return b"/proc/self/fd/%d/%b" % (dir_fd, name)


def _get(target: int | bytes | Path, attribute: bytes | str, *, follow: bool = False) -> bytes | None:
    try:
        return os.getxattr(target, attribute, follow_symlinks=follow)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise


def _list(target: int | bytes, *, follow: bool) -> list[bytes]:
    try:
        return sorted(map(os.fsencode, os.listxattr(target, follow_symlinks=follow)))
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def _read(target: int | bytes, *, follow: bool) -> dict[bytes, bytes]:
    values = {}
    for name in _list(target, follow=follow):
        value = _get(target, name, follow=follow)
        if value is not None:  # else removed since
            values[name] = value
    return values
