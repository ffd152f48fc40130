"""Copying what is in a file: by sharing it, inside the kernel, or through a buffer; holes stay holes."""

from __future__ import annotations

import errno
import os
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from lamina.host import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How a way of copying says that it is none between these two filesystems.
_UNABLE: Final = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENOTTY})
#: A whole small file is read and written faster than it is spliced.
_BUFFER: Final = 1 << 16
#: copy_file_range(2) takes somewhat less than 2 GiB at a time.
_STRETCH: Final = 1 << 30


class Way(IntEnum):
    """How data can get from one file to another, the best first."""

    CLONE = 0
    KERNEL = 1
    BUFFER = 2


class DataCopier:
    """Copies the data of files, and does not try again what failed between the same two filesystems."""

    def __init__(self, best: Way = Way.CLONE) -> None:
        self._best = best
        self._ways: dict[tuple[int, int], Way] = {}

    def copy(self, source: int, target: int, found: os.stat_result, device: int) -> None:
        """Fill the empty file ``target`` on ``device`` with the data of ``source``, whose state is ``found``."""
        size = found.st_size
        filesystems = (found.st_dev, device)
        way = self._ways.get(filesystems, self._best)
        if way is Way.CLONE:
            try:
                syscalls.clone_file(source, target)
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
                way = self._ways[filesystems] = Way.KERNEL
            else:
                return
        if found.st_blocks * 512 >= size:
            if size <= _BUFFER:
                _through_buffer(source, target, 0, size)
            else:
                self._stretch(source, target, 0, size, filesystems)
            return
        for start, end in _data(source, size):
            self._stretch(source, target, start, end, filesystems)
        os.ftruncate(target, size)

    def _stretch(self, source: int, target: int, start: int, end: int, filesystems: tuple[int, int]) -> None:
        if self._ways.get(filesystems, self._best) is not Way.BUFFER:
            try:
                while start < end:
                    copied = os.copy_file_range(source, target, min(_STRETCH, end - start), start, start)
                    if not copied:
                        return
                    start += copied
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
                self._ways[filesystems] = Way.BUFFER
        _through_buffer(source, target, start, end)


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of what is not a hole (lseek(2), SEEK_DATA)."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def _through_buffer(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        block = os.pread(source, min(_BUFFER, end - start), start)
        if not block:
            return
        rest = memoryview(block)
        while rest:
            written = os.pwrite(target, rest, start)
            rest = rest[written:]
            start += written
