"""The clock by which filesystems stamp their inodes, and marks on it that can be compared with a ctime later."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.host.process import boot_id

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, as the inode of a file just touched shows it, and the state of the clock then."""

    #: Nanoseconds since the epoch; 0 for no mark.
    time: int
    boot: str
    #: Wall clock minus time since boot, ns: what setting the clock changes.
    offset: int


class Clock:
    """Reads the filesystem's clock. ``time.time_ns()`` will not do: inodes are stamped with the time of the last tick,
    milliseconds earlier."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mark:
        """Return a mark: whatever changes from now on gets a ctime that is not smaller."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.utime(fd)
            now = os.fstat(fd).st_ctime_ns
        finally:
            os.close(fd)
        return Mark(now, boot_id(), _offset())

    def since(self, mark: Mark) -> int:
        """Return the ctime below which an inode has not changed since ``mark``, or 0 where nothing can be said.

        A clock that was set back since is allowed for. Not promised: anything, if it was set back and forward again between
        the mark and now. After a reboot nothing is said, since the clock may have run wrong until the network set it.
        """
        if not mark.time or mark.boot != boot_id():
            return 0
        return mark.time + min(0, _offset() - mark.offset)


def _offset() -> int:
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
