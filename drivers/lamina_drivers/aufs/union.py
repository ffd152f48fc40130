"""The mounts that show a stack of directories as one, by either of two filesystems that write the same layout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lamina.errors import UnsupportedError
from lamina.model import Mount

if TYPE_CHECKING:
    from collections.abc import Sequence

FUSE_TYPE = "fuse.fuse-overlayfs"

#: mount(2) reads a page, the NUL at the end included.
_PAGE = 4095
#: Most branches of aufs as it is usually built (CONFIG_AUFS_BRANCH_MAX_127).
MAX_BRANCHES = 127
#: Where aufs keeps its table of inode numbers; it needs a place that can be written to and is not itself a union.
_XINO = "xino=/dev/shm/aufs.xino"

#: What is written is in the upper directory at once, for whoever looks at it without this mount.
_COHERENT = "writeback=0"


def by_fuse(lowers: Sequence[str], upper: str = "", work: str = "", *, extra: Sequence[str] = ()) -> tuple[Mount, ...]:
    """Return the mount of the directories ``lowers``, nearest first, by fuse-overlayfs; read-only unless ``upper`` and ``work``
    are given.

    Raises :class:`UnsupportedError` for an upper path with a colon, at which fuse-overlayfs would cut it.
    """
    _refuse([upper], ":")
    options = [f"lowerdir+={lower}" for lower in lowers]
    options += [f"upperdir={upper}", f"workdir={work}", _COHERENT] if upper else ["ro"]
    return (Mount(FUSE_TYPE, "fuse-overlayfs", (*options, *extra)),)


def by_kernel(lowers: Sequence[str], upper: str = "", *, extra: Sequence[str] = ()) -> tuple[Mount, ...]:
    """Return the mount of the same by the kernel's aufs, and the remounts that append the branches for which it has no room.

    Raises :class:`UnsupportedError` for more branches than aufs takes, and for a path that its options cannot express.
    """
    branches = [f"{upper}=rw"] if upper else []
    branches += [f"{lower}=ro+wh" for lower in lowers]
    if len(branches) > MAX_BRANCHES:
        raise UnsupportedError("aufs", f"a stack of {len(branches)} layers: the limit of the kernel's aufs is {MAX_BRANCHES}")
    _refuse([upper, *lowers], ":,=")
    others = ("dio", "dirperm1", "udba=none", _XINO, *(() if upper else ("ro",)), *extra)
    count = 0
    while count < len(branches) and _size("br:", *branches[: count + 1], *others) <= _PAGE:
        count += 1
    first = Mount("aufs", "aufs", (f"br:{':'.join(branches[:count])}", *others))
    return (first, *(Mount("aufs", "aufs", ("remount", f"append:{branch}")) for branch in branches[count:]))


def _refuse(paths: Sequence[str], marks: str) -> None:
    for path in paths:
        for mark in marks:
            if mark in path:
                raise UnsupportedError("aufs", f"{mark!r} in a path, as in {path}: choose another --root")


def _size(*words: str) -> int:
    return sum(len(os.fsencode(word)) + 1 for word in words)
