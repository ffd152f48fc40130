"""Counting and syncing whole trees."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from lamina.host.descent import Descent, open_quietly, open_top
from lamina.model import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def tree_usage(path: Path) -> Usage:
    """Return space and inodes at and below the directory ``path``: hard links once, holes not, other mounts not.

    What vanishes meanwhile is not counted; what is written meanwhile may or may not be.
    """
    blocks = inodes = 0
    linked: set[tuple[int, int]] = set()

    def count(fd: int) -> list[str]:
        nonlocal blocks, inodes
        blocks += os.fstat(fd).st_blocks
        inodes += 1
        directories = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if found.st_nlink > 1:
                    identity = found.st_dev, found.st_ino
                    if identity in linked:
                        continue
                    linked.add(identity)
                blocks += found.st_blocks
                inodes += 1
        return directories

    _walk(path, count)
    return Usage(blocks * 512, inodes)


def sync_tree(path: Path) -> None:
    """Bring the regular files and directories at and below ``path`` to stable storage, each by fsync(2).

    Links and device nodes cannot be synced; they are in the log of the filesystem along with the directory that names them.
    """

    def sync(fd: int) -> list[str]:
        directories = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    file = open_quietly(fd, entry.name, os.O_RDONLY | os.O_NOFOLLOW)
                    try:
                        os.fsync(file)
                    finally:
                        os.close(file)
        os.fsync(fd)
        return directories

    _walk(path, sync)


def _walk(path: Path, visit: Callable[[int], list[str]]) -> None:
    """Hand each directory of the tree to ``visit``, which returns the names of those below; other mounts are left out."""
    with Descent(open_top(path)) as descent:
        pending = [visit(descent.fd)]
        while True:
            if not pending[-1]:
                pending.pop()
                if not pending:
                    return
                descent.leave()
                continue
            try:
                descent.enter(pending[-1].pop())
            except OSError as error:
                # Gone, replaced by something else meanwhile, or a mount.
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
                    continue
                raise
            pending.append(visit(descent.fd))
