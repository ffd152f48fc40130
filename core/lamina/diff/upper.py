"""Reading the upper directory of a union, which records what a snapshot changes: what it says about, and its root.

The marks of :mod:`lamina.diff.marks`, seen from the other side; and those that a union filesystem makes beside them:
fuse-overlayfs gives an opaque directory both the file of AUFS and an extended attribute.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from errno import ENODATA, ENOTSUP
from typing import TYPE_CHECKING, Final

from lamina.diff.whiteouts import META_PREFIX, OPAQUE, PREFIX
from lamina.driver import Encoding, Touched

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Longest name that leaves room for what makes a whiteout of it.
LONGEST_NAME: Final = 255 - len(PREFIX)

_PATH_MAX: Final = 4096
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: Extended attributes that are a union's own records about a directory, and no property of what it shows.
_RECORDS: Final = {
    Encoding.OVERLAY: ("trusted.overlay.",),
    Encoding.AUFS: ("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs."),
}
#: Those that say that nothing shows through the directory.
_OPAQUE: Final = {
    Encoding.OVERLAY: ("trusted.overlay.opaque",),
    Encoding.AUFS: ("trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque"),
}


def inherit_root(parent: str, upper: str, encoding: Encoding) -> None:
    """Give the fresh directory ``upper`` the owner, mode, extended attributes and times of ``parent``.

    The root of a union shows the attributes of its upper directory alone, so those of the layer below would be lost.
    """
    with _opened(parent) as source, _opened(upper) as target:
        status = os.fstat(source)
        os.fchown(target, status.st_uid, status.st_gid)
        for name in os.listxattr(source):
            if not name.startswith(_RECORDS[encoding]):
                os.setxattr(target, name, os.getxattr(source, name))
        os.fchmod(target, stat.S_IMODE(status.st_mode))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def touched(upper: str, encoding: Encoding) -> Iterator[Touched]:
    """Yield every path that ``upper`` says something about: what was made, changed or removed.

    No lower directory is read. A directory that hides what is below it is one entry with its subtree, and not entered; unions
    make every new directory such a one when its parent exists below.
    """
    aufs = encoding is Encoding.AUFS
    with _opened(upper) as root:
        pending = [b""]
        while pending:
            path = pending.pop()
            try:
                handle = _open_below(root, path)
            except (FileNotFoundError, NotADirectoryError):
                # Removed or replaced just now: the snapshot is mounted and in use.
                yield Touched(path, subtree=True)
                continue
            try:
                opaque = _is_opaque(handle, encoding)
                yield Touched(path or b".", subtree=opaque)
                if opaque:
                    continue
                for name, is_directory in _names(handle):
                    if aufs and name.startswith(PREFIX):
                        if not name.startswith(META_PREFIX):
                            yield Touched(_join(path, name[len(PREFIX) :]))
                    elif is_directory:
                        pending.append(_join(path, name))
                    else:
                        yield Touched(_join(path, name))
            finally:
                os.close(handle)


def unhidable(upper: str) -> bytes | None:
    """Return the path of something in ``upper``, whose tree is at rest, that is called by too many bytes to be hidden by a
    whiteout of AUFS later on; None if there is nothing."""
    with _opened(upper) as root:
        pending = [b""]
        while pending:
            path = pending.pop()
            handle = _open_below(root, path)
            try:
                for name, is_directory in _names(handle):
                    if len(name) > LONGEST_NAME and not name.startswith(PREFIX):
                        return _join(path, name)
                    if is_directory:
                        pending.append(_join(path, name))
            finally:
                os.close(handle)
    return None


def _names(handle: int) -> Iterator[tuple[bytes, bool]]:
    """Yield the names in a directory and whether they are directories."""
    with os.scandir(handle) as entries:
        for entry in entries:
            yield os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


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


def _is_opaque(handle: int, encoding: Encoding) -> bool:
    for name in _OPAQUE[encoding]:
        try:
            # The other known value, "x", only says that whiteouts of the extended-attribute form are inside.
            if os.getxattr(handle, name) == b"y":
                return True
        except OSError as error:
            if error.errno not in (ENODATA, ENOTSUP):
                raise
    return encoding is Encoding.AUFS and _exists(handle, OPAQUE)


def _exists(handle: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=handle, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    handle = os.open(directory, _DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)
