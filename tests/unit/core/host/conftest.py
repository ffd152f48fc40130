"""Filesystems of one's own, and another user."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import filesystems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


@pytest.fixture
def btrfs() -> Iterator[Path]:
    """An empty filesystem whose files can share data."""
    with filesystems.btrfs() as root:
        yield root


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


@pytest.fixture
def stranger() -> Iterator[Path]:
    """A directory of a user who is not root, where he gets by himself."""
    place = Path(tempfile.mkdtemp(dir="/dev/shm", prefix=f"lamina-test-{os.getpid()}-"))
    os.chown(place, 1234, 1234)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def as_stranger() -> Callable[[], AbstractContextManager[None]]:
    """Puts this process into his place for a block."""

    @contextmanager
    def change() -> Iterator[None]:
        os.seteuid(1234)
        try:
            yield
        finally:
            os.seteuid(0)

    return change
