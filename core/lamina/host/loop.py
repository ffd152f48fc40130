"""Loop devices: a file as a block device (loop(4))."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from ctypes import Structure, c_uint8, c_uint32, c_uint64
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# linux/loop.h
_LOOP_CONFIGURE: Final = 0x4C0A
_LOOP_CTL_GET_FREE: Final = 0x4C82
_LO_FLAGS_AUTOCLEAR: Final = 4

#: How often another program may take the free device before we do.
_TRIES: Final = 64


class _LoopConfig(Structure):
    """``struct loop_config``, with what we leave at 0 of ``struct loop_info64`` in it taken together."""

    _fields_ = (
        ("fd", c_uint32),
        ("block_size", c_uint32),
        ("_device_to_key_size", c_uint8 * 52),
        ("flags", c_uint32),
        ("_names_and_keys", c_uint8 * 176),
        ("_reserved", c_uint64 * 8),
    )


@contextmanager
def loop_device(file: Path) -> Iterator[str]:
    """Yield the path of a block device that shows ``file``.

    After the block it lasts for as long as somebody else, such as a mount, has it open; no crash leaves it behind
    (LO_FLAGS_AUTOCLEAR). Raises ``OSError``; Linux 5.8.
    """
    backing = os.open(file, os.O_RDWR)
    try:
        path, device = _attach(backing)
    finally:
        os.close(backing)
    try:
        yield path
    finally:
        os.close(device)


def _attach(backing: int) -> tuple[str, int]:
    control = os.open("/dev/loop-control", os.O_RDWR)
    try:
        for _ in range(_TRIES):
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            device = os.open(path, os.O_RDWR)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, bytes(_LoopConfig(fd=backing, flags=_LO_FLAGS_AUTOCLEAR)))
            except OSError as error:
                os.close(device)
                if error.errno not in (errno.EBUSY, errno.ENXIO):
                    raise
            else:
                return path, device
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device stays free for long enough", "/dev/loop-control")
