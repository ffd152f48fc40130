"""The template is used as its README says: copied, renamed by the commands given there, found through its entry point, graded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).parents[2] / "contrib" / "driver-template"


def commands(title: str) -> list[str]:
    """The commands of the step ``title`` in the README."""
    step = (TEMPLATE / "README.md").read_text().split(f"**{title}", 1)[1]
    block = step.split("```console\n", 1)[1].split("```", 1)[0]
    return [line.strip().removeprefix("$ ") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the template under the name that its README chooses."""
    place = tmp_path_factory.mktemp("projects")
    shutil.copytree(TEMPLATE, place / "driver-template", ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    subprocess.run(["bash", "-ec", "\n".join(commands("Copy and rename"))], cwd=place, check=True)
    return place / "lamina-acme"


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as if ``project`` were installed: with its source and what pip would record of its entry points."""
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    record = project / f"{declared['name'].replace('-', '_')}-{declared['version']}.dist-info"
    record.mkdir(exist_ok=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: {declared['version']}\n")
    points = "".join(f"{name} = {module}\n" for name, module in declared["entry-points"]["lamina"].items())
    (record / "entry_points.txt").write_text(f"[lamina]\n{points}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project / "src"), str(project)])}
    return subprocess.run([sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_nothing_of_the_old_name_is_left_after_renaming(renamed: Path) -> None:
    assert [path for path in renamed.rglob("*") if "example" in path.name.lower()] == []
    assert [path for path in renamed.rglob("*.[pt]*") if path.is_file() and "example" in path.read_text().lower()] == []


def test_driver_is_found_through_its_entry_point(renamed: Path) -> None:
    shown = run(renamed, "-c", "from lamina import plugins; print(plugins.load().distribution('acme'))")

    assert shown.stdout == "lamina-acme\n", shown.stderr


def test_template_is_typed(renamed: Path) -> None:
    checked = run(renamed, "-m", "mypy", "--strict", "src", "tests")

    assert checked.returncode == 0, checked.stdout


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_template_keeps_the_contracts_that_say_most_about_a_driver(renamed: Path) -> None:
    """All contracts are run on the built-in drivers, of which one works like the template."""
    graded = run(renamed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "Lifecycle or Recovery or Capabilities")

    assert graded.returncode == 0, graded.stdout
    assert " passed" in graded.stdout
