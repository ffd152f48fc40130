"""One mount through the new mount API: made complete and attached to nowhere, then attached (fsopen(2), open_tree(2))."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from lamina.host import syscalls

if TYPE_CHECKING:
    from lamina.host.mount_options import MountOptions

#: FSCONFIG_SET_STRING takes no more bytes.
_MAX_VALUE: Final = 255


def attach(made: int, place: bytes) -> None:
    """Attach the mount ``made`` at the directory ``place`` and close its handle, whatever happens."""
    try:
        target = os.open(place, os.O_PATH | os.O_DIRECTORY)
        try:
            syscalls.move_mount(made, target)
        finally:
            os.close(target)
    finally:
        os.close(made)


def make(type: str, source: str, options: MountOptions) -> int:
    """Return an O_PATH handle of a mount that is attached nowhere and ends with the handle."""
    if options.bind:
        return _make_bind(source, options)
    return _make_filesystem(type, source, options)


def _make_bind(source: str, options: MountOptions) -> int:
    fd = syscalls.clone_tree(os.fsencode(source), recursive=options.recursive)
    try:
        if options.attributes or options.replaced:
            syscalls.mount_setattr(fd, options.attributes, options.replaced, recursive=options.recursive)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make_filesystem(type: str, source: str, options: MountOptions) -> int:
    settings = [("source", source or None), *options.settings]
    if options.attributes & syscalls.MOUNT_ATTR_RDONLY:
        settings.append(("ro", None))  # the filesystem as well, as mount(2) does it
    with ExitStack() as handles:
        fs = syscalls.fsopen(type)
        handles.callback(os.close, fs)
        setting = ""
        try:
            for key, value in settings:
                setting = key if value is None else f"{key}={value}"
                if value is None:
                    syscalls.fsconfig_flag(fs, os.fsencode(key))
                else:
                    syscalls.fsconfig_string(fs, os.fsencode(key), _short(os.fsencode(value), handles))
            setting = ""
            syscalls.fsconfig_create(fs)
        except OSError as error:
            raise OSError(error.errno, _last_words(fs, type) or error.strerror, setting or None) from error
        return syscalls.fsmount(fs, options.attributes)


def _short(value: bytes, handles: ExitStack) -> bytes:
    """Return a path that is too long, or that would be misread, in another way: through a handle.

    In ``upperdir`` and ``workdir``, though not in ``lowerdir+``, overlay takes a backslash for the mark of an escape.
    """
    if (len(value) <= _MAX_VALUE and b"\\" not in value) or not value.startswith(b"/"):
        return value
    fd = os.open(value, os.O_PATH)
    handles.callback(os.close, fd)
    return b"/proc/self/fd/%d" % fd


def _last_words(fs: int, type: str) -> str:
    """What the kernel has to say about the failure: lines such as ``e overlay: Unknown parameter 'x'``."""
    said = []
    while True:
        try:
            line = os.read(fs, 4096)
        except OSError as error:
            if error.errno == errno.ENODATA:
                break
            raise
        severity, _, text = line.decode(errors="replace").strip().partition(" ")
        if severity in ("e", "w"):
            said.append(text.removeprefix(f"{type}: "))
    return "; ".join(said)
