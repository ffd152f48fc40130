"""Removing from a directory what the layer being unpacked did not bring: what whiteouts are for."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lamina.diff.directories import busy
from lamina.diff.nodes import descent, enter, reset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.diff.directories import Directory, Record
    from lamina.host.descent import Descent


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
    top = iter(_list(directory.fd) if names is None else names)
    frames = [_Frame(b"", os.fstat(directory.fd), top, directory.record, is_own=True)]
    with descent(directory.fd) as at:
        while True:
            frame = frames[-1]
            for name in frame.names:
                try:
                    status = os.stat(name, dir_fd=at.fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                is_own = keep and ledger.brings(frame.record, name)
                if not stat.S_ISDIR(status.st_mode):
                    if is_own:
                        frame.kept = True
                    else:
                        os.unlink(name, dir_fd=at.fd)
                        frame.changed = True
                    continue
                if status.st_dev != frames[0].status.st_dev:
                    raise busy(name)
                record = ledger.record(status.st_ino)
                if is_own and record is None:
                    frame.kept = True
                    continue
                enter(at, name)
                frames.append(_Frame(name, status, iter(_list(at.fd)), record, is_own))
                break
            else:
                frames.pop()
                if not frames:
                    directory.touched = directory.touched or frame.changed
                    return frame.kept
                _leave(ledger, at, frame, frames[-1])


def _leave(ledger: Ledger, at: Descent, frame: _Frame, above: _Frame) -> None:
    """Go up from a directory in which nothing more has to go."""
    ledger.settle(frame.status.st_ino)
    if not (frame.is_own or frame.kept):
        at.leave()
        os.rmdir(frame.name, dir_fd=at.fd)
        above.changed = True
        return
    above.kept = True
    if not frame.is_own:
        reset(at.fd)
    elif frame.changed:
        os.utime(at.fd, ns=(frame.status.st_atime_ns, frame.status.st_mtime_ns))
    at.leave()


def _list(fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(fd)]
