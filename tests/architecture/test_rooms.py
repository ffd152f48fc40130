"""The contracts of import-linter catch what they are there for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
ROOTS = ("core", "drivers", "contrib")

pytestmark = pytest.mark.slow

PLANTED = {
    "core/lamina/model.py": ("import lamina_drivers.vfs", "contrib stands on drivers, drivers on core"),
    "core/lamina/diff/limits.py": ("from lamina import store", "inside the core, each room stands on those below it"),
    "drivers/lamina_drivers/vfs/options.py": ("import lamina_drivers.overlay", "no driver knows another"),
    "drivers/lamina_drivers/vfs/driver.py": ("import subprocess", "only lamina.host calls the kernel and starts programs"),
    "core/lamina/store.py": ("import pluggy", "only lamina.hooks and lamina.plugins know pluggy"),
    "core/lamina/graph.py": ("import click", "only lamina.cli prints"),
    "core/lamina/layers.py": ("import apsw", "only lamina.metadata speaks SQL"),
}


def lint(place: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the sources in ``place``."""
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(place / root) for root in ROOTS)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_the_rooms_stand_in_order_and_every_contract_can_fail(tmp_path: Path) -> None:
    for root in ROOTS:
        shutil.copytree(CHECKOUT / root, tmp_path / root, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)

    before = lint(tmp_path)
    for name, (line, _) in PLANTED.items():
        with (tmp_path / name).open("a") as source:
            source.write(f"{line}\n")
    after = lint(tmp_path)

    assert before.returncode == 0, before.stdout
    assert after.returncode == 1
    kept = {line.removesuffix(" KEPT") for line in after.stdout.splitlines() if line.endswith(" KEPT")}
    broken = {line.removesuffix(" BROKEN") for line in after.stdout.splitlines() if line.endswith(" BROKEN")}
    assert (kept, broken) == (set(), {contract for _, contract in PLANTED.values()})
