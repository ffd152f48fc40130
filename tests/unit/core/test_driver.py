from __future__ import annotations

from lamina.driver import Check, ProbeReport
from lamina.errors import ToolMissingError


def refuse() -> None:
    raise PermissionError(1, "Operation not permitted")


def miss() -> None:
    raise ToolMissingError("zfs", "zfsutils-linux")


def test_attempt_that_works_has_evidence_and_needs_no_remedy() -> None:
    check = Check.attempt("works", "doing nothing", lambda: None, "unneeded")

    assert check == Check("works", ok=True, evidence="doing nothing: done")


def test_attempt_that_fails_tells_what_was_answered() -> None:
    check = Check.attempt("mounts", "mounting", refuse, "run as root", required=False)

    assert check == Check("mounts", ok=False, evidence="mounting: Operation not permitted", remedy="run as root", required=False)
    assert "zfs" in Check.attempt("tool", "asking", miss, "install it").evidence


def test_report_fails_by_required_checks_alone() -> None:
    lacking = Check("reflinks", ok=False, evidence="none", required=False)
    broken = Check("kernel", ok=False, evidence="too old")

    assert ProbeReport("acme", (lacking,)).ok
    assert ProbeReport("acme", (lacking, broken)).failures == (broken,)
