"""Small filesystems for tests of one's own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def btrfs() -> Iterator[Path]:
    """An empty filesystem whose files can share data."""
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("needs mkfs.btrfs of the package btrfs-progs")
    place = Path(tempfile.mkdtemp())
    image = place / "image"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.btrfs", "--quiet", image], check=True, stderr=subprocess.DEVNULL)
    root = place / "root"
    root.mkdir()
    subprocess.run(["mount", "-o", "loop", image, root], check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", root], check=True)
        shutil.rmtree(place)


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    """An empty filesystem in memory, another one than that of ``tmp_path``."""
    root = tmp_path / "tmpfs"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", root], check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", root], check=True)
