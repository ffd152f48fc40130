"""Random trees, and random layers to unpack on top of them, from few names and values so that they collide."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from lamina.testing import archives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

CONTENTS = (b"one", b"two", b"three", b"", b"x" * 5000)
MODES = (0o644, 0o644, 0o644, 0o755, 0o4711, 0o000, 0o2750)
OWNERS = (0, 0, 0, 1, 70_000)
#: With nanoseconds, a second and less apart, and before the epoch.
TIMES = (1_000_000_001, 1_000_000_001, 1_000_000_001, 1_000_000_000, 4_102_444_800_123_456_789, -1_500_000_000)

#: What exists in most worlds, what might, and what leads through links and files.
PATHS = (
    *(b"d", b"d/a", b"d/b", b"d/e", b"d/e/a", b"d/e/b", b"f", b"f/a", b"f/e", b"f/e/a", b"s", b"x", b"l1", b"l2", b"f/l3"),
    *(b"n", b"n/a", b"d/n", b"d/n/a", b"d/e!", b"\xff", b".x"),
    *(b"s/a", b"s/e/b", b"s/n", b"x/a"),
)
LINKS = (b"a", b"../f", b"d", b"/d/e", b"nowhere", b"s")
#: Where most things happen, so that they meet.
HOT = (b"d", b"d/a", b"d/e", b"d/e/a", b"f")
#: Files of the same content, for what happens to hard links.
FILES = (b"l1", b"l2", b"f/l3", b"x", b"d/a", b"n")
paths = st.sampled_from(HOT) | st.sampled_from(PATHS)
files = st.sampled_from(FILES)


@dataclass(frozen=True)
class Op:
    """One thing to do to a tree. What cannot be done there is not done."""

    verb: str
    path: bytes
    other: bytes = b""
    value: int = 0
    mode: int = 0o644
    owner: int = 0
    time: int = 0

    def __call__(self, root: bytes) -> None:
        target = root + b"/" + self.path
        with contextlib.suppress(OSError):
            getattr(self, self.verb)(target, root + b"/" + self.other)

    def write(self, target: bytes, _: bytes) -> None:
        with open(target, "r+b" if os.path.isfile(target) else "xb") as file:
            file.write(CONTENTS[self.value % len(CONTENTS)])
            file.truncate()
        self._describe(target)

    def mkdir(self, target: bytes, _: bytes) -> None:
        os.makedirs(target)
        self._describe(target)

    def symlink(self, target: bytes, _: bytes) -> None:
        os.symlink(LINKS[self.value % len(LINKS)], target)
        self._describe(target)

    def special(self, target: bytes, _: bytes) -> None:
        if self.value % 2:
            os.mkfifo(target)
        else:
            os.mknod(target, stat.S_IFCHR | 0o600, os.makedev(1, 3 + self.value % 4))
        self._describe(target)

    def link(self, target: bytes, other: bytes) -> None:
        os.link(other, target, follow_symlinks=False)

    def split(self, target: bytes, _: bytes) -> None:
        """Make a file one of its own, the same in everything else."""
        status = os.stat(target, follow_symlinks=False)
        shutil.copy2(target, target + b".split", follow_symlinks=False)
        os.chown(target + b".split", status.st_uid, status.st_gid)
        os.chmod(target + b".split", stat.S_IMODE(status.st_mode))
        os.rename(target + b".split", target)

    def merge(self, target: bytes, other: bytes) -> None:
        """Put another name of an existing file in the place of a file."""
        os.link(other, target + b".merge", follow_symlinks=False)
        os.rename(target + b".merge", target)

    def rename(self, target: bytes, other: bytes) -> None:
        os.rename(other, target)

    def swap(self, target: bytes, other: bytes) -> None:
        os.rename(other, other + b".swap")
        os.rename(target, other)
        os.rename(other + b".swap", target)

    def remove(self, target: bytes, _: bytes) -> None:
        if os.path.isdir(target) and not os.path.islink(target):
            shutil.rmtree(target)
        else:
            os.unlink(target)

    def describe(self, target: bytes, _: bytes) -> None:
        os.lstat(target)
        self._describe(target)

    def xattr(self, target: bytes, _: bytes) -> None:
        os.setxattr(target, b"user.note", CONTENTS[self.value % 4], follow_symlinks=False)
        self._touch(target)

    def _describe(self, target: bytes) -> None:
        os.chown(target, self.owner, self.owner, follow_symlinks=False)
        if not os.path.islink(target):
            os.chmod(target, self.mode)
        self._touch(target)

    def _touch(self, target: bytes) -> None:
        os.utime(target, ns=(self.time, self.time), follow_symlinks=False)


def ops(*verbs: str, paths: st.SearchStrategy[bytes] = paths) -> st.SearchStrategy[Op]:
    return st.builds(
        Op,
        st.sampled_from(verbs),
        paths,
        paths,
        value=st.integers(0, 7),
        mode=st.sampled_from(MODES),
        owner=st.sampled_from(OWNERS),
        time=st.sampled_from(TIMES),
    )


GROW = ("mkdir", "mkdir", "write", "write", "symlink", "special", "xattr", "describe", "remove")
CHANGE = (*GROW, "rename", "swap", "swap")
LINK = ("link", "split", "split", "merge", "merge", "remove", "write", "rename")


growth = st.lists(ops(*GROW) | ops(*LINK, paths=files), max_size=10)
change = st.lists(ops(*CHANGE) | ops(*LINK, paths=files), max_size=6)


def grow(tree: Path, steps: Iterable[Op], *, hard_links: bool = True) -> Path:
    """Make ``tree`` with what most worlds hold, and do ``steps`` in it."""
    base = [
        Op("mkdir", b"d", mode=0o700, owner=1),
        *(Op("write", path, value=value) for path, value in ((b"d/a", 0), (b"d/b", 2), (b"x", 0), (b"l1", 0))),
        *(Op("mkdir", path, mode=0o750, time=TIMES[0]) for path in (b"f", b"f/e", b"d/e")),
        *(Op("write", path, value=value) for path, value in ((b"d/e/a", 0), (b"d/e/b", 1), (b"f/a", 1), (b"f/e/a", 1))),
        Op("symlink", b"s", value=2),
        *(Op("link", path, b"l1") for path in (b"l2", b"f/l3") if hard_links),
    ]
    return make(tree, [*base, *steps])


def make(tree: Path, steps: Iterable[Op] = ()) -> Path:
    """Make ``tree`` and do ``steps`` in it."""
    tree.mkdir(mode=0o755)
    for step in steps:
        step(os.fsencode(tree))
    return tree


_text: Callable[[bytes], str] = os.fsdecode


def _entry(op: Op) -> archives.ArchiveEntry:
    name = _text(op.path)
    if op.verb == "directory":
        return archives.directory(name, mode=op.mode, uid=op.owner, gid=op.owner, mtime=op.time)
    if op.verb == "file":
        return archives.file(name, CONTENTS[op.value % len(CONTENTS)], mode=op.mode, uid=op.owner, gid=op.owner, mtime=op.time)
    if op.verb == "symlink":
        return archives.symlink(name, _text(LINKS[op.value % len(LINKS)]), mtime=op.time)
    if op.verb == "hardlink":
        return archives.hardlink(name, _text(op.other))
    if op.verb == "whiteout":
        return archives.whiteout(name)
    return archives.opaque("" if op.value == 0 else name)


def entries(*verbs: str) -> st.SearchStrategy[archives.ArchiveEntry]:
    """Entries of a layer, by the functions of :mod:`lamina.testing.archives` that make them."""
    return ops(*verbs).map(_entry)
