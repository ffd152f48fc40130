"""What plugins can do around the layer operations, and what they cannot break."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.errors import PluginError, SnapshotNotFoundError
from lamina.hooks import hookimpl
from lamina.model import Mount
from lamina.plugins import Plugins, load

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from lamina.model import Snapshot

pytestmark = pytest.mark.root


def plugins_with(plugin: object) -> Plugins:
    plugins = load()
    plugins.register(plugin, "test", "test-dist")
    assert plugins.broken == ()
    return plugins


def test_a_wrapper_that_raises_stops_the_operation_and_leaves_nothing(tmp_path: Path) -> None:
    class Veto:
        @hookimpl(wrapper=True)
        def lamina_layer_prepare(self, snapshot: Snapshot) -> Generator[None, Snapshot, Snapshot]:
            if snapshot.labels.get("team") != "a":
                raise PluginError("test", "only for team a")
            return (yield)

    with lamina.open(tmp_path, driver="vfs", plugins=plugins_with(Veto())) as store:
        with pytest.raises(PluginError, match="only for team a"):
            store.graph.prepare("b")
        store.graph.prepare("a", labels={"team": "a"})

        assert [snapshot.key for snapshot in store.graph.walk()] == ["a"]
        assert store.check() == []


def test_a_wrapper_sees_errors_of_the_driver_unchanged(tmp_path: Path) -> None:
    seen: list[BaseException] = []

    class Watcher:
        @hookimpl(wrapper=True)
        def lamina_layer_commit(self) -> Generator[None, Snapshot, Snapshot]:
            try:
                return (yield)
            except OSError as error:
                seen.append(error)
                raise

    with lamina.open(tmp_path, driver="vfs", plugins=plugins_with(Watcher())) as store:
        failure = OSError(5, "Input/output error")

        def fail(*_args: object, **_kwargs: object) -> None:
            raise failure

        store.driver.commit = fail  # type: ignore[method-assign]
        store.graph.prepare("a")
        with pytest.raises(OSError, match="Input/output") as raised:
            store.graph.commit("b", "a")

        assert raised.value is failure
        assert seen == [failure]
        assert store.graph.stat("a").kind == "active"
        with pytest.raises(SnapshotNotFoundError):
            store.graph.stat("b")


def test_a_wrapper_can_change_what_gets_mounted(tmp_path: Path) -> None:
    class Careful:
        @hookimpl(wrapper=True)
        def lamina_layer_mounts(self) -> Generator[None, tuple[Mount, ...], tuple[Mount, ...]]:
            mounts = yield
            return tuple(Mount(mount.type, mount.source, (*mount.options, "nosuid")) for mount in mounts)

    with lamina.open(tmp_path, driver="vfs", plugins=plugins_with(Careful())) as store:
        store.graph.prepare("a")

        assert "nosuid" in store.graph.mounts("a")[0].options


def test_a_notice_that_raises_is_logged_and_goes_no_further(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    class Clumsy:
        @hookimpl
        def lamina_layer_prepared(self, snapshot: Snapshot) -> None:
            told.append(snapshot.key)
            raise RuntimeError("oops")

        @hookimpl
        def lamina_layer_removed(self, snapshot: Snapshot) -> None:
            told.append(f"-{snapshot.key}")

    with lamina.open(tmp_path, driver="vfs", plugins=plugins_with(Clumsy())) as store, caplog.at_level(logging.ERROR, "lamina"):
        store.graph.prepare("a")
        store.graph.remove("a")

    assert told == ["a", "-a"]
    assert "lamina_layer_prepared" in caplog.text


def test_two_stores_in_one_process_do_not_answer_each_other(tmp_path: Path) -> None:
    plugins = load()
    with (
        lamina.open(tmp_path / "1", driver="vfs", plugins=plugins) as first,
        lamina.open(tmp_path / "2", driver="vfs", plugins=plugins) as second,
    ):
        first.graph.prepare("a")
        second.graph.prepare("a")

        assert first.graph.mounts("a") != second.graph.mounts("a")


def test_the_trace_plugin_records_operations_and_notices(tmp_path: Path) -> None:
    from lamina_contrib.trace import recording

    with lamina.open(tmp_path, driver="vfs") as store, recording() as steps:
        store.graph.prepare("a")
        store.graph.commit("b", "a")

    assert [step.operation for step in steps] == ["prepare", "prepared", "commit", "committed"]
    assert all(step.seconds is not None for step in steps if not step.operation.endswith("ed"))
