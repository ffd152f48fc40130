"""The wheel holds what a user needs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
ROOTS = {"core": "lamina", "drivers": "lamina_drivers", "contrib": "lamina_contrib"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place], cwd=CHECKOUT, check=True)
    (built,) = place.glob("lamina-*-py3-none-any.whl")
    return zipfile.Path(zipfile.ZipFile(built))


def test_it_holds_every_file_of_the_three_packages_and_no_other(wheel: zipfile.Path) -> None:
    in_tree = {
        str(file.relative_to(CHECKOUT / root))
        for root, package in ROOTS.items()
        for file in (CHECKOUT / root / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }

    in_wheel = {name for name in wheel.root.namelist() if ".dist-info/" not in name and not name.endswith("/")}

    assert in_wheel == in_tree


@pytest.mark.parametrize(
    "name",
    [
        *(f"{package}/py.typed" for package in ROOTS.values()),
        *(f"{package}/__init__.py" for package in ROOTS.values()),
        "lamina/conformance/plugin.py",
        "lamina/conformance/test_driver.py",
    ],
)
def test_it_holds_what_others_count_on(wheel: zipfile.Path, name: str) -> None:
    assert (wheel / name).is_file()


def test_it_announces_the_command_the_drivers_and_the_suite(wheel: zipfile.Path) -> None:
    (metadata,) = (entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info"))
    announced = ConfigParser()
    announced.read_string((metadata / "entry_points.txt").read_text())

    assert dict(announced["console_scripts"]) == {"lamina": "lamina.cli:main"}
    assert {"overlay", "vfs"} <= set(announced["lamina"])
    assert dict(announced["pytest11"]) == {"lamina": "lamina.conformance.plugin"}
    assert "Apache License" in (metadata / "licenses/LICENSE").read_text()
