"""The door of the suite: the options, the refusals, and what it does to the runs of others: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.conformance.leaks import left_behind
from tests.conformance.suite import run_pytest, run_suite

if TYPE_CHECKING:
    from pathlib import Path

#: One cheap case of most areas.
SAMPLE = ("LC03", "FS05", "AP06", "WH17", "DF18", "SC02", "QU01", "RB02", "CP01")


@pytest.mark.root
@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_a_good_driver_passes(driver: str, tmp_path: Path) -> None:
    outcome = run_suite(driver, tmp_path, *SAMPLE)

    assert outcome.status == pytest.ExitCode.OK, outcome.text
    assert outcome.passed == frozenset(SAMPLE)


@pytest.mark.root
@pytest.mark.slow
def test_two_processes_share_the_work(tmp_path: Path) -> None:
    outcome = run_suite("vfs", tmp_path, "LC01", "LC02", "LC18", options=["-n2"])

    assert outcome.status == pytest.ExitCode.OK, outcome.text
    assert outcome.passed == {"LC01", "LC02", "LC18"}


@pytest.mark.root
def test_the_header_says_what_is_graded_on_what(tmp_path: Path) -> None:
    outcome = run_suite("vfs", tmp_path, "LC01", options=["-v"])

    assert "lamina: driver vfs of lamina, kernel " in outcome.text
    assert f" at {tmp_path}" in outcome.text
    assert "lamina: capabilities: direct-apply, " in outcome.text
    assert "lamina: probe: may mount: ok" in outcome.text


@pytest.mark.root
def test_a_missing_capability_is_a_skip_that_names_it(tmp_path: Path) -> None:
    outcome = run_suite("overlay", tmp_path, "FS43")

    assert outcome.status == pytest.ExitCode.OK
    assert "does not declare the capability shared-hard-links" in outcome.text


@pytest.mark.root
def test_what_a_case_leaves_behind_is_its_failure_and_is_removed(tmp_path: Path) -> None:
    outcome = run_suite("leaves-mounts", tmp_path, "LC02")

    assert outcome.status == pytest.ExitCode.TESTS_FAILED
    assert "the case left things behind" in outcome.text
    assert left_behind(tmp_path) == []
    assert list((tmp_path / "stores").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--lamina-driver=nonesuch"], "driver 'nonesuch' cannot be found: known are "),
        (["--lamina-driver=needs-the-moon"], "cannot run here: the moon is up: looked, and saw clouds; wait for a clear night"),
        (["--lamina-driver=vfs", "--lamina-option=speed=high"], "option 'speed' of driver 'vfs': unknown"),
        (["--lamina-driver=vfs", "--lamina-option=speed"], "--lamina-option: 'speed' has no value"),
        (["--lamina-driver=vfs", "--lamina-root=/no/such/place"], "cannot run here"),
        ([], "which driver? give --lamina-driver NAME"),
    ],
    ids=["unknown", "unavailable", "unknown option", "option without value", "missing root", "none"],
)
def test_what_cannot_be_graded_is_a_usage_error(arguments: list[str], reason: str, tmp_path: Path) -> None:
    outcome = run_pytest(tmp_path, "--pyargs", "lamina.conformance", *arguments)

    assert outcome.status == pytest.ExitCode.USAGE_ERROR, outcome.text
    assert reason in outcome.text
    assert "Traceback" not in outcome.text


def test_the_runs_of_other_projects_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n"
        "def test_other():\n"
        "    loaded = sorted(name for name in sys.modules if name.startswith('lamina.'))\n"
        "    assert loaded == ['lamina.conformance', 'lamina.conformance.plugin', 'lamina.errors']\n"
    )

    outcome = run_pytest(tmp_path, "-W", "error")

    assert outcome.status == pytest.ExitCode.OK, outcome.text
    assert "lamina:" not in outcome.text


@pytest.mark.root
def test_a_contract_runs_in_a_tree_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import pytest\n"
        "from lamina.conformance import contracts\n"
        "from lamina.conformance.subject import Subject\n"
        "class Mine:\n"
        "    @pytest.fixture\n"
        "    def subject(self):\n"
        "        return Subject('loses-root-mode')\n"
        "class TestContent(Mine, contracts.ContentContract): ...\n"
    )

    outcome = run_pytest(tmp_path, "-k", "FS02 or FS03", "test_mine.py")

    assert outcome.passed == {"FS02"}, outcome.text
    assert outcome.failed == {"FS03"}
