"""Going down into directories of any depth with a bounded number of open handles, and never out of the tree."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, Self

from lamina.host.paths import open_inside

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

#: So many of the deepest directories stay open.
_OPEN: Final = 64
_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Descent:
    """Open directories from a root, whose handle it takes over, down to the one at work.

    Each is entered through the handle of the one above, so that names of any length in all add up, and a rename elsewhere does
    not lead astray. Handles far up are closed, and opened again through ``..`` on the way back; there they must prove to be what
    they were. Reading leaves access times alone where we may.
    """

    __slots__ = ("_fds", "_identities", "fd")

    def __init__(self, root_fd: int) -> None:
        #: The directory at work.
        self.fd = root_fd
        self._fds = [root_fd]
        #: Device and inode of those that are closed, which come before all that are open.
        self._identities: list[tuple[int, int]] = []

    def enter(self, name: str) -> int:
        """Go into a directory and return its handle. ENOTDIR or ELOOP if it is none, EXDEV if something is mounted there."""
        self.fd = open_quietly(self.fd, name, _READ)
        self._fds.append(self.fd)
        closed = len(self._identities)
        if len(self._fds) - closed > _OPEN:
            self._identities.append(_identity(self._fds[closed]))
            os.close(self._fds[closed])
        return self.fd

    def leave(self) -> None:
        """Go back to the directory above."""
        left = self._fds.pop()
        try:
            if len(self._fds) == len(self._identities):
                self._fds[-1] = os.open("..", _READ, dir_fd=left)
                if _identity(self._fds[-1]) != self._identities.pop():
                    raise OSError(errno.ESTALE, "a directory was moved while it was being walked")
        finally:
            os.close(left)
        self.fd = self._fds[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for fd in self._fds[len(self._identities) :]:
            os.close(fd)


def open_top(path: Path) -> int:
    """Open the directory that a descent starts from, likewise; ENOTDIR or ELOOP if ``path`` is a link."""
    try:
        return os.open(path, _READ | os.O_NOATIME)
    except PermissionError:
        return os.open(path, _READ)


def open_quietly(dir_fd: int, name: str, flags: int) -> int:
    """Open an entry of a directory for reading, without leaving a trace in its access time where we may (O_NOATIME)."""
    encoded = os.fsencode(name)
    try:
        return open_inside(dir_fd, encoded, flags | os.O_NOATIME)
    except PermissionError:
        return open_inside(dir_fd, encoded, flags)


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
