"""The tree that a layer is unpacked into, when that directory is the complete tree: deleted is gone.

Paths of entries are untrusted. The kernel resolves their directories inside the root (openat2(2)); the last component is used
with handles and never followed. What the kernel does not find is walked here, component by component, by the same rules.

=====================================  =============================================================================
an entry's directory is missing        it is made, root's and 0755 (rule 3 of the design)
… is a file of a lower layer           the file is replaced by a directory (rule 5)
… is a file of this layer              :class:`lamina.errors.MalformedArchiveError` (rule 5)
… is a symbolic link                   it is followed inside the root; what it leads to may be missing, unless the link
                                       itself is of this layer: such a layer contradicts itself
… is a loop of links                   :class:`lamina.errors.UnsafeEntryError`
=====================================  =============================================================================
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from lamina.diff.directories import Directories, Record
from lamina.diff.entries import printable
from lamina.diff.nodes import implicit
from lamina.diff.sweep import sweep
from lamina.errors import HostError, MalformedArchiveError, UnsafeEntryError

if TYPE_CHECKING:
    from lamina.diff.directories import Directory
    from lamina.diff.nodes import Maker

#: As the kernel's MAXSYMLINKS.
_MAX_LINKS: Final = 40


@dataclass(frozen=True, slots=True)
class Found:
    """What is at one name of a directory."""

    mode: int
    #: Text of a symbolic link.
    text: bytes = b""
    #: Whether the layer being unpacked brought it.
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads, links followed."""

    #: Components of the directory up to which the path exists; none of them is a link.
    names: list[bytes]
    #: Components that follow and are no directories; none when the path leads to a directory.
    missing: list[bytes]
    #: What is at the first missing component, if it is not a directory but something.
    obstacle: Found | None = None
    #: Whether the first missing component comes from a link that the layer being unpacked brought.
    is_contradiction: bool = False


