"""Running the conformance suite as a stranger does: in a process and a directory of its own, with a plugin beside lamina."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
CASE = re.compile(r"^(PASSED|FAILED|ERROR|SKIPPED) \S*::test_([A-Z]{2}\d\d)[a-z]?_", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    status: int
    text: str

    @property
    def passed(self) -> frozenset[str]:
        """Ids of the cases of which at least one variant passed."""
        return self._cases("PASSED")

    @property
    def failed(self) -> frozenset[str]:
        """Ids of the cases of which at least one variant failed, or left something behind."""
        return self._cases("FAILED") | self._cases("ERROR")

    def _cases(self, outcome: str) -> frozenset[str]:
        return frozenset(case for found, case in CASE.findall(self.text) if found == outcome)


def run_suite(driver: str, directory: Path, *cases: str, options: Sequence[str] = ()) -> Outcome:
    """Run some cases, by id, on a driver, which may be a broken one; its stores are made in ``directory``."""
    place = directory / "stores"
    place.mkdir(exist_ok=True)
    asked = [f"--lamina-driver={driver}", f"--lamina-root={place}", "-k", " or ".join(f"test_{case}" for case in cases)]
    return run_pytest(directory, "--pyargs", "lamina.conformance", *asked, *options)


def run_pytest(directory: Path, *arguments: str) -> Outcome:
    """Run pytest in ``directory``, with the broken drivers installed."""
    install_broken_drivers(directory)
    search = os.pathsep.join([str(directory), str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rA",
            "--tb=line",
            "-p",
            "no:cacheprovider",
            f"--basetemp={directory / 'tmp'}",
            *arguments,
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return Outcome(done.returncode, done.stdout + done.stderr)


def install_broken_drivers(directory: Path) -> None:
    """Lay down what an installed distribution leaves behind, as far as entry points go."""
    installed = directory / "broken_drivers-1.dist-info"
    installed.mkdir(exist_ok=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-drivers\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[lamina]\nbroken = broken_drivers\n")
