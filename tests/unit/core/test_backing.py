from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.conformance.leaks import left_behind, tear_down
from lamina.errors import CommandFailedError, ConfigError, StoreBusyError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.store import Store

pytestmark = pytest.mark.root

SIZE = 256 << 20


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "store"
    tear_down(tmp_path)


def opened(root: Path, *, loop: int = 0) -> Store:
    return lamina.open(root, driver="btrfs", loop=loop)


def test_a_store_in_a_file_keeps_its_layers_there(root: Path) -> None:
    with opened(root, loop=SIZE) as store, store.fork() as work:
        (work.path / "file").write_text("text")
        layer = work.commit()

        assert store.info().filesystem == "btrfs"
        assert [snapshot.key for snapshot in store.layers.list()] == [layer.key]

    status = (root / "backing.img").stat()
    assert status.st_size == SIZE
    assert status.st_blocks * 512 < SIZE
    assert status.st_mode & 0o777 == 0o600


def test_it_is_attached_again_when_the_machine_has_let_go_of_it(root: Path) -> None:
    with opened(root, loop=SIZE) as store, store.fork() as work:
        (work.path / "file").write_text("text")
        layer = work.commit()
    subprocess.run(["umount", root / "driver"], check=True)

    with lamina.open(root) as store, store.fork(layer.key) as work:
        assert (work.path / "file").read_text() == "text"


def test_it_is_mounted_once_however_often_the_store_is_opened(root: Path) -> None:
    opened(root, loop=SIZE).close()
    opened(root).close()

    assert len([thing for thing in left_behind(root.parent) if thing.startswith("btrfs mounted")]) == 1


def test_it_is_made_once_also_when_asked_for_again(root: Path) -> None:
    opened(root, loop=SIZE).close()
    before = (root / "backing.img").stat()

    opened(root, loop=2 * SIZE).close()

    assert (root / "backing.img").stat().st_ino == before.st_ino
    assert (root / "backing.img").stat().st_size == SIZE


def test_destroying_leaves_nothing(root: Path) -> None:
    store = opened(root, loop=SIZE)
    with store.fork() as work:
        layer = work.commit()
    store.graph.prepare("active", layer.key)

    store.destroy()

    assert not root.exists()
    assert left_behind(root.parent) == []


def test_what_is_mounted_is_not_destroyed_unless_by_force(root: Path) -> None:
    store = opened(root, loop=SIZE)
    store.graph.prepare("active")
    place = store.mounts.mount("active")

    with pytest.raises(StoreBusyError, match=str(place)):
        store.destroy()
    (place / "file").touch()

    store.destroy(force=True)
    assert not root.exists()
    assert left_behind(root.parent) == []


def test_a_store_without_a_file_is_destroyed_too_and_what_is_not_its_own_stays(root: Path) -> None:
    store = lamina.open(root, driver="vfs")
    store.graph.prepare("active")
    (root / "mine").touch()

    store.destroy()

    assert os.listdir(root) == ["mine"]


def test_a_size_that_is_too_small_is_refused_and_leaves_no_file(root: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"mkfs\.btrfs"):
        opened(root, loop=1 << 20)

    assert [name for name in os.listdir(root) if name != "lock"] == []


def test_storage_that_no_store_came_to_use_goes_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lamina.store._choose_driver", fail)
    with pytest.raises(KeyboardInterrupt):
        opened(root, loop=SIZE)

    assert left_behind(root.parent) == []
    assert not (root / "backing.img").exists()


def test_storage_that_a_crash_left_is_used(root: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("lamina.store._create", lambda *_: os._exit(9))
                opened(root, loop=SIZE)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert (root / "backing.img").exists()

    with opened(root, loop=SIZE) as store:
        store.destroy()
    assert left_behind(root.parent) == []


@pytest.mark.parametrize(("driver", "error"), [("vfs", UnsupportedError), ("auto", ConfigError)])
def test_a_driver_that_needs_no_file_is_refused_one_and_nothing_is_left(root: Path, driver: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="--"):
        lamina.open(root, driver=driver, loop=SIZE)

    assert not root.exists()
