"""What a tree changed relative to its parent: one canonical list, whichever way it is found.

Both trees are gone through in step, in the order of paths: a directory, then what is in it, siblings by the bytes of their names.

=========================  =========================================================================================
removed tree               one deletion, at its top
created tree               an addition for every node
directory in both          modified if its own owner, permissions, attributes or modification time changed
other node in both         modified if any of those, its data, link text or device number changed
another type               modified; for a directory that took the place of something else, its content is added
the root                   ``b"."``, at most modified; without a parent it is compared with one that no layer describes
hard links                 :mod:`lamina.diff.links`
=========================  =========================================================================================

A file is known to be unchanged when it is the same inode with the same change time, or when it came untouched from the parent
(``since``, see :func:`compare`). All other files of equal metadata are read: an edit that keeps size and time is not missed.

Neither tree should be written to meanwhile. If it is, the walk ends all the same, with an answer that may fit no moment of it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from heapq import merge
from typing import TYPE_CHECKING, TypeAlias

from lamina.diff.links import IncompleteError, Links
from lamina.diff.names import order
from lamina.diff.nodes import descent, enter, implicit, read_node
from lamina.diff.same import Seen, same_metadata, same_node
from lamina.model import Change, ChangeKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.driver import Touched
    from lamina.host.descent import Descent

#: What to look at in a directory: a name stands for itself and for what is to be looked at in it, None for everything.
_Wanted: TypeAlias = "dict[bytes, _Wanted | None]"


def changes_of(
    parent_fd: int | None, child_fd: int, touched: Iterable[Touched] | None = None, *, since: int = 0
) -> Iterator[Change]:
    """Yield how the tree ``child_fd`` differs from ``parent_fd`` (None: from an empty one), in the order of paths.

    With ``touched`` only those paths are looked at, unless the answer depends on others (files with names elsewhere). ``since``
    is as in :func:`compare`.
    """
    if touched is not None and parent_fd is not None:
        try:
            yield from narrow(parent_fd, child_fd, touched, since=since)
        except IncompleteError:
            pass
        else:
            return
    yield from compare(parent_fd, child_fd, since=since)


def compare(parent_fd: int | None, child_fd: int, *, since: int = 0) -> Iterator[Change]:
    """Yield how the tree ``child_fd`` differs from ``parent_fd`` (None: from an empty one), looking at all of both.

    ``since``, unless 0, is a change time (``st_ctime_ns``) before which nothing was done in the child but copying the parent:
    files below directories that are both older are taken to be the parent's, and are not looked at in the parent. Below
    a directory that changed since, which may have been moved there, files are compared.
    """
    if parent_fd is None:
        return _Walk(None, child_fd, since).run(None)
    return _finish(_Walk(parent_fd, child_fd, since), None, is_complete=True)


def narrow(parent_fd: int, child_fd: int, touched: Iterable[Touched], *, since: int = 0) -> Iterator[Change]:
    """As :func:`compare`, looking only at the paths ``touched``, at the directories above them, and at what they lead to.

    Raises :class:`lamina.diff.links.IncompleteError`, before the first change, if the answer depends on other paths.
    """
    wanted = _select(touched)
    return _finish(_Walk(parent_fd, child_fd, since), wanted, is_complete=wanted is None)


def _finish(walk: _Walk, wanted: _Wanted | None, *, is_complete: bool) -> Iterator[Change]:
    """Yield the changes that were found, and those that follow from hard links, which are known only at the end."""
    found = list(walk.run(wanted))
    if not is_complete:
        walk.links.check_complete()
    linked = [Change(path, ChangeKind.MODIFIED) for path in walk.links.modified()]
    yield from merge(found, linked, key=lambda change: order(change.path)) if linked else found


def _select(touched: Iterable[Touched]) -> _Wanted | None:
    """Turn paths into a tree of names."""
    root: _Wanted = {}
    for item in touched:
        if item.path != b".":
            _insert(root, item)
        elif item.subtree:
            return None
    return root


def _insert(wanted: _Wanted, item: Touched) -> None:
    *above, name = item.path.split(b"/")
    for component in above:
        deeper = wanted.setdefault(component, {})
        if deeper is None:
            return
        wanted = deeper
    if item.subtree:
        wanted[name] = None
    else:
        wanted.setdefault(name, {})


@dataclass(slots=True)
class _Level:
    """A directory on the way from the root to the one at hand."""

    #: Path of the directory with a slash behind; empty for the root.
    prefix: bytes
    #: Names to look at, in order.
    names: Iterator[bytes]
    #: What to look at below each name; None for everything.
    wanted: _Wanted | None
    #: Names in the child and in the parent; None where only lstat(2) can tell.
    here: frozenset[bytes] | None
    below: frozenset[bytes] | None
    #: Whether the directory is in both trees.
    in_both: bool
    #: Whether it is where it was when the parent was copied, so that what is old in it came with the copy.
    is_settled: bool


class _Walk:
    """One comparison."""

    def __init__(self, parent_fd: int | None, child_fd: int, since: int) -> None:
        #: Not kept for an empty parent, with which nothing can follow from hard links.
        self.links = Links()
        self._since = since
        self._child_fd = child_fd
        self._parent_fd = parent_fd

    def run(self, wanted: _Wanted | None) -> Iterator[Change]:
        """Yield the changes of nodes one by one, without what follows from hard links."""
        if self._is_root_modified():
            yield Change(b".", ChangeKind.MODIFIED)
        has_parent = self._parent_fd is not None
        # Any handle will do where there is no parent, for no directory is in both then.
        below_fd = self._child_fd if self._parent_fd is None else self._parent_fd
        with descent(self._child_fd) as child, descent(below_fd) as parent:
            levels = [_level(child.fd, parent.fd, b"", wanted, in_both=has_parent, is_settled=self._since > 0)]
            while levels:
                level = levels[-1]
                for name in level.names:
                    here = _see(child.fd, name, level.here)
                    if here is not None and self._is_untouched(level, here):
                        continue
                    below = _see(parent.fd, name, level.below)
                    kind = self._judge(level, below, here)
                    path = level.prefix + name
                    if has_parent:
                        self.links.add(path, below, here, changed=kind is not None)
                    if kind is not None:
                        yield Change(path, kind)
                    if here is None or not here.is_directory:
                        continue
                    in_both = below is not None and below.is_directory
                    deeper = level.wanted[name] if level.wanted is not None and in_both else None
                    if deeper == {} or not _enter(child, name):
                        continue
                    if in_both:
                        enter(parent, name)
                    is_settled = level.is_settled and in_both and here.status.st_ctime_ns < self._since
                    levels.append(_level(child.fd, parent.fd, path + b"/", deeper, in_both=in_both, is_settled=is_settled))
                    break
                else:
                    levels.pop()
                    if levels:
                        child.leave()
                        if level.in_both:
                            parent.leave()

    def _is_root_modified(self) -> bool:
        here = Seen(self._child_fd, b".", os.fstat(self._child_fd))
        if self._parent_fd is None:
            return read_node(b"", here.status, here.dir_fd, here.name) != implicit(b"")
        return not same_metadata(here, Seen(self._parent_fd, b".", os.fstat(self._parent_fd)))

    def _is_untouched(self, level: _Level, here: Seen) -> bool:
        """Whether a file came with the copy of the parent, known without a look at the parent's; its only name, for the others
        of an inode might be new without its change time showing it: their directory was moved."""
        return (
            level.is_settled
            and here.status.st_ctime_ns < self._since
            and here.status.st_nlink == 1
            and level.below is not None
            and here.name in level.below
            and not here.is_directory
        )

    def _judge(self, level: _Level, below: Seen | None, here: Seen | None) -> ChangeKind | None:
        """Tell how one name differs; what is below a directory does not count."""
        if here is None:
            return None if below is None else ChangeKind.DELETED
        if below is None:
            return ChangeKind.ADDED
        try:
            if stat.S_IFMT(here.status.st_mode) != stat.S_IFMT(below.status.st_mode):
                same = False
            elif here.is_directory:
                same = same_metadata(below, here)
            else:
                same = (level.is_settled and here.status.st_ctime_ns < self._since) or same_node(below, here)
        except FileNotFoundError:
            return ChangeKind.DELETED
        return None if same else ChangeKind.MODIFIED


def _level(child_fd: int, parent_fd: int, prefix: bytes, wanted: _Wanted | None, *, in_both: bool, is_settled: bool) -> _Level:
    """Describe the directory that is open in the child and, if it is there, in the parent."""
    if wanted is not None:
        return _Level(prefix, iter(sorted(wanted)), wanted, None, None, in_both, is_settled)
    here = _names(child_fd)
    below = _names(parent_fd) if in_both else frozenset()
    return _Level(prefix, iter(sorted(here | below)), None, here, below, in_both, is_settled)


def _enter(child: Descent, name: bytes) -> bool:
    """Go into a directory of the child; False if it has vanished."""
    try:
        enter(child, name)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _names(fd: int) -> frozenset[bytes]:
    return frozenset(map(os.fsencode, os.listdir(fd)))


def _see(dir_fd: int, name: bytes, names: frozenset[bytes] | None) -> Seen | None:
    """Look at one name, unless it is known that there is nothing."""
    if names is not None and name not in names:
        return None
    try:
        return Seen(dir_fd, name, os.stat(name, dir_fd=dir_fd, follow_symlinks=False))
    except FileNotFoundError:
        return None
