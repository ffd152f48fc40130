"""Subvolumes of btrfs (btrfs-subvolume(8)): the one user of libbtrfsutil, through its Python module.

All functions raise ``OSError`` as the kernel answers. The module is looked for when it is first needed, so that a machine without
it can still be told what is missing.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from lamina.errors import DriverUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

REMEDY = "pip install 'lamina[btrfs]', with libbtrfsutil-dev, python3-dev and gcc to build it"


def library() -> Any:  # it ships no types
    """Return the module ``btrfsutil``. Raises :class:`DriverUnavailableError` where there is none that works."""
    try:
        import btrfsutil
    except ImportError as error:
        raise DriverUnavailableError("btrfs", f"Python module btrfsutil: {error}", REMEDY) from error
    return btrfsutil


def create(path: Path) -> None:
    """Make an empty subvolume."""
    _call("create_subvolume", path)


def snapshot(source: Path, path: Path, *, read_only: bool = False) -> None:
    """Make a subvolume that shows what ``source`` shows now. Subvolumes inside are empty directories in it."""
    _call("create_snapshot", source, str(path), read_only=read_only)


def number(path: Path) -> int:
    """Return the id of a subvolume in its filesystem."""
    return int(_call("subvolume_id", path))


def is_read_only(path: Path) -> bool:
    """Whether a subvolume refuses to be written to, however it is mounted."""
    return bool(_call("get_subvolume_read_only", path))


def set_read_only(path: Path, *, read_only: bool) -> None:
    """Make a subvolume immutable, or writable again. Costs nothing where it is so already."""
    if is_read_only(path) is not read_only:
        _call("set_subvolume_read_only", path, read_only)


def nested(path: Path) -> list[Path]:
    """Return the subvolumes inside of a subvolume, at any depth, innermost first."""
    return [path / name for name, _ in _call("SubvolumeIterator", path, post_order=True)]


def delete(path: Path) -> None:
    """Delete a subvolume and those inside of it, read-only or not; absent is fine.

    The names are gone at once, the space once btrfs has cleaned up (``btrfs subvolume sync``).
    """
    try:
        _call("delete_subvolume", path)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        inside = nested(path)
        for each in (path, *reversed(inside)):
            set_read_only(each, read_only=False)
        for each in (*inside, path):
            _call("delete_subvolume", each)


def _call(function: str, path: Path, *arguments: object, **options: object) -> Any:
    try:
        return getattr(library(), function)(str(path), *arguments, **options)
    except OSError as error:
        # Theirs is no FileNotFoundError and the like.
        raise OSError(error.errno, error.strerror, str(path)) from error
