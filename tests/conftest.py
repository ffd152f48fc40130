"""What every session of tests does: leaves out what needs root where there is none, and fails if anything is left behind."""

from __future__ import annotations

import os
from typing import Protocol

import pytest

from lamina.conformance.leaks import tear_down
from tests.leaks import Watch

WATCH: pytest.StashKey[Watch] = pytest.StashKey()
LEFT_OUT: pytest.StashKey[int] = pytest.StashKey()


class Worker(Protocol):
    """A process of pytest-xdist, as its controller knows it. The session is the controller's."""

    config: pytest.Config
    #: What the worker put into its own ``config.workeroutput``.
    workeroutput: dict[str, int]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        watch = config.stash[WATCH] = Watch()
        if config.option.basetemp is None:
            # Its own default is 20 characters longer, and the name of a socket has room for 108.
            config.option.basetemp = watch.directory / "tmp"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    needing = [item for item in items if item.get_closest_marker("root")]
    config.stash[LEFT_OUT] = len(needing)
    config.hook.pytest_deselected(items=needing)
    items[:] = [item for item in items if not item.get_closest_marker("root")]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Worker) -> None:
    node.config.stash[LEFT_OUT] = node.workeroutput.get("left_out", 0)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    told: dict[str, int] | None = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["left_out"] = session.config.stash.get(LEFT_OUT, 0)
        return
    watch = session.config.stash[WATCH]
    # The directory of temporary paths goes with the session's, below, or stays to be looked at.
    leaks = watch.leaks(allowed=frozenset({"tmp"}))
    watch.end()
    if leaks:
        _fail(session, leaks)
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        tear_down(watch.directory)


def _fail(session: pytest.Session, leaks: list[str]) -> None:
    report = pytest.TestReport(
        nodeid="the whole session",
        location=("tests/conftest.py", None, "the whole session"),
        keywords={},
        outcome="failed",
        longrepr="left behind on this machine:\n" + "\n".join(f"  {leak}" for leak in leaks),
        when="teardown",
    )
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.stats.setdefault("error", []).append(report)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    watch = config.stash.get(WATCH, None)
    if watch is not None and watch.directory.exists():
        terminalreporter.write_line(f"kept to be looked at: {watch.directory}")
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"left out: {left_out} tests that need root, and this is uid {os.geteuid()}; try: sudo make test"
        )
