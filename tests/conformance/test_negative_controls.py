"""The suite finds what is wrong with a driver: each broken one fails in the cases that are about its flaw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.broken_drivers import FLAWS, Flaw
from tests.conformance.suite import run_suite

if TYPE_CHECKING:
    from pathlib import Path

#: Cases that have nothing to do with any flaw.
UNCONCERNED = frozenset({"LC01", "LC15", "LC18", "LC33"})


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.driver.name)
def test_a_broken_driver_fails_where_it_is_broken(flaw: Flaw, tmp_path: Path) -> None:
    outcome = run_suite(flaw.driver.name, tmp_path, *sorted(flaw.found_by | UNCONCERNED))

    assert outcome.failed == flaw.found_by, outcome.text
    assert outcome.passed >= UNCONCERNED
    assert outcome.status == pytest.ExitCode.TESTS_FAILED
