"""Locks between threads and processes that die with their holder: open-file-description locks on bytes of a file.

Byte N of a lock file stands for thing number N; the file stays empty and is never unlinked, since whoever held a lock on the
unlinked one would know nothing of who locks the new one. Each holder opens the file anew, so that two threads of one process
exclude each other too, and so that no unrelated close lets go of a lock, which is what happens to the classic locks of POSIX
(fcntl(2), "Open file description locks").
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from typing import TYPE_CHECKING, Final, Self
from weakref import WeakSet

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

#: Waiting with a deadline means asking again: at first soon, then this often.
_FIRST_PAUSE: Final = 0.001
_LAST_PAUSE: Final = 0.05


class LockFile:
    """A file whose bytes are locked, and hold nothing. It is made, readable by its owner alone, when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lock(self, offset: int, *, shared: bool = False, timeout: float | None = None) -> HeldLock:
        """Lock the byte ``offset`` and return the lock, to be released or used as a context.

        Any number of ``shared`` holders get on with each other. Waits for at most ``timeout`` seconds, then raises
        ``TimeoutError``; None waits for ever. A thread that waits for what it holds itself waits in vain.
        """
        held = HeldLock(self.path)
        try:
            if timeout is None:
                fcntl.fcntl(held.fd, fcntl.F_OFD_SETLKW, _request(offset, shared=shared))
            elif not _waited(held.fd, offset, shared=shared, timeout=timeout):
                raise TimeoutError(f"byte {offset} of {self.path} was locked for all of {timeout:g} s")
        except BaseException:
            held.release()
            raise
        return held

    def try_lock(self, offset: int, *, shared: bool = False) -> HeldLock | None:
        """Lock the byte ``offset`` at once and return the lock, or None when another holder excludes that."""
        held = HeldLock(self.path)
        try:
            taken = _taken(held.fd, offset, shared=shared)
        except BaseException:
            held.release()
            raise
        if not taken:
            held.release()
            return None
        return held


class HeldLock:
    """An open lock file, and the lock that lasts as long. The kernel lets go of it when the process ends, however it ends."""

    __slots__ = ("__weakref__", "fd")

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        _open.add(self)

    def release(self) -> None:
        """Let go; a second time is fine."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.release()


#: What a forked child must close: the lock lasts until the last copy of the descriptor is closed, and would outlive its holder.
_open: WeakSet[HeldLock] = WeakSet()


def _close_copies() -> None:
    for held in list(_open):
        held.release()


os.register_at_fork(after_in_child=_close_copies)


def _request(offset: int, *, shared: bool) -> bytes:
    # struct flock: type, whence, start, length and, which must be 0 here, the process.
    return struct.pack("@hhqqi4x", fcntl.F_RDLCK if shared else fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)


def _waited(fd: int, offset: int, *, shared: bool, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while not _taken(fd, offset, shared=shared):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LAST_PAUSE)
    return True


def _taken(fd: int, offset: int, *, shared: bool) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _request(offset, shared=shared))
    except (BlockingIOError, PermissionError):
        return False
    return True
