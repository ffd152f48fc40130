"""What a directory tree holds, as plain data, and whether two trees hold the same."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeAlias

from lamina.diff.entries import printable
from lamina.diff.names import order
from lamina.diff.xattrs import is_carried
from lamina.host import xattr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class Node:
    """Everything about one path that layers promise to keep."""

    #: ``file``, ``directory``, ``symlink``, ``fifo``, ``char``, ``block`` or ``socket``.
    kind: str
    #: Permission bits, suid, sgid and sticky.
    mode: int
    uid: int
    gid: int
    #: Nanoseconds since the epoch.
    mtime: int
    #: Bytes of a file; 0 for everything else.
    size: int = 0
    #: SHA-256 of a file's bytes in hex.
    content: str = ""
    #: Text of a symbolic link.
    target: bytes = b""
    #: Device number of a device node.
    rdev: int = 0
    #: Sorted; those of the machine and of the driver left out (:mod:`lamina.diff.xattrs`).
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    #: All paths of the tree that are this inode, sorted; empty unless there are several.
    links: tuple[bytes, ...] = ()


#: Path relative to the root, ``b"."`` for the root itself, to what is there; sorted, directories before what they hold.
Manifest: TypeAlias = dict[bytes, Node]


def manifest(tree: Path | int, *, mtimes: bool = True, hard_links: bool = True) -> Manifest:
    """Describe the tree at a path, or below a directory handle; what must not count is left blank.

    Other mounts inside are described like directories. A name that vanishes meanwhile raises ``FileNotFoundError``.
    """
    root = os.open(b"." if isinstance(tree, int) else tree, _DIRECTORY, dir_fd=tree if isinstance(tree, int) else None)
    try:
        nodes: Manifest = {}
        groups: dict[tuple[int, int], list[bytes]] = {}
        for path, status, node in _walk(root):
            nodes[path] = node if mtimes else replace(node, mtime=0)
            if hard_links and status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                groups.setdefault((status.st_dev, status.st_ino), []).append(path)
    finally:
        os.close(root)
    for names in groups.values():
        if len(names) > 1:
            for name in names:
                nodes[name] = replace(nodes[name], links=tuple(sorted(names)))
    return dict(sorted(nodes.items(), key=lambda item: order(item[0])))


def assert_same_tree(left: Path | int, right: Path | int, *, mtimes: bool = True, hard_links: bool = True) -> None:
    """Require two trees to hold the same; the error lists each path that differs, and in what."""
    found = differences(
        manifest(left, mtimes=mtimes, hard_links=hard_links), manifest(right, mtimes=mtimes, hard_links=hard_links)
    )
    if found:
        raise AssertionError("\n  ".join([f"{left} and {right} differ in {len(found)} paths", *found]))


def differences(left: Manifest, right: Manifest) -> list[str]:
    """Return a line for each path that two manifests do not describe alike."""
    lines = []
    for path in sorted(left.keys() | right.keys(), key=order):
        one, other = left.get(path), right.get(path)
        if one == other:
            continue
        if one is None or other is None:
            found, side = (one, "left") if one else (other, "right")
            assert found
            lines.append(f"{printable(path)}: {found.kind} only on the {side}")
        else:
            pairs = ((field.name, getattr(one, field.name), getattr(other, field.name)) for field in fields(Node))
            lines.append(f"{printable(path)}: " + ", ".join(f"{name} {_show(name, a, b)}" for name, a, b in pairs if a != b))
    return lines


def _show(name: str, left: object, right: object) -> str:
    return f"{left:o} / {right:o}" if name == "mode" else f"{left} / {right}"


def _walk(root: int) -> Iterator[tuple[bytes, os.stat_result, Node]]:
    """Yield every path below ``root``; one handle is open at a time, however deep the tree."""
    status = os.fstat(root)
    yield b".", status, _node(root, b".", status)
    pending: list[tuple[bytes, ...]] = [()]
    while pending:
        above = pending.pop()
        directory = _open(root, above)
        try:
            below = []
            for name in map(os.fsencode, os.listdir(directory)):
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                yield b"/".join((*above, name)), status, _node(directory, name, status)
                if stat.S_ISDIR(status.st_mode):
                    below.append((*above, name))
        finally:
            os.close(directory)
        pending += below


def _open(root: int, names: tuple[bytes, ...]) -> int:
    fd = os.open(b".", _DIRECTORY, dir_fd=root)
    for name in names:
        try:
            deeper = os.open(name, _DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = deeper
    return fd


def _node(directory: int, name: bytes, status: os.stat_result) -> Node:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    values = xattr.read_xattrs_at(directory, name)
    return Node(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=status.st_mtime_ns,
        size=status.st_size if kind == "file" else 0,
        content=_digest(directory, name) if kind == "file" else "",
        target=os.readlink(name, dir_fd=directory) if kind == "symlink" else b"",
        rdev=status.st_rdev if kind in ("char", "block") else 0,
        xattrs=tuple((key, value) for key, value in values.items() if is_carried(key)),
    )


def _digest(directory: int, name: bytes) -> str:
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
