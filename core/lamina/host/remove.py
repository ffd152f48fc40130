"""Removing a tree, whatever its depth, and nothing but the tree."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from lamina.errors import MountBusyError
from lamina.host import syscalls
from lamina.host.btrfs import make_writable
from lamina.host.descent import Descent
from lamina.host.paths import open_inside

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Directories that somebody keeps writing into are emptied again, so many times in all.
_RETRIES: Final = 100


def remove_tree(path: Path) -> None:
    """Remove ``path`` and all below it; absent is fine, and it may be anything.

    Symbolic links are removed, not followed. Immutable and append-only flags are cleared, and so are modes that keep an owner
    who is not root out; read-only subvolumes of btrfs are made writable. Raises :class:`MountBusyError` when something is mounted
    at or below ``path``; what is outside that mount may have gone by then.
    """
    parent, name = os.path.split(os.path.abspath(path))
    try:
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    with Descent(fd) as descent:
        _Removal(descent, parent).remove(name)


class _Removal:
    """The removal of one entry of the directory that ``descent`` is in."""

    def __init__(self, descent: Descent, place: str) -> None:
        self._descent = descent
        self._retries = _RETRIES
        #: Where we are, for messages.
        self._names = [place]

    def remove(self, name: str) -> None:
        pending = [[name]]
        while True:
            if pending[-1]:
                name = pending[-1].pop()
                if self._enter(name):
                    self._names.append(name)
                    pending.append(self._unlink_files())
                continue
            pending.pop()
            if not pending:
                return
            self._descent.leave()
            name = self._names.pop()
            if not self._remove_directory(name):
                pending[-1].append(name)

    def _enter(self, name: str) -> bool:
        """Go into a directory; whatever else ``name`` is, is removed."""
        try:
            self._descent.enter(name)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                self._persist(os.unlink, name)
                return False
            if error.errno == errno.EXDEV:
                raise self._busy(name) from error
            if error.errno != errno.EACCES:
                raise
            if self._is_inside:
                os.fchmod(self._descent.fd, 0o700)
            syscalls.chmod_at(self._descent.fd, os.fsencode(name), 0o700)
            self._descent.enter(name)
        return True

    def _unlink_files(self) -> list[str]:
        """Remove all but directories from the directory at work, and return their names."""
        fd = self._descent.fd
        directories = []
        # Listed in full first: some filesystems lose their place in a directory that shrinks.
        with os.scandir(fd) as entries:
            listed = list(entries)
        for entry in listed:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
                continue
            try:
                os.unlink(entry.name, dir_fd=fd)
            except OSError:
                self._persist(os.unlink, entry.name)
        return directories

    def _remove_directory(self, name: str) -> bool:
        """Remove an empty directory; False if it has new entries, and is to be emptied again."""
        try:
            self._persist(os.rmdir, name)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not self._retries:
                raise
            self._retries -= 1
            return False
        return True

    def _persist(self, remove: Callable[..., None], name: str) -> None:
        """Remove one entry, after clearing what protects it."""
        fd = self._descent.fd
        try:
            remove(name, dir_fd=fd)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise self._busy(name) from error
            if error.errno == errno.EACCES and self._is_inside:
                os.fchmod(fd, 0o700)
            elif error.errno == errno.EROFS and self._is_inside:
                if not make_writable(fd):
                    raise
            elif error.errno != errno.EPERM or not self._unprotect(name):
                raise
            remove(name, dir_fd=fd)

    def _unprotect(self, name: str) -> bool:
        """Clear the flags of the directory at work and of one entry; whether there were any."""
        cleared = self._is_inside and syscalls.clear_protection(self._descent.fd)
        # Only these can be protected, and to open a device can have consequences.
        mode = os.stat(name, dir_fd=self._descent.fd, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            fd = open_inside(self._descent.fd, os.fsencode(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                cleared |= syscalls.clear_protection(fd)
            finally:
                os.close(fd)
        return cleared

    @property
    def _is_inside(self) -> bool:
        """Whether the directory at work is one of the tree: the one above it is not ours to change."""
        return len(self._names) > 1

    def _busy(self, name: str) -> MountBusyError:
        return MountBusyError("/".join([*self._names, name]), ["what is mounted there"])
