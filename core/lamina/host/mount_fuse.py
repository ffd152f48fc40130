"""One mount whose filesystem is a program (FUSE): ``fuse.NAME`` is served by the program ``NAME``.

The mount is made here, through the new mount API, and the program gets its end of the connection as ``/dev/fd/N``, which libfuse
takes for a place where everything is mounted already (fuse_session_mount, since 3.3). So the mount is complete before anybody
sees it, has exactly the options that were asked for, and may be attached nowhere. The program puts itself into the background
once it is ready, and ends by itself when the kernel has let go of the mount, whoever unmounted it and whatever was killed.

A program that is killed leaves a mount on which every operation fails with ENOTCONN, and which is unmounted like any other.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lamina.errors import CommandFailedError
from lamina.host import mount_api
from lamina.host.command import run

if TYPE_CHECKING:
    from lamina.host.mount_options import MountOptions

_PREFIX: Final = "fuse."
#: What a program reads from its environment. fuse-overlayfs is asked for the whiteouts of AUFS, which it would otherwise write
#: only where it may not make device nodes.
_ENVIRONMENTS: Final = {"fuse-overlayfs": {"FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT": "1"}}
#: The options of the kernel's part, as libfuse sets them for a filesystem that shows owners and modes as they are.
_KERNELS: Final = (
    ("rootmode", "40000"),
    ("user_id", "0"),
    ("group_id", "0"),
    ("default_permissions", None),
    ("allow_other", None),
)
#: No argument of a program may be longer (MAX_ARG_STRLEN, execve(2)); some of it is for the other options.
_MAX_LOWERS: Final = 120 * 1024
#: Said by the fuse-overlayfs of Debian 12 at every start.
_NOISE: Final = "unknown argument ignored: "


def is_fuse(type: str) -> bool:
    """Whether a program serves mounts of this type."""
    return type.startswith(_PREFIX)


def make(type: str, source: str, options: MountOptions) -> int:
    """Return an O_PATH handle of a mount that is attached nowhere, and ends with the handle, and its program with it.

    Raises ``OSError`` in the program's own words, and :class:`lamina.errors.ToolMissingError`.
    """
    program = type.removeprefix(_PREFIX)
    connection = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        kernels = (("subtype", program), ("fd", str(connection)), *_KERNELS)
        made = mount_api.make("fuse", source, replace(options, settings=kernels))
        try:
            _start(program, options.settings, connection)
        except BaseException:
            os.close(made)
            raise
    finally:
        # From here on the program alone holds it: without it there is nobody to answer, and the kernel knows.
        os.close(connection)
    try:
        os.stat(".", dir_fd=made)
    except OSError as error:
        os.close(made)
        raise OSError(error.errno, f"{program} ended at its first request: {error.strerror}") from error
    return made


def _start(program: str, settings: tuple[tuple[str, str | None], ...], connection: int) -> None:
    with ExitStack() as stack:
        handles = [connection]

        def by_handle(directory: str) -> str:
            handles.append(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            stack.callback(os.close, handles[-1])
            return f"/proc/self/fd/{handles[-1]}"

        lowers = [value for key, value in settings if key == "lowerdir+" and value]
        too_long = sum(map(len, map(os.fsencode, lowers))) > _MAX_LOWERS
        # No escape helps a colon: fuse-overlayfs splits at every one.
        joined = ":".join(by_handle(each) if too_long or ":" in each else each for each in lowers)
        words = [_word("lowerdir", joined)] if lowers else []
        words += [_word(key, value) for key, value in settings if key != "lowerdir+"]
        argv = [program, *(["-o", ",".join(words)] if words else []), f"/dev/fd/{connection}"]
        try:
            run(argv, handles=handles, environment=_ENVIRONMENTS.get(program, {}))
        except CommandFailedError as error:
            said = [line for line in error.stderr.splitlines() if not line.startswith(_NOISE)]
            raise OSError(errno.EIO, "; ".join(said) or f"{program} ended with status {error.status}") from error


def _word(key: str, value: str | None) -> str:
    """Return an option as libfuse takes it: a backslash keeps the next character from meaning anything."""
    word = key if value is None else f"{key}={value}"
    return word.replace("\\", "\\\\").replace(",", "\\,")
