"""Going down into a tree and up again by handles, of which a bounded number is open however deep the tree."""

from __future__ import annotations

import errno
import os
from typing import Final

from lamina.errors import HostError, MountBusyError
from lamina.host.paths import open_inside

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY
#: Handles held at once; those of the levels above are opened again on the way up.
_WINDOW: Final = 32


class Trail:
    """A directory and those that were passed on the way to it from a start, which is somebody else's handle.

    Neither links nor mounts are followed. A directory that is moved elsewhere meanwhile cannot lead out of the tree:
    the way up ends in a :class:`lamina.errors.HostError`.
    """

    def __init__(self, start_fd: int) -> None:
        #: Handle of the directory at hand.
        self.fd = start_fd
        #: Those above, the start first: a handle, or what tells the directory when it is opened again.
        self._above: list[int | tuple[int, int]] = []

    def down(self, name: bytes) -> None:
        """Go into the directory ``name``; a mount there raises :class:`lamina.errors.MountBusyError`."""
        try:
            fd = open_inside(self.fd, name, _OPEN)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise MountBusyError(os.fsdecode(name)) from error
            raise
        self._above.append(self.fd)
        self.fd = fd
        if len(self._above) > _WINDOW:
            # Never the start: it is not ours to close.
            far = self._above[-_WINDOW]
            if isinstance(far, int):
                self._above[-_WINDOW] = _identity(far)
                os.close(far)

    def up(self) -> None:
        """Go back to the directory that :meth:`down` came from."""
        above = self._above.pop()
        if not isinstance(above, int):
            fd = os.open(b"..", _OPEN | os.O_NOFOLLOW, dir_fd=self.fd)
            if _identity(fd) != above:
                os.close(fd)
                raise HostError("..", "a directory was moved while its tree was read: stop what writes to it and try again")
            above = fd
        os.close(self.fd)
        self.fd = above

    def close(self) -> None:
        """Let go of all handles but the start."""
        for fd in (*self._above[1:], self.fd) if self._above else ():
            if isinstance(fd, int):
                os.close(fd)
        self._above.clear()


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
