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
    # A handle for each level rather than paths from the root: a path may grow beyond PATH_MAX.
    levels: list[tuple[int, bytes, list[bytes]]] = [(os.open(upper, _DIRECTORY), b"", [])]
    try:
        yield from _files(*levels[0])
        while levels:
            handle, prefix, directories = levels[-1]
            if not directories:
                os.close(levels.pop()[0])
                continue
            name = directories.pop()
            path = prefix + name
            try:
                levels.append((os.open(name, _DIRECTORY, dir_fd=handle), path + b"/", []))
            except (FileNotFoundError, NotADirectoryError):
                # Removed or replaced just now: the snapshot is mounted and in use.
                yield Touched(path, subtree=True)
                continue
            opaque = _is_opaque(levels[-1][0])
            yield Touched(path, subtree=opaque)
            if not opaque:
                yield from _files(*levels[-1])
    finally:
        for handle, _, _ in levels:
            os.close(handle)


def _files(handle: int, prefix: bytes, directories: list[bytes]) -> Iterator[Touched]:
    """Yield what a directory holds, whiteouts of both forms included; its subdirectories go into ``directories`` instead."""
    with os.scandir(handle) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                directories.append(name)
            else:
                yield Touched(prefix + name)


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
