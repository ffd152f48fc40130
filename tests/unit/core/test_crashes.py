"""A process that is killed in the middle of an operation leaves the state before or after it, and nothing else."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.errors import SnapshotNotFoundError
from lamina.plugins import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamina.store import Store

pytestmark = pytest.mark.root

DRIVERS = ("vfs", "overlay")


def killed(root: Path, driver: str, method: str, when: str, action: Callable[[Store], object]) -> None:
    """Run ``action`` in another process, which is killed before or after the driver's ``method`` did its work."""
    child = os.fork()
    if child == 0:
        try:
            with lamina.open(root, driver=driver) as store:
                original = getattr(store.driver, method)

                def dying(*args: object, **kwargs: object) -> None:
                    if when == "after":
                        original(*args, **kwargs)
                    os.kill(os.getpid(), signal.SIGKILL)

                setattr(store.driver, method, dying)
                action(store)
        finally:
            os._exit(1)  # reached only if the method was never called
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def prepare(key: str, store: Store) -> None:
    store.graph.prepare(key, "base")


def keys(store: Store) -> list[str]:
    return [snapshot.key for snapshot in store.graph.walk()]


@pytest.fixture(params=DRIVERS)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    driver: str = request.param
    with lamina.open(tmp_path / "store", driver=driver) as store:
        store.graph.prepare("draft")
        store.graph.commit("base", "draft")
        store.graph.prepare("work", "base")
    return tmp_path / "store", driver


def settled(root: Path) -> list[str]:
    """Reopen the store, require that nothing is left over, and return the keys."""
    with lamina.open(root) as store:
        assert store.check() == []
        with store._database.reading() as tx:
            assert tx.rows("SELECT operation FROM intents") == []
            assert tx.rows("SELECT id FROM snapshots WHERE state <> 'ready'") == []
        return keys(store)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_preparing(root: tuple[Path, str], when: str) -> None:
    killed(*root, "prepare", when, lambda store: store.graph.prepare("new", "base"))

    assert settled(root[0]) == ["base", "work"]
    with lamina.open(root[0]) as store:
        store.graph.prepare("new", "base")


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_committing(root: tuple[Path, str], when: str) -> None:
    killed(*root, "commit", when, lambda store: store.graph.commit("top", "work"))

    assert settled(root[0]) == ["base", "work"]
    with lamina.open(root[0]) as store:
        store.graph.commit("top", "work")
        assert keys(store) == ["base", "top"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_removing(root: tuple[Path, str], when: str) -> None:
    killed(*root, "remove", when, lambda store: store.graph.remove("work"))

    assert settled(root[0]) == ["base"]
    with lamina.open(root[0]) as store:
        store.graph.prepare("work", "base")


def test_killed_inside_a_fork(root: tuple[Path, str]) -> None:
    def die_inside(store: Store) -> None:
        with store.fork("base") as work:
            (work.path / "file").write_text("lost")
            os.kill(os.getpid(), signal.SIGKILL)

    killed(*root, "close", "before", die_inside)

    assert settled(root[0]) == ["base", "work"]
    with open("/proc/self/mountinfo") as table:
        assert str(root[0]) not in table.read()


def test_killed_while_recovering(root: tuple[Path, str]) -> None:
    killed(*root, "remove", "before", lambda store: store.graph.remove("work"))
    child = os.fork()
    if child == 0:
        from lamina_drivers.overlay.driver import OverlayDriver
        from lamina_drivers.vfs.driver import VfsDriver

        def dying(_self: object, _id: int) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        for kind in (OverlayDriver, VfsDriver):
            setattr(kind, "remove", dying)  # noqa: B010  mypy would object to the assignment
        try:
            lamina.open(root[0])
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    assert settled(root[0]) == ["base"]


def test_one_operation_that_cannot_be_completed_stops_nothing_else(
    root: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, driver = root
    for key in ("one", "two", "three"):
        killed(path, driver, "prepare", "after", partial(prepare, key))
    stubborn = load().driver(driver)
    original = stubborn.remove
    refused: list[int] = []

    def refuse_first(self: object, id: int) -> None:
        if not refused or id in refused:
            refused.append(id)
            raise OSError(16, "Device or resource busy", f"#{id}")
        original(self, id)  # type: ignore[arg-type]  # a method, called as a function

    # Left by the last of the three alone: each opening has completed the one before.
    monkeypatch.setattr(stubborn, "remove", refuse_first)
    with lamina.open(path) as store:
        assert keys(store) == ["base", "work"]
        store.graph.prepare("three", "base")
        findings = store.check()

    assert [finding.mendable for finding in findings] == [True]
    monkeypatch.undo()
    with lamina.open(path) as store:
        assert len(store.repair(dry_run=True)) == 1
        assert len(store.repair()) == 1
        assert store.repair() == []
        assert store.check() == []


def test_a_living_owner_is_left_alone(root: tuple[Path, str]) -> None:
    path, _ = root
    with lamina.open(path) as first:
        with first.fork("base") as work:
            with lamina.open(path) as second:
                assert work.key in keys(second)
            assert work.path.is_dir()
        with pytest.raises(SnapshotNotFoundError):
            first.graph.stat(work.key)