class Tree:
    """A target in which a name that is removed is gone."""

    def __init__(self, target_fd: int, maker: Maker, *, has_parent: bool) -> None:
        self._maker = maker
        self._has_parent = has_parent
        #: Directories that hold nothing but what the layer brought. A number that is free again after a removal can only
        #: go to another directory that the layer makes.
        self._settled: set[int] = set()
        self._records: dict[int, Record] = {}
        self.directories = Directories(target_fd, self.record)
        if not has_parent:
            # A root that no entry describes; its time must not depend on when it was made.
            root = self.directories.root
            root.atime = root.mtime = implicit(b"").mtime
            root.touched = True

    # what the layer brought ---------------------------------------------------------------------------------------------

    def record(self, inode: int) -> Record | None:
        """Return what is known of the directory with this inode number; None when all in it is of the layer."""
        if not self._has_parent or inode in self._settled:
            return None
        return self._records.setdefault(inode, Record())

    def brings(self, record: Record | None, name: bytes) -> bool:
        """Whether the layer brought ``name``, or made it on the way to something it brought."""
        return record is None or name in record.own

    def settle(self, inode: int) -> None:
        """Take note that the directory is gone, or holds nothing any more but what the layer brought."""
        self._records.pop(inode, None)
        self._settled.add(inode)

    def claim(self, parent: Directory, name: bytes) -> bool:
        """Note that the layer brings ``name``, which is about to be made; needless where ``parent`` has no record.

        Returns whether a whiteout of this layer was there, which is gone now.
        """
        if parent.record is not None:
            parent.record.own.add(name)
        return False

    # directories of entries ---------------------------------------------------------------------------------------------

    def parent(self, path: bytes) -> Directory:
        """Return the directory at ``path``, made with all that is missing on the way."""
        found = self.directories.open(path)
        if found is not None:
            return found
        place = self._locate(path)
        if place.obstacle is not None and place.obstacle.is_own:
            raise MalformedArchiveError(printable(path), "a file of this layer is used as a directory")
        if place.missing and (place.is_contradiction or b".." in place.missing):
            raise MalformedArchiveError(printable(path), "a symbolic link of this layer leads to no directory and is used as one")
        names = place.names
        here = self._reach(names)
        for name in place.missing:
            names = [*names, name]
            deeper = b"/".join(names)
            here, _ = self.make_directory(here, name, deeper)
            self._maker.describe(here, implicit(deeper), is_new=True)
        return here

    def find(self, path: bytes) -> Directory | None:
        """Return the directory at ``path``, and make nothing; None when there is none."""
        found = self.directories.open(path)
        if found is None and (names := self._seek(path)) is not None:
            return self.directories.at(b"/".join(names))
        return found

    def make_directory(self, parent: Directory, name: bytes, path: bytes) -> tuple[Directory, bool]:
        """Return the directory ``name`` of ``parent`` and whether it had to be made, in place of anything but a directory.

        A new one is not described yet.
        """
        self.claim(parent, name)
        parent.touched = True
        is_new = self._make(parent, name)
        directory = self.directories.enter(parent, name, path, is_new=is_new)
        if is_new and directory.record is not None:
            self.settle(directory.inode)
            directory.record = None
        return directory, is_new

    def vacate(self, parent: Directory, name: bytes) -> None:
        """Remove whatever is at ``name``, with everything below it."""
        mode = os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
            self.directories.forget(keep=parent)
        if stat.S_ISDIR(mode):
            sweep(self, parent, [name], keep=False)
        else:
            os.unlink(name, dir_fd=parent.fd)

    def open_node(self, path: bytes) -> int | None:
        """Return an O_PATH handle of what is at ``path``, a link itself and not its target; None when nothing is."""
        above, _, name = path.rpartition(b"/")
        directory = self.find(above)
        try:
            return None if directory is None else os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory.fd)
        except FileNotFoundError:
            return None

    # whiteouts ----------------------------------------------------------------------------------------------------------

    def whiteout(self, path: bytes, name: bytes) -> None:
        """Hide what the layers below have at ``name`` of the directory ``path``; what this layer brought there stays."""
        directory = self.find(path) if self._has_parent else None
        found = look(directory, name) if directory else None
        if directory is None or directory.record is None or found is None:
            return
        if stat.S_ISDIR(found.mode) or stat.S_ISLNK(found.mode):
            self.directories.forget(keep=directory)
        if sweep(self, directory, [name]):
            directory.record.own.add(name)

    def opaque(self, path: bytes) -> None:
        """Hide all that the layers below have in the directory ``path``; the directory and what this layer brought stay."""
        directory = self.find(path) if self._has_parent else None
        if directory is None or directory.record is None:
            return
        self.directories.forget(keep=directory)
        sweep(self, directory)
        self.settle(directory.inode)
        directory.record = None

    def close(self) -> None:
        """Let go of everything; the times of directories are right now."""
        self.directories.close()

    # resolution ---------------------------------------------------------------------------------------------------------

    def _look(self, names: list[bytes], name: bytes) -> Found | None:
        """Tell what is at ``name`` of an existing directory."""
        directory = self.directories.at(b"/".join(names))
        found = look(directory, name) if directory else None
        if directory is None or found is None:
            return None
        return replace(found, is_own=self.brings(directory.record, name))

    def _reach(self, names: list[bytes]) -> Directory:
        """Return an existing directory for making something in it."""
        path = b"/".join(names)
        if (directory := self.directories.at(path)) is None:
            raise vanished(path)
        return directory

    def _seek(self, path: bytes) -> list[bytes] | None:
        """Return the components of the directory that ``path`` leads to; None when there is none."""
        place = self._locate(path)
        return None if place.missing else place.names

    def _locate(self, path: bytes) -> Place:
        """Follow ``path`` as far as it goes, confined to the root."""
        names: list[bytes] = []
        pending = path.split(b"/")[::-1]
        links = 0
        # How many components wait behind the text of the link of this layer that is being followed.
        behind = sys.maxsize
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                del names[-1:]
                continue
            if len(pending) < behind:
                behind = sys.maxsize
            found = self._look(names, name)
            if found is not None and stat.S_ISDIR(found.mode):
                names.append(name)
            elif found is not None and stat.S_ISLNK(found.mode):
                links += 1
                if links > _MAX_LINKS:
                    raise UnsafeEntryError(printable(path), "a path through too many symbolic links")
                if found.is_own:
                    behind = min(behind, len(pending))
                if found.text.startswith(b"/"):
                    names.clear()
                pending += found.text.split(b"/")[::-1]
            else:
                missing = [name, *(left for left in reversed(pending) if left not in (b"", b"."))]
                return Place(names, missing, found, is_contradiction=len(pending) >= behind)
        return Place(names, [])

    def _make(self, parent: Directory, name: bytes) -> bool:
        """Make the directory ``name`` unless there is one; return whether it is new."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode):
                return False
            self.vacate(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        return True


def look(directory: Directory, name: bytes) -> Found | None:
    """Tell what is at ``name`` of an open directory; None when nothing is."""
    try:
        mode = os.stat(name, dir_fd=directory.fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
    return Found(mode, text=os.readlink(name, dir_fd=directory.fd) if stat.S_ISLNK(mode) else b"")


def vanished(path: bytes) -> HostError:
    """Return the error for a directory that was there a moment ago: somebody else writes to the tree."""
    name = printable(path)
    return HostError(name, f"{name}: vanished while a layer was unpacked: let nothing else write to the tree")
