from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lamina_drivers.btrfs.driver import BtrfsDriver
from lamina_drivers.btrfs.options import BtrfsOptions
from tests import filesystems

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.host.kernel import KernelHost


@pytest.fixture(scope="session")
def btrfs() -> Iterator[Path]:
    """The root of a filesystem that many tests share."""
    with filesystems.btrfs(1024) as root:
        yield root


@pytest.fixture
def place(btrfs: Path, host: KernelHost) -> Iterator[Path]:
    """An empty directory of one's own on it."""
    place = btrfs / os.urandom(4).hex()
    place.mkdir(mode=0o700)
    yield place
    host.remove_tree(place)


@pytest.fixture
def driver(host: KernelHost, place: Path) -> BtrfsDriver:
    return BtrfsDriver(host, place, BtrfsOptions())
