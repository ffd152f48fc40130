"""The upper directory of an overlay mount, which records what its snapshot changes.

Its encoding is described in the kernel's Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from errno import ENODATA, ENOTSUP
from typing import TYPE_CHECKING

from lamina.driver import Touched

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH_MAX = 4096
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: Extended attributes that are overlay's own records about a directory, and no property of what it shows.
_RECORDS = "trusted.overlay."
_OPAQUE = "trusted.overlay.opaque"


def inherit_root(parent: str, upper: str) -> None:
    """Give the fresh directory ``upper`` the owner, mode, extended attributes and times of ``parent``.

    The root of an overlay mount shows the attributes of its upper directory alone, so those of the layer below would be lost.
    """
    with _opened(parent) as source, _opened(upper) as target:
        status = os.fstat(source)
        os.fchown(target, status.st_uid, status.st_gid)
        for name in os.listxattr(source):
            if not name.startswith(_RECORDS):
                os.setxattr(target, name, os.getxattr(source, name))
        os.fchmod(target, stat.S_IMODE(status.st_mode))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def touched(upper: str) -> Iterator[Touched]:
    """Yield every path that ``upper`` says something about: what was made, changed or removed.

    No lower directory is read. A directory that hides what is below it is one entry with its subtree, and not entered; the kernel
    makes every new directory such a one when its parent exists below.
    """
    yield Touched(b".")
    pending = [b""]
    with _opened(upper) as root:
        while pending:
            path = pending.pop()
            try:
                handle = _open_below(root, path)
            except (FileNotFoundError, NotADirectoryError):
                # Removed or replaced just now: the snapshot is mounted and in use.
                yield Touched(path, subtree=True)
                continue
            try:
                if path:
                    opaque = _is_opaque(handle)
                    yield Touched(path, subtree=opaque)
                    if opaque:
                        continue
                prefix = path and path + b"/"
                with os.scandir(handle) as entries:
                    for entry in entries:
                        below = prefix + os.fsencode(entry.name)
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(below)
                        else:
                            yield Touched(below)
            finally:
                os.close(handle)


def _open_below(root: int, path: bytes) -> int:
    """Open a directory by its path, which may be longer than PATH_MAX: one handle is enough for a tree of any depth."""
    handle = os.open(b".", _DIRECTORY, dir_fd=root)
    while path:
        end = len(path) if len(path) < _PATH_MAX else path.rindex(b"/", 0, _PATH_MAX)
        try:
            deeper = os.open(path[:end], _DIRECTORY, dir_fd=handle)
        finally:
            os.close(handle)
        handle, path = deeper, path[end + 1 :]
    return handle


def _is_opaque(handle: int) -> bool:
    try:
        # The other known value, "x", only says that whiteouts of the extended-attribute form are inside.
        return os.getxattr(handle, _OPAQUE) == b"y"
    except OSError as error:
        if error.errno in (ENODATA, ENOTSUP):
            return False
        raise


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    handle = os.open(directory, _DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)
