"""Removing from a directory what the layer being unpacked did not bring: what whiteouts are for."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lamina.diff.nodes import reset
from lamina.diff.trail import Trail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.diff.directories import Directory, Record


class Ledger(Protocol):
    """Who knows what the layer brought."""

    def record(self, inode: int) -> Record | None:
        """Return what is known of the directory with this inode number; None when all in it is of the layer."""

    def brings(self, record: Record | None, name: bytes) -> bool:
        """Whether the layer brought ``name``, or made it on the way to something it brought."""

    def settle(self, inode: int) -> None:
        """Take note that the directory is gone, or holds nothing any more but what the layer brought."""


@dataclass(slots=True)
class _Frame:
    """A directory on the way from the top to the one at hand."""

    name: bytes
    status: os.stat_result
    names: Iterator[bytes]
    record: Record | None
    #: Whether the directory itself is of the layer.
    is_own: bool
    #: Whether something in it stayed, and whether something went.
    kept: bool = False
    changed: bool = False


def sweep(ledger: Ledger, directory: Directory, names: Iterable[bytes] | None = None, *, keep: bool = True) -> bool:
    """Remove the given names of ``directory``, or all; return whether something stayed.

    What the layer brought stays, unless ``keep`` is false. A directory of a layer below that holds something which stays is
    one that nobody described: the layer brought what is in it, and the directory itself went. Directories keep their times.
    Names that do not exist are fine. No other handle of a directory below may be open, for it knows the times.
    """
    trail = Trail(directory.fd)
    top = iter(_list(directory.fd) if names is None else names)
    frames = [_Frame(b"", os.fstat(directory.fd), top, directory.record, is_own=True)]
    try:
        while True:
            frame = frames[-1]
            for name in frame.names:
                try:
                    status = os.stat(name, dir_fd=trail.fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                is_own = keep and ledger.brings(frame.record, name)
                if not stat.S_ISDIR(status.st_mode):
                    if is_own:
                        frame.kept = True
                    else:
                        os.unlink(name, dir_fd=trail.fd)
                        frame.changed = True
                    continue
                record = ledger.record(status.st_ino)
                if is_own and record is None:
                    frame.kept = True
                    continue
                trail.down(name)
                frames.append(_Frame(name, status, iter(_list(trail.fd)), record, is_own))
                break
            else:
                frames.pop()
                if not frames:
                    directory.touched = directory.touched or frame.changed
                    return frame.kept
                _leave(ledger, trail, frame, frames[-1])
    finally:
        trail.close()


def _leave(ledger: Ledger, trail: Trail, frame: _Frame, above: _Frame) -> None:
    """Go up from a directory in which nothing more has to go."""
    ledger.settle(frame.status.st_ino)
    if not (frame.is_own or frame.kept):
        trail.up()
        os.rmdir(frame.name, dir_fd=trail.fd)
        above.changed = True
        return
    above.kept = True
    if not frame.is_own:
        reset(trail.fd)
    elif frame.changed:
        os.utime(trail.fd, ns=(frame.status.st_atime_ns, frame.status.st_mtime_ns))
    trail.up()


def _list(fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(fd)]
