"""Opening stores, and forks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.errors import (
    ConfigError,
    DriverNotFoundError,
    DriverUnavailableError,
    ImageExistsError,
    ImageNotFoundError,
    MountBusyError,
    SnapshotNotFoundError,
    StoreDriverError,
    StoreNotFoundError,
)
from lamina.model import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.store import Store

pytestmark = pytest.mark.root


@pytest.fixture(params=["vfs", "overlay"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with lamina.open(tmp_path / "store", driver=request.param) as opened:
        tree = tmp_path / "tree"
        (tree / "etc").mkdir(parents=True)
        (tree / "etc/hosts").write_text("127.0.0.1 localhost\n")
        opened.images.import_tree(tree, "base")
        yield opened


def mounted_below(path: Path) -> int:
    with open("/proc/self/mountinfo") as table:
        return sum(f" {path}/" in line for line in table)


def test_an_absent_store_is_not_made_against_the_will(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError):
        lamina.open(tmp_path / "none", create=False)

    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("driver", "error"), [("moon", DriverNotFoundError), ("overlay", DriverUnavailableError)])
def test_a_store_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, driver: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lamina.host.kernel import KernelHost

    monkeypatch.setattr(KernelHost, "kernel_filesystems", lambda _self: frozenset({"ext4"}))

    with pytest.raises(error):
        lamina.open(tmp_path / "deep/er", driver=driver)

    assert list(tmp_path.iterdir()) == []


def test_options_without_a_driver_are_nobodys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--driver"):
        lamina.open(tmp_path / "store", options={"mount_options": "volatile"})

    assert list(tmp_path.iterdir()) == []


def test_a_store_remembers_its_driver(tmp_path: Path) -> None:
    lamina.open(tmp_path, driver="vfs").close()

    with lamina.open(tmp_path) as store:
        assert store.driver.name == "vfs"
    with pytest.raises(StoreDriverError, match="--driver vfs"):
        lamina.open(tmp_path, driver="overlay")


def test_many_who_open_a_new_store_at_once_make_one(tmp_path: Path) -> None:
    drivers: list[str] = []

    def open_it(wish: str) -> None:
        with lamina.open(tmp_path / "store") as opened:
            opened.graph.prepare(f"by-{wish}")
            drivers.append(opened.driver.name)

    threads = [threading.Thread(target=open_it, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(drivers)) == 1
    with lamina.open(tmp_path / "store") as opened:
        assert len(list(opened.graph.walk())) == 6


def test_a_fork_disappears_with_all_that_was_written(store: Store) -> None:
    with store.fork("base") as work:
        (work.path / "etc/motd").write_text("hello")
        (work.path / "etc/hosts").unlink()
        changes = {change.path: change.kind for change in work.changes()}
        key, path = work.key, work.path

    assert changes == {b"etc": ChangeKind.MODIFIED, b"etc/motd": ChangeKind.ADDED, b"etc/hosts": ChangeKind.DELETED}
    assert not path.exists()
    with pytest.raises(SnapshotNotFoundError):
        store.graph.stat(key)
    assert store.check() == []
    assert mounted_below(store.root) == 0


def test_a_committed_fork_becomes_an_image(store: Store) -> None:
    with store.fork("base") as work:
        (work.path / "etc/motd").write_text("hello")
        layer = work.commit("base-hello")

    assert store.images.get("base-hello").layer == layer.key
    with store.fork("base-hello") as work:
        assert (work.path / "etc/motd").read_text() == "hello"
        assert (work.path / "etc/hosts").exists()
    with store.fork("base") as work:
        assert not (work.path / "etc/motd").exists()
    assert store.check() == []


def test_a_fork_of_nothing_becomes_a_layer_without_a_name(store: Store) -> None:
    with store.fork() as work:
        (work.path / "file").write_text("x")
        layer = work.commit()

    with store.fork(layer.key) as work:
        assert (work.path / "file").read_text() == "x"


def test_a_fork_ends_when_its_block_fails(store: Store) -> None:
    def fail_inside() -> None:
        with store.fork("base") as work:
            (work.path / "etc/motd").write_text("hello")
            raise KeyError(str(work.path))

    with pytest.raises(KeyError):
        fail_inside()

    assert [snapshot.kind for snapshot in store.graph.walk()] == ["committed"]
    assert store.check() == []
    assert mounted_below(store.root) == 0


def test_a_fork_of_what_does_not_exist_names_it(store: Store) -> None:
    with pytest.raises(ImageNotFoundError, match="nothing-of-that-name"), store.fork("nothing-of-that-name"):
        pass


def test_committing_over_a_name_leaves_the_fork_as_it_was(store: Store) -> None:
    with store.fork("base") as work:
        (work.path / "etc/motd").write_text("hello")
        with pytest.raises(ImageExistsError):
            work.commit("base")
        assert (work.path / "etc/motd").read_text() == "hello"
        work.commit("other")

    assert {name for image in store.images.list() for name in image.names} == {"base:latest", "other:latest"}


def test_committing_what_a_process_uses_names_it(store: Store) -> None:
    with store.fork("base") as work:
        with open(work.path / "etc/hosts"), pytest.raises(MountBusyError, match="pid"):
            work.commit("other")
        work.commit("other")


def test_the_same_change_is_the_same_layer_only_once(store: Store) -> None:
    def change() -> str:
        with store.fork("base") as work:
            made = work.path / "etc/motd"
            made.write_text("hello")
            for path in (made, work.path / "etc"):
                import os

                os.utime(path, ns=(0, 0))
            return work.commit().key

    assert change() == change()
    assert store.check() == []


def test_usage_counts_each_byte_once(store: Store) -> None:
    store.containers.create("base")
    store.containers.create("base")

    usage = store.usage()

    (base,) = (row for row in usage.snapshots if row.kind == "committed")
    assert base.dependents == 3
    assert usage.saved == (2 * base.usage.size if usage.shares_data else 0)
    assert usage.unneeded == 0
    assert usage.layers == base.usage


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    store.close()

    with pytest.raises(ValueError, match="closed"):
        store.graph.prepare("a")
