"""How the upper directory of a union says "deleted" and "nothing from below": one class for each encoding."""

from __future__ import annotations

import os
import stat
from typing import Protocol

from lamina.diff.whiteouts import OPAQUE, PREFIX


class Marks(Protocol):
    """What a union filesystem understands as deleted."""

    def hide(self, dir_fd: int, name: bytes) -> None:
        """Make ``name`` of the layers below invisible; nothing has that name in the upper directory."""

    def show(self, dir_fd: int, name: bytes) -> None:
        """Undo :meth:`hide`."""

    def make_opaque(self, dir_fd: int) -> None:
        """Make all names of the layers below invisible. Not for the upper root, where overlayfs does not look."""


class OverlayMarks:
    """overlayfs (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"): a device node 0:0 and an xattr."""

    def hide(self, dir_fd: int, name: bytes) -> None:
        """Make the device node of that name."""
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=dir_fd)

    def show(self, dir_fd: int, name: bytes) -> None:
        """Remove the device node."""
        os.unlink(name, dir_fd=dir_fd)

    def make_opaque(self, dir_fd: int) -> None:
        """Set the attribute, of which only the privileged form is understood in every mount."""
        os.setxattr(dir_fd, b"trusted.overlay.opaque", b"y")


class AufsMarks:
    """AUFS, and fuse-overlayfs without device nodes: empty files. A name of over 251 bytes cannot be hidden (ENAMETOOLONG)."""

    def hide(self, dir_fd: int, name: bytes) -> None:
        """Make the file that hides the name."""
        _touch(dir_fd, PREFIX + name)

    def show(self, dir_fd: int, name: bytes) -> None:
        """Remove that file."""
        os.unlink(PREFIX + name, dir_fd=dir_fd)

    def make_opaque(self, dir_fd: int) -> None:
        """Make the file that hides all names."""
        _touch(dir_fd, OPAQUE)


def _touch(dir_fd: int, name: bytes) -> None:
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o444, dir_fd=dir_fd))
