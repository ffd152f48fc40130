"""One mount through mount(2), for kernels before 6.8.

Its options are one string, cut at a page. Overlay understands a backslash before what would end a path; where the string
gets too long, the directories are opened and named by the numbers of their handles, so that 500 layers fit.
"""

from __future__ import annotations

import errno
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, TypeVar

from lamina.host import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from lamina.host.mount_options import MountOptions

    Settings = tuple[tuple[str, str | None], ...]

T = TypeVar("T")

#: mount(2) reads a page, the NUL at the end included.
_MAX_DATA: Final = 4095
#: The options of overlay that name a directory.
_DIRECTORIES: Final = frozenset({"lowerdir+", "upperdir", "workdir"})
#: Always there, never a mount's source, and of no use to the thread that mounts over it.
_SCRATCH: Final = b"/proc/sys"


def attach(type: str, source: str, options: MountOptions, place: bytes) -> None:
    """Mount at the directory ``place``; ``OSError`` with a reason."""
    if options.bind:
        _attach_bind(os.fsencode(source), options, place)
        return
    data = join_settings(options.settings)
    if len(data) <= _MAX_DATA:
        syscalls.mount(os.fsencode(source), place, type, options.flags, data)
    else:
        _attach_by_handles(type, os.fsencode(source), options, place)


def remount(type: str, options: MountOptions, place: bytes) -> None:
    """Change the options of what is mounted at ``place``; ``OSError`` with a reason."""
    syscalls.mount(b"none", place, type, syscalls.MS_REMOUNT | options.flags, join_settings(options.settings))


def in_own_namespace(work: Callable[[bytes], T]) -> T:
    """Call ``work`` with a directory at which it may mount unseen, and return its result.

    It runs in a thread with a mount namespace of its own, which ends with the thread: what was mounted lives on only in the
    handles that ``work`` opened.
    """

    def enter() -> T:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(b"none", b"/proc", "none", syscalls.MS_REC | syscalls.MS_PRIVATE)
        return work(_SCRATCH)

    return _in_own_thread(enter)


def join_settings(settings: Settings) -> bytes:
    """Return the options of a filesystem as the one string that mount(2) takes.

    ``lowerdir+``, which those kernels do not know, become one ``lowerdir``. Raises ``OSError`` for a comma in the value of an
    option that does not name a directory: there is no way to write that down.
    """
    words: list[bytes] = []
    layers: list[bytes] = []
    for key, value in settings:
        if key == "lowerdir+" and value is not None:
            layers.append(_escaped(value))
        elif key in _DIRECTORIES and value is not None:
            words.append(os.fsencode(key) + b"=" + _escaped(value))
        else:
            word = key if value is None else f"{key}={value}"
            if "," in word:
                raise OSError(errno.EINVAL, "this kernel takes no option with a comma", word)
            words.append(os.fsencode(word))
    if layers:
        words.insert(0, b"lowerdir=" + b":".join(layers))
    return b",".join(words)


def _escaped(path: str) -> bytes:
    return re.sub(rb"([\\:,])", rb"\\\1", os.fsencode(path))


def _attach_bind(source: bytes, options: MountOptions, place: bytes) -> None:
    syscalls.mount(source, place, "none", syscalls.MS_BIND | (syscalls.MS_REC if options.recursive else 0))
    if not options.flags:
        return
    try:
        # A remount sets all flags anew: those that came with the source are to stay.
        inherited = os.statvfs(place).f_flag & (os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
        syscalls.mount(b"none", place, "none", syscalls.MS_REMOUNT | syscalls.MS_BIND | options.flags | inherited)
    except BaseException:
        syscalls.umount(place, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
        raise


def _attach_by_handles(type: str, source: bytes, options: MountOptions, place: bytes) -> None:
    with ExitStack() as handles:

        def number(path: str | bytes) -> str:
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
            handles.callback(os.close, fd)
            return str(fd)

        target = os.fsencode(number(place))
        data = join_settings(
            tuple((key, number(value) if key in _DIRECTORIES and value else value) for key, value in options.settings)
        )
        if len(data) > _MAX_DATA:
            raise OSError(errno.E2BIG, f"the options take {len(data)} bytes, and this kernel reads {_MAX_DATA}: use fewer layers")

        def perform() -> None:
            # A directory of one's own is a thing of the thread: nobody else notices the change.
            syscalls.unshare(syscalls.CLONE_FS)
            os.chdir("/proc/self/fd")
            syscalls.mount(source, target, type, options.flags, data)

        _in_own_thread(perform)


def _in_own_thread(work: Callable[[], T]) -> T:
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(work).result()
