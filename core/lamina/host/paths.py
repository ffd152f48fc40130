"""Resolution of untrusted paths by the kernel: confined to a root, whoever renames what meanwhile.

No function here returns a path. What it resolved is a descriptor, and only that is safe to use (openat2(2)).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from lamina.host import syscalls
from lamina.host.syscalls import RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV

#: As the kernel's MAXSYMLINKS.
_MAX_LINKS: Final = 40
#: A rename anywhere on the machine during ``..`` makes the kernel give up; this many in a row do not happen by themselves.
_MAX_RACES: Final = 128


def open_in_root(root_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open ``path`` as a process whose root is ``root_fd`` would, and return a descriptor (close-on-exec).

    Absolute paths and links start at the root, ``..`` stops there. Mounts are not entered (EXDEV), magic links not followed
    (ELOOP). ``flags`` and ``mode`` are those of open(2); a last link is followed unless O_NOFOLLOW says otherwise.
    """
    return _open(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)


def open_beneath(root_fd: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open ``path`` below ``root_fd`` and return a descriptor (close-on-exec).

    An absolute path and ``..`` above the root raise EXDEV, a symbolic link anywhere ELOOP. Mounts are entered.
    """
    return _open(root_fd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)


def open_inside(dir_fd: int, name: bytes, flags: int) -> int:
    """Open the entry ``name`` of the directory ``dir_fd`` itself: a link raises ELOOP, what is mounted there EXDEV."""
    return _open(dir_fd, name, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)


def _open(root_fd: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    for _ in range(_MAX_RACES):
        try:
            return syscalls.openat2(root_fd, path, flags, mode, resolve)
        except BlockingIOError:
            continue
        except OSError as error:
            # EPERM is how the seccomp filters of older container runtimes answer to a call they do not know. If it was
            # meant, the walk meets it again.
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
        return walk(root_fd, path, flags, mode, resolve)
    raise OSError(errno.EAGAIN, "renamed while it was being resolved, again and again", os.fsdecode(path))


def walk(root_fd: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    """:func:`lamina.host.syscalls.openat2` component by component, for kernels without it.

    Knows the rules that the functions above use. Each step goes from handle to handle and ``..`` goes back along the handles,
    so that a rename meanwhile cannot lead outside. A magic link is read as text and cannot jump.
    """
    if not path:
        raise _refusal(errno.ENOENT, path)
    if path.startswith(b"/") and resolve & RESOLVE_BENEATH:
        raise _refusal(errno.EXDEV, path)
    mount = syscalls.mount_id(root_fd) if resolve & RESOLVE_NO_XDEV else None
    pending = _components(path)
    links = 0
    trail = [os.open(b".", os.O_PATH | os.O_DIRECTORY, dir_fd=root_fd)]
    try:
        while pending:
            name = pending.pop()
            if name == b".":
                continue
            if name == b"..":
                if not stat.S_ISDIR(os.fstat(trail[-1]).st_mode):
                    raise _refusal(errno.ENOTDIR, path)
                if len(trail) > 1:
                    os.close(trail.pop())
                elif resolve & RESOLVE_BENEATH:
                    raise _refusal(errno.EXDEV, path)
                continue
            last = not pending
            follow = not (last and flags & os.O_NOFOLLOW)
            how = flags if last else os.O_PATH
            try:
                trail.append(os.open(name, how | os.O_NOFOLLOW, mode, dir_fd=trail[-1]))
            except OSError as error:
                # What O_NOFOLLOW makes of a link; ENOTDIR where O_DIRECTORY was asked for too.
                if not follow or error.errno not in (errno.ELOOP, errno.ENOTDIR) or not _is_link(trail[-1], name):
                    raise
                target = os.readlink(name, dir_fd=trail[-1])
            else:
                if mount is not None and syscalls.mount_id(trail[-1]) != mount:
                    raise _refusal(errno.EXDEV, path)
                if how & os.O_PATH and follow and stat.S_ISLNK(os.fstat(trail[-1]).st_mode):
                    target = os.readlink(b"", dir_fd=trail[-1])
                    os.close(trail.pop())
                elif last:
                    return trail.pop()
                else:
                    continue
            links += 1
            if resolve & RESOLVE_NO_SYMLINKS or links > _MAX_LINKS:
                raise _refusal(errno.ELOOP, path)
            while target.startswith(b"/") and len(trail) > 1:
                os.close(trail.pop())
            pending += _components(target)
        return os.open(b".", flags, dir_fd=trail[-1])
    finally:
        for fd in trail:
            os.close(fd)


def _components(path: bytes) -> list[bytes]:
    """The names of ``path``, the first one last. A slash at the end is one more ``.``: it demands a directory, too."""
    names = [name for name in reversed(path.split(b"/")) if name]
    return [b".", *names] if path.endswith(b"/") else names


def _is_link(dir_fd: int, name: bytes) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)


def _refusal(code: int, path: bytes) -> OSError:
    return OSError(code, os.strerror(code), os.fsdecode(path))
