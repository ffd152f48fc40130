"""The tree that a layer is unpacked into, when that directory is the upper one of a union: marks hide what is below.

The result, seen through the union, equals what the same layer makes of a complete tree (:mod:`lamina.diff.tree`). Names are
looked up in the upper directory and then in the merged tree of the layers below, as the union would; everything is made in
the upper one. Directories that exist only below are made there with their attributes when something is to be made in them.

A directory of the upper tree has a :class:`lamina.diff.directories.Record` as long as a directory below shows through it;
names in it that are not "own" stand for what is below: copies of directories, copies of files that got another hard link, marks.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from lamina.diff.directories import Directories, Record
from lamina.diff.entries import EntryKind
from lamina.diff.marks import AufsMarks, OverlayMarks
from lamina.diff.nodes import open_file, read_node
from lamina.diff.streams import CHUNK
from lamina.diff.sweep import sweep
from lamina.diff.tree import Tree, look, vanished
from lamina.diff.whiteouts import PREFIX
from lamina.driver import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.diff.directories import Directory
    from lamina.diff.marks import Marks
    from lamina.diff.nodes import Maker
    from lamina.diff.tree import Found


class Union(Tree):
    """An upper directory, empty at first, over the merged tree ``lower_fd`` of the layers below."""

    def __init__(self, target_fd: int, maker: Maker, lower_fd: int, encoding: Encoding) -> None:
        super().__init__(target_fd, maker, has_parent=True)
        self._marks: Marks = AufsMarks() if encoding is Encoding.AUFS else OverlayMarks()
        # Nothing in it is ever touched, so that it serves for reading as well.
        self._lower = Directories(lower_fd, lambda _: None)
        root = self.directories.root
        root.record = self._records[root.inode] = Record()
        below = self._lower.root
        try:
            maker.describe(root, read_node(b"", os.fstat(below.fd), below.fd, b"."), is_new=False)
        except BaseException:
            self.close()
            raise

    def record(self, inode: int) -> Record | None:
        """Return what is known of an upper directory; None when nothing shows through it."""
        return self._records.get(inode)

    def brings(self, record: Record | None, name: bytes) -> bool:
        """Whether the layer brought ``name``; copies and marks are not of the layer."""
        # No file of a layer has such a name: it is a mark of AUFS.
        return super().brings(record, name) and not name.startswith(PREFIX)

    def settle(self, inode: int) -> None:
        """Take note that nothing shows through the directory any more."""
        self._records.pop(inode, None)

    def claim(self, parent: Directory, name: bytes) -> bool:
        """Note that the layer brings ``name``, and remove the mark that was there; return whether one was."""
        record = parent.record
        if record is None:
            return False
        record.own.add(name)
        if name not in record.hidden:
            return False
        record.hidden.remove(name)
        self._marks.show(parent.fd, name)
        return True

    def make_directory(self, parent: Directory, name: bytes, path: bytes) -> tuple[Directory, bool]:
        """Return the upper directory ``name`` of ``parent``, through which that of the layers below shows unless this layer
        replaced it before, and whether it had to be made."""
        below = self._below(parent, name)
        shows_directory = below is not None and stat.S_ISDIR(below.mode)
        covered = self.claim(parent, name)
        if shows_directory and not covered:
            found = look(parent, name)
            covered = found is not None and not stat.S_ISDIR(found.mode)
        parent.touched = True
        is_new = self._make(parent, name)
        directory = self.directories.enter(parent, name, path, is_new=is_new)
        if is_new and shows_directory and parent.record is not None:
            if covered:
                self._marks.make_opaque(directory.fd)
            else:
                self._show(directory, _join(parent.record.lower, name))
        return directory, is_new

    def open_node(self, path: bytes) -> int | None:
        """Return a handle of what is at ``path``; what is only below is copied first, as the union would to make a link of it."""
        above, _, name = path.rpartition(b"/")
        directory = self._upper(above, name)
        if directory is None or (directory.record and name in directory.record.hidden):
            return None
        if look(directory, name) is None and not self._copy_up(directory, name):
            return None
        return os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory.fd)

    # whiteouts ----------------------------------------------------------------------------------------------------------

    def whiteout(self, path: bytes, name: bytes) -> None:
        """Hide what the layers below have, by a mark or by what the layer put there itself."""
        directory = self._upper(path, name)
        if directory is not None:
            self._hide(directory, name)

    def opaque(self, path: bytes) -> None:
        """Hide what the layers below have in a directory: the root's names one by one, all others' by one mark."""
        directory = self._upper(path)
        if directory is None or directory.record is None:
            return
        if directory is self.directories.root:
            for name in os.listdir(self._lower.root.fd):
                self._hide(directory, os.fsencode(name))
            return
        self.directories.forget(keep=directory)
        sweep(self, directory)
        self._marks.make_opaque(directory.fd)
        directory.touched = True
        self.settle(directory.inode)
        directory.record = None

    def close(self) -> None:
        """Let go of both trees."""
        self._lower.close()
        super().close()

    def _hide(self, directory: Directory, name: bytes) -> None:
        """Hide what shows through from below at ``name``, under whatever the layer brought there."""
        below = self._below(directory, name)
        if below is None or directory.record is None:
            return
        found = look(directory, name)
        if found is not None:
            if not stat.S_ISDIR(found.mode) and name in directory.record.own:
                return
            self.directories.forget(keep=directory)
            if sweep(self, directory, [name]):
                directory.record.own.add(name)
                if stat.S_ISDIR(below.mode):
                    self._cover(directory, name)
                return
        self._marks.hide(directory.fd, name)
        directory.record.hidden.add(name)
        directory.touched = True

    def _cover(self, parent: Directory, name: bytes) -> None:
        """Let nothing show through the directory ``name``."""
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent.fd)
        try:
            status = os.fstat(fd)
            self._marks.make_opaque(fd)
            os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(fd)

    # the tree below -----------------------------------------------------------------------------------------------------

    def _below(self, directory: Directory, name: bytes) -> Found | None:
        """Tell what shows through at ``name`` of an upper directory, or would without a file of the layer that is there."""
        if directory.record is None:
            return None
        lower = self._lower.at(directory.record.lower)
        return look(lower, name) if lower else None

    def _upper(self, path: bytes, name: bytes = b"") -> Directory | None:
        """Return the upper directory at ``path``. One that exists only below is made if it shows ``name``, or anything."""
        directory = self.find(path)
        if directory is not None or (names := self._seek(path)) is None:
            return directory
        lower = self._lower.at(b"/".join(names))
        if lower is None or not (look(lower, name) if name else os.listdir(lower.fd)):
            return None
        return self._reach(names)

    def _look(self, names: list[bytes], name: bytes) -> Found | None:
        path = b"/".join(names)
        upper = self.directories.at(path)
        if upper is None:
            lower = self._lower.at(path)
            return look(lower, name) if lower else None
        if upper.record and name in upper.record.hidden:
            return None
        found = look(upper, name)
        return replace(found, is_own=self.brings(upper.record, name)) if found else self._below(upper, name)

    def _reach(self, names: list[bytes]) -> Directory:
        """Return the upper directory at an existing place; those on the way that are only below are made."""
        known = len(names)
        while (here := self.directories.at(b"/".join(names[:known]))) is None:
            known -= 1
        for depth in range(known, len(names)):
            here = self._copy_directory(here, names[depth], b"/".join(names[: depth + 1]))
        return here

    def _copy_directory(self, parent: Directory, name: bytes, path: bytes) -> Directory:
        """Make an upper directory like the one below, which shows through it."""
        lower = self._lower.at(path)
        if lower is None:
            raise vanished(path)
        parent.touched = True
        os.mkdir(name, 0o700, dir_fd=parent.fd)
        directory = self.directories.enter(parent, name, path, is_new=True)
        self._show(directory, path)
        self._maker.describe(directory, read_node(path, os.fstat(lower.fd), lower.fd, b"."), is_new=True)
        return directory

    def _copy_up(self, parent: Directory, name: bytes) -> bool:
        """Make a copy of what is below at ``name``, a file that gets another hard link; False if there is nothing that could."""
        lower = self._lower.at(parent.record.lower) if parent.record else None
        found = look(lower, name) if lower else None
        if lower is None or found is None or stat.S_ISDIR(found.mode) or stat.S_ISSOCK(found.mode):
            return False
        entry = read_node(name, os.stat(name, dir_fd=lower.fd, follow_symlinks=False), lower.fd, name)
        parent.touched = True
        if entry.kind is EntryKind.FILE:
            self._maker.file(parent, name, entry, _data(lower, name))
        elif entry.kind is EntryKind.SYMLINK:
            self._maker.symlink(parent, name, entry)
        else:
            self._maker.special(parent, name, entry)
        return True

    def _show(self, directory: Directory, path: bytes) -> None:
        """Note that the directory ``path`` of the layers below shows through ``directory``."""
        directory.record = self._records[directory.inode] = Record(lower=path)


def _join(above: bytes, name: bytes) -> bytes:
    return above + b"/" + name if above else name


def _data(directory: Directory, name: bytes) -> Iterator[bytes]:
    with open(open_file(directory.fd, name), "rb", buffering=0) as file:
        while piece := file.read(CHUNK):
            yield piece
