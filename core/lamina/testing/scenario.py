"""Scenarios: what people do to a root filesystem, layer by layer, as data that any directory can be put through::

    UPGRADE = Scenario(
        "upgrade",
        [mkdir("etc"), write("etc/motd", "welcome"), symlink("motd", "etc/issue")],
        [replace("etc/motd", "welcome back"), rm("etc/issue")],
    )

The same steps put a layer of a store and a plain directory (its *flat twin*) into the same state, so that no expected tree is
ever written down by hand. Steps act on literal paths below a root that the test owns: they resolve nothing and confine nothing.
Names are ``str``; bytes that are no UTF-8 go in as :func:`os.fsdecode` gives them.
"""

from __future__ import annotations

import os
import reprlib
import shutil
import socket
import stat
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_P = ParamSpec("_P")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done to a tree. Its text is what is written in a scenario: ``write('etc/motd', 'welcome')``."""

    verb: str
    arguments: tuple[object, ...]
    act: Callable[[Path], None]

    def __call__(self, root: Path) -> None:
        """Do it in the tree at ``root``. Raises ``OSError`` where it cannot be done."""
        try:
            self.act(root)
        except OSError as error:
            error.add_note(f"in the step {self}, at {root}")
            raise

    def __repr__(self) -> str:
        return f"{self.verb}({', '.join(map(reprlib.repr, self.arguments))})"


class Scenario:
    """Named layers of steps, lowest first."""

    def __init__(self, name: str, *layers: Iterable[Step]) -> None:
        self.name = name
        self.layers = tuple(tuple(steps) for steps in layers)

    def __repr__(self) -> str:
        return self.name


def _step(act: Callable[Concatenate[Path, _P], None]) -> Callable[_P, Step]:
    """Turn a function of a root and further arguments into one that makes a step of those arguments."""

    @wraps(act)
    def make(*args: _P.args, **kwargs: _P.kwargs) -> Step:
        return Step(act.__name__, (*args, *kwargs.values()), lambda root: act(root, *args, **kwargs))

    return make


def _encode(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


# --- files and what is in them -----------------------------------------------------------------------------------------


@_step
def write(root: Path, path: str, data: str | bytes = b"", mode: int | None = None) -> None:
    """Write a file as ``>`` does: an existing one keeps its inode, mode and other names. A new one gets ``mode``, else 0644."""
    target = root / path
    new = not os.path.lexists(target)
    # A pipe that nobody reads is an error and not a reason to wait.
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o666), "wb") as file:
        file.write(_encode(data))
    if mode is not None or new:
        target.chmod(0o644 if mode is None else mode)


@_step
def replace(root: Path, path: str, data: str | bytes, mode: int = 0o644) -> None:
    """Write a new file and rename it over the old one, as package managers and careful editors do."""
    target = root / path
    fresh = target.with_name(target.name + ".new")
    fresh.write_bytes(_encode(data))
    fresh.chmod(mode)
    try:
        fresh.rename(target)
    except OSError:
        fresh.unlink()
        raise


@_step
def append(root: Path, path: str, data: str | bytes) -> None:
    """Write at the end of an existing file."""
    with (root / path).open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(_encode(data))


@_step
def truncate(root: Path, path: str, size: int) -> None:
    """Cut or stretch an existing file to ``size`` bytes."""
    os.truncate(root / path, size)


@_step
def sparse(root: Path, path: str, size: int, tail: str | bytes) -> None:
    """Make a file that is one hole of ``size`` bytes with ``tail`` behind it."""
    with (root / path).open("wb") as file:
        file.seek(size)
        file.write(_encode(tail))


# --- names -------------------------------------------------------------------------------------------------------------


@_step
def mkdir(root: Path, path: str, mode: int = 0o755) -> None:
    """Make one directory, with exactly this mode."""
    target = root / path
    target.mkdir()
    target.chmod(mode)


@_step
def rm(root: Path, path: str) -> None:
    """Remove whatever is there, as ``rm -r`` does; a symbolic link itself, never what it points to."""
    target = root / path
    if stat.S_ISDIR(target.lstat().st_mode):
        shutil.rmtree(target)
    else:
        target.unlink()


@_step
def symlink(root: Path, target: str, path: str) -> None:
    """Make ``path`` a symbolic link with the text ``target``, as ``ln -s`` does."""
    os.symlink(target, root / path)


@_step
def link(root: Path, existing: str, path: str) -> None:
    """Give ``existing`` a further name. A symbolic link is linked itself."""
    os.link(root / existing, root / path, follow_symlinks=False)


@_step
def rename(root: Path, old: str, new: str) -> None:
    """Give a node another place, over a file that may be there. Only some drivers can for a directory of a layer below."""
    os.rename(root / old, root / new)


@_step
def mkfifo(root: Path, path: str, mode: int = 0o644) -> None:
    """Make a named pipe, with exactly this mode."""
    target = root / path
    os.mkfifo(target)
    target.chmod(mode)


@_step
def mknod(root: Path, path: str, kind: int, major: int, minor: int) -> None:
    """Make a device node, mode 0600; ``kind`` is ``stat.S_IFCHR`` or ``stat.S_IFBLK``."""
    os.mknod(root / path, kind | 0o600, os.makedev(major, minor))
    os.chmod(root / path, 0o600)


@_step
def bind_socket(root: Path, path: str) -> None:
    """Leave the socket file of a server that has gone."""
    # A socket's address holds 108 bytes; the parent's handle keeps it short wherever the store is.
    parent = os.open((root / path).parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{parent}/{os.path.basename(path)}")
    finally:
        os.close(parent)


# --- metadata ----------------------------------------------------------------------------------------------------------


@_step
def chmod(root: Path, path: str, mode: int) -> None:
    """Change the mode of what ``path`` leads to."""
    (root / path).chmod(mode)


@_step
def chown(root: Path, path: str, uid: int, gid: int) -> None:
    """Change the owner of the node itself; the kernel clears set-id bits of files meanwhile."""
    os.chown(root / path, uid, gid, follow_symlinks=False)


@_step
def utime(root: Path, path: str, mtime: int, atime: int = 0) -> None:
    """Set the times of the node itself, in nanoseconds since the epoch."""
    os.utime(root / path, ns=(atime, mtime), follow_symlinks=False)


@_step
def setxattr(root: Path, path: str, name: str, value: bytes) -> None:
    """Set an extended attribute of the node itself; Linux has none of ``user.`` on links and special files."""
    os.setxattr(root / path, name, value, follow_symlinks=False)


@_step
def rmxattr(root: Path, path: str, name: str) -> None:
    """Remove an extended attribute, which must be there."""
    os.removexattr(root / path, name, follow_symlinks=False)
