"""Everything that touches the kernel or starts a program: the only room with system calls, ctypes and subprocesses.

=================  ==================================================================================================
``syscalls``       the system calls that Python lacks, by number, through ctypes
``machine``        the running kernel and our rights; ``process``: who is alive, who uses a place
``paths``          resolution of untrusted paths by the kernel (openat2)
``xattr``          extended attributes by directory handle and name
``mountinfo``      the mount table
``mount``          performing and undoing mounts, attached or not: ``mount_api`` through the new mount API,
                   ``mount_classic`` through mount(2), ``mount_fuse`` by a program of its own, ``mount_options`` what the
                   options mean
``descent``        going down into directories of any depth
``copy``           true copies of trees; ``copy_data``: reflinks, copying in the kernel, holes
``remove``         removing trees; ``trees``: counting and syncing them
``filesystem``     facts about a filesystem; syncing it
``btrfs``          what btrfs alone has: how two subvolumes differ
``loop``           files as block devices
``clock``          the time by which a filesystem stamps its files
``locks``          locks on bytes of a file that die with their holder
``command``        running a program with a deadline; ``chroot``: one of a tree, inside of it
``kernel``         :class:`KernelHost`, which offers all this to drivers
=================  ==================================================================================================

Drivers get a :class:`Host` and use nothing else; tests hand them a recording one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lamina.model import Mount, Usage


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program that ended with status 0 printed."""

    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Filesystem:
    """Facts about the filesystem that holds a path (statfs(2), statx(2))."""

    #: Name as in /proc/filesystems where the magic number is known (``ext4``, ``xfs``, ``btrfs``, ``tmpfs``, ``overlay`` …),
    #: else the magic number in hex.
    type: str
    #: Device number as ``st_dev`` shows it.
    device: int
    #: Bytes that an unprivileged user may still allocate, and all.
    free: int
    size: int
    #: Inodes that are free; 0 where the filesystem does not count them.
    free_inodes: int
    read_only: bool


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of /proc/self/mountinfo (proc(5)), unescaped."""

    id: int
    target: str
    type: str
    source: str
    #: Path inside the mounted filesystem that is shown at ``target`` (a bind mount shows a part).
    root: str
    #: Per-mount and per-superblock options.
    options: tuple[str, ...]
    device: int


class Host(Protocol):
    """What a driver may ask of the machine. All methods raise ``OSError`` or a :class:`lamina.errors.HostError`."""

    # mounts
    def mount(self, mounts: Sequence[Mount], target: Path) -> None:
        """Perform ``mounts`` in order at ``target``, an existing directory; all or none.

        A filesystem is configured through the new mount API (fsopen(2), fsconfig(2)) where the kernel offers it, so that no
        option needs escaping and none is cut at a page; else through mount(2).
        """

    def unmount(self, target: Path, *, detach: bool = False) -> None:
        """Unmount everything at ``target``; nothing there is fine. ``detach`` lets go at once and finishes when the last user
        leaves (MNT_DETACH); without it a mount in use raises :class:`lamina.errors.MountBusyError`, naming processes."""

    def open_mounts(self, mounts: Sequence[Mount]) -> int:
        """Perform ``mounts`` attached to nowhere and return a handle of the root directory (O_RDONLY), for the caller to close.

        No other process sees the mount, and it ends with the handle, also when the process is killed. A single bind mount
        of a directory is simply opened: being read-only is then up to the caller.
        """

    def mount_table(self) -> list[MountEntry]:
        """Return the mounts of this process's namespace, in order."""

    # files
    def filesystem(self, path: Path) -> Filesystem:
        """Facts about the filesystem that holds ``path``."""

    def can_reflink(self, directory: Path) -> bool:
        """Whether files in ``directory`` can share their data (FICLONE, ioctl_ficlone(2)): tried with two unnamed files."""

    def copy_tree(self, source: Path, target: Path) -> None:
        """Make ``target`` (must not exist) a true copy of the directory ``source``: owners, modes, times to the nanosecond,
        xattrs, hard links, holes, device nodes. Data are shared by reflink where the filesystem can, else copied in the kernel,
        else copied. Never follows a symbolic link; something mounted below ``source`` raises
        :class:`lamina.errors.MountBusyError`."""

    def remove_tree(self, path: Path) -> None:
        """Remove ``path`` and all below it; absent is fine. Never follows symbolic links, refuses to cross into another mount
        (:class:`lamina.errors.MountBusyError`), clears immutable flags."""

    def sync_filesystem(self, path: Path) -> None:
        """Bring everything on the filesystem that holds ``path`` to stable storage (syncfs(2)); raises on write-back errors."""

    def sync_tree(self, path: Path) -> None:
        """Bring the files and directories of one tree to stable storage, each by fsync(2)."""

    def tree_usage(self, path: Path) -> Usage:
        """Space and inodes at and below ``path``: hard links once, holes not, other mounts not; what vanishes meanwhile is not
        counted."""

    def get_xattr(self, path: Path, name: str) -> bytes | None:
        """Value of an extended attribute, without following a symbolic link; None when absent or unsupported."""

    def set_xattr(self, path: Path, name: str, value: bytes) -> None:
        """Create or replace an extended attribute, without following a symbolic link."""

    def send_differences(self, subvolume: Path, parent: int) -> Iterator[bytes]:
        """Yield, piece by piece, the kernel's own account of how two read-only subvolumes of btrfs differ: a send stream without
        the data of files (btrfs-send(8)), from the subvolume with the id ``parent`` to ``subvolume``."""

    def loop_device(self, file: Path) -> AbstractContextManager[str]:
        """Give the path of a block device that shows ``file``; after the block it lasts for as long as somebody else, such as a
        mount, has it open."""

    # programs and the kernel
    def run(self, argv: Sequence[str], *, input: bytes = b"", timeout: float = 60.0) -> Completed:
        """Run a program found on a fixed path, with ``LC_ALL=C`` and nothing inherited; a status other than 0 raises
        :class:`lamina.errors.CommandFailedError`, absence :class:`lamina.errors.ToolMissingError`."""

    def which(self, tool: str) -> Path | None:
        """Where :meth:`run` would find a program."""

    def kernel_release(self) -> tuple[int, int]:
        """Major and minor version of the running kernel."""

    def kernel_filesystems(self) -> frozenset[str]:
        """Names in /proc/filesystems, after an attempt to load modules was left to whoever asks."""

    def effective_capability(self, name: str) -> bool:
        """Whether this process holds a capability, such as ``CAP_SYS_ADMIN``, in effect."""
