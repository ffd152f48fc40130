"""Real images on real stores, for the tests that show that the parts are a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import material
from tests.e2e.command import Command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.material import Material

#: With pytest-xdist, one process for each driver: the image is loaded once on each.
DRIVERS = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("overlay", "vfs")]


@pytest.fixture(scope="session")
def debian() -> Material:
    """A real Debian image of four layers."""
    return material.debian()


@pytest.fixture(scope="session")
def unpacked(debian: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What umoci makes of that image: the yardstick."""
    target = tmp_path_factory.mktemp("umoci") / "rootfs"
    material.run("umoci", "raw", "unpack", "--image", f"{debian.layout}:debian", target)
    return target


@pytest.fixture(scope="session", params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    """Each built-in driver in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def stocked(driver: str, debian: Material, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A store that holds that image as ``debian``. Tests leave it as they found it.

    It does without waiting for the disk, since nothing here pulls a plug.
    """
    lamina = Command(tmp_path_factory.mktemp("store") / driver, driver)
    lamina("image", "load", "--durability=relaxed", f"oci:{debian.layout}:debian", "-t", "debian")
    yield lamina
    assert lamina.json("container", "list") == []
    assert lamina.json("store", "check") == []


@pytest.fixture
def lamina(driver: str, tmp_path: Path) -> Iterator[Command]:
    """An empty store of a driver."""
    yield (lamina := Command(tmp_path / "store", driver))
    if lamina.root.exists():
        assert lamina.json("store", "check") == []
