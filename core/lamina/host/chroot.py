"""Running a program of a root filesystem inside of it. This is no sandbox: the program is root on this machine."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.host import command, syscalls
from lamina.host.mount_classic import in_own_namespace
from lamina.host.paths import open_in_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lamina.host import Completed


def run_in_root(
    root: Path, argv: Sequence[str], *, shared: Mapping[str, Path] | None = None, input: bytes = b"", timeout: float = 60.0
) -> Completed:
    """Run ``argv``, found by its absolute path or by ``env``, with ``root`` as its root, and return what it printed.

    It has a /proc of its own and, where the tree has an /etc/resolv.conf, this machine's. ``shared`` are directories and files of
    this machine to be seen at existing paths of the tree, which the kernel resolves inside of it. All of that is mounted where
    nobody else sees it and ends with the program, as do the processes that it started: nothing is left mounted in ``root``,
    also when this process is killed.

    Raises what :func:`lamina.host.command.run` raises.
    """
    # Both tools are of util-linux, which every Debian system has.
    with _namespace(root, shared or {}) as namespace:
        enter = ["nsenter", f"--mount={namespace}", "--"]
        confine = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", f"--root={root}", "--wd=/", "--"]
        return command.run([*enter, *confine, *argv], input=input, timeout=timeout)


@contextmanager
def _namespace(root: Path, shared: Mapping[str, Path]) -> Iterator[str]:
    """Yield a path to a mount namespace in which ``shared`` is in place; it ends with the block and its last process."""

    def furnish(_scratch: bytes) -> int:
        # Else what is mounted here would be passed on to the namespace that this one was copied from.
        syscalls.mount(b"none", b"/", "none", syscalls.MS_REC | syscalls.MS_PRIVATE)
        tree = os.open(root, os.O_PATH | os.O_DIRECTORY)
        try:
            _bind(tree, b"etc/resolv.conf", b"/etc/resolv.conf", optional=True)
            for inside, outside in shared.items():
                _bind(tree, os.fsencode(inside), os.fsencode(outside))
        finally:
            os.close(tree)
        return os.open("/proc/thread-self/ns/mnt", os.O_RDONLY)

    handle = in_own_namespace(furnish)
    try:
        yield f"/proc/{os.getpid()}/fd/{handle}"
    finally:
        os.close(handle)


def _bind(tree: int, inside: bytes, outside: bytes, *, optional: bool = False) -> None:
    try:
        place = open_in_root(tree, inside, os.O_PATH)
    except FileNotFoundError:
        if optional:
            return
        raise
    try:
        syscalls.mount(outside, b"/proc/self/fd/%d" % place, "none", syscalls.MS_BIND)
    finally:
        os.close(place)
