"""What the documents show works as it is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.tutorial import BLOCK, TUTORIAL, rerun
from tests.e2e import material

README = Path(__file__).parents[2] / "README.md"

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]


def block(language: str) -> str:
    """The block of the README that says of itself that it runs here."""
    found = re.findall(rf"<!-- runs in tests/docs[^>]*-->\n```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``debian.tar`` in it, and ``lamina`` on the path with a store of its own."""
    (tmp_path / "debian.tar").symlink_to(material.debian_root())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMINA_ROOT", str(tmp_path / "store"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return tmp_path


def test_the_readme_s_python_example_runs(place: Path) -> None:
    example = block("python").replace("/var/lib/lamina", str(place / "store"))

    shown = subprocess.run([sys.executable, "-W", "error", "-c", example], capture_output=True, text=True, check=False)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "etc/motd" in shown.stdout
    assert "debian:hello" in shown.stdout.splitlines()[-1]


def test_the_readme_s_shell_session_runs(place: Path) -> None:
    shown = subprocess.run(["bash", "-euo", "pipefail", "-c", block("sh")], capture_output=True, text=True, check=False)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "srv/index.html" in shown.stdout
    assert material.run("skopeo", "inspect", "oci-archive:web.tar")


def test_the_tutorial_s_commands_print_what_it_shows(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMINA_ROOT")
    (place / "tutorial").mkdir()
    text = TUTORIAL.read_text()

    again = rerun(text, place / "tutorial")

    assert [settled(shown) for shown in BLOCK.findall(again)] == [settled(shown) for shown in BLOCK.findall(text)]


def settled(shown: str) -> str:
    """Replace what differs from run to run, or from one filesystem to the next: digests, ids, times, sizes and columns."""
    shown = re.sub(r"\b[0-9a-f]{12,64}\b", "0123456789abcdef", shown)
    shown = re.sub(r"\d{4}-\d\d-\d\d(?: |T)\d\d:\d\d(?::\d\d)?", "2000-01-01 00:00", shown)
    shown = re.sub(r"[\d.]+ [KMGT]?i?B\b", "1 B", shown)
    return re.sub(r" {2,}|[─━]+", " ", shown)
