"""Filesystems of one's own, in a file."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def btrfs(megabytes: int = 256) -> Iterator[Path]:
    """Yield the root of an empty btrfs, mounted for this block."""
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs mkfs.btrfs of the package btrfs-progs")
    place = Path(tempfile.mkdtemp())
    image, root = place / "image", place / "root"
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs.btrfs", "--quiet", image], check=True, stderr=subprocess.DEVNULL)
    root.mkdir()
    subprocess.run(["mount", "-o", "loop", image, root], check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", root], check=True)
        shutil.rmtree(place)
