from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from lamina.driver import StoredObject
from lamina.model import Usage
from lamina.testing.trees import assert_same_tree
from lamina_drivers.btrfs import subvolumes
from lamina_drivers.btrfs.driver import BtrfsDriver
from lamina_drivers.btrfs.options import BtrfsOptions
from tests.killing import killed_at

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.host.kernel import KernelHost
    from tests.unit.drivers.conftest import Show

pytestmark = pytest.mark.root

MEGABYTE = 2**20


def make_subvolume(path: Path) -> None:
    """As somebody does it who works in a container."""
    subprocess.run(["btrfs", "--quiet", "subvolume", "create", path], check=True)


def test_empty_tree_is_0755_whatever_the_umask(driver: BtrfsDriver) -> None:
    before = os.umask(0o077)
    try:
        driver.prepare(1, ())
    finally:
        os.umask(before)

    assert stat.S_IMODE(driver.apply_target(1, ()).directory.stat().st_mode) == 0o755


def test_a_layer_refuses_to_be_written_to_also_where_it_lies(driver: BtrfsDriver) -> None:
    driver.prepare(1, ())
    driver.commit(1, (), durable=False)

    with pytest.raises(OSError, match="Read-only file system"):
        (driver.apply_target(1, ()).directory / "file").touch()


def test_a_commit_that_never_came_to_its_record_leaves_a_writable_snapshot(driver: BtrfsDriver, show: Show) -> None:
    driver.prepare(1, ())
    driver.commit(1, (), durable=True)

    with show(driver, 1) as tree:
        (tree / "file").touch()


def test_a_child_shares_its_parents_blocks_and_knows_its_parent(driver: BtrfsDriver, show: Show, place: Path) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "file").write_bytes(os.urandom(MEGABYTE))
    driver.commit(1, (), durable=True)

    driver.prepare(2, (1,))

    parent, child = (subvolumes.library().subvolume_info(str(place / name)) for name in ("1", "2"))
    assert child.parent_uuid == parent.uuid


def test_a_subvolume_inside_becomes_a_directory_at_the_commit(driver: BtrfsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "sub").mkdir()
        make_subvolume(tree / "sub/outer")
        make_subvolume(tree / "sub/outer/inner")
        (tree / "sub/outer/inner/file").write_text("kept")
        subvolumes.set_read_only(tree / "sub/outer/inner", read_only=True)
        os.utime(tree / "sub", ns=(0, 1))

    driver.commit(1, (), durable=False)
    driver.prepare(2, (1,))

    with show(driver, 1, writable=False) as parent, show(driver, 2, (1,)) as child:
        assert (child / "sub/outer/inner/file").read_text() == "kept"
        assert (child / "sub").stat().st_mtime_ns == 1
        assert_same_tree(parent, child)


def test_a_snapshot_goes_with_the_subvolumes_inside_read_only_or_not(driver: BtrfsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        make_subvolume(tree / "outer")
        make_subvolume(tree / "outer/inner")
        subvolumes.set_read_only(tree / "outer/inner", read_only=True)
        subvolumes.set_read_only(tree / "outer", read_only=True)

    driver.remove(1)
    driver.remove(1)

    assert list(driver.objects()) == []


def test_preparing_again_after_a_kill_at_any_step_gives_the_parents_tree(driver: BtrfsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "file").write_text("text")
    driver.commit(1, (), durable=False)
    step = 0

    while killed_at(step, lambda: driver.prepare(2, (1,))):
        driver.prepare(2, (1,))
        with show(driver, 2, (1,)) as child:
            assert os.listdir(child) == ["file"]
            (child / "leftover").touch()
        step += 1

    assert step >= 2
    assert [thing.id for thing in driver.objects()] == [1, 2]


def test_what_cut_short_attempts_left_is_told_and_goes_with_the_snapshot(driver: BtrfsDriver, place: Path) -> None:
    for name in ("new-7", "old-7"):
        subvolumes.create(place / name)
    driver.prepare(8, ())

    assert set(driver.objects()) == {
        StoredObject(7, str(place / "new-7"), whole=False),
        StoredObject(7, str(place / "old-7"), whole=False),
        StoredObject(8, str(place / "8")),
    }
    driver.remove(7)
    assert [thing.id for thing in driver.objects()] == [8]


def test_a_look_that_a_crash_left_goes_at_the_next_start(driver: BtrfsDriver, place: Path, host: KernelHost) -> None:
    driver.prepare(7, ())
    subvolumes.snapshot(place / "7", place / "looks/7-abc", read_only=True)
    assert StoredObject(7, str(place / "looks/7-abc"), whole=False) in driver.objects()

    again = BtrfsDriver(host, place, BtrfsOptions())

    assert list(again.objects()) == [StoredObject(7, str(place / "7"))]


def test_what_is_no_snapshot_is_told_as_unknown(driver: BtrfsDriver, place: Path) -> None:
    (place / "007").mkdir()

    assert [thing.id for thing in driver.objects()] == [None]


def test_making_that_fails_leaves_nothing(driver: BtrfsDriver) -> None:
    with pytest.raises(FileNotFoundError):
        driver.prepare(2, (1,))

    assert list(driver.objects()) == []


def test_usage_is_what_was_written_on_top_and_holes_are_not(driver: BtrfsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "big").write_bytes(os.urandom(8 * MEGABYTE))
    driver.commit(1, (), durable=True)
    driver.prepare(2, (1,))
    assert driver.usage(2, (1,)) == Usage(0, 0)

    with show(driver, 2, (1,)) as tree:
        (tree / "new").write_bytes(os.urandom(MEGABYTE))
        with (tree / "big").open("r+b") as file:
            file.write(os.urandom(4096))
        with (tree / "hole").open("wb") as file:
            file.truncate(2**30)
        assert driver.usage(2, (1,)) == Usage(MEGABYTE + 4096, 2)


def test_usage_where_btrfs_cannot_tell_is_how_the_tree_grew(driver: BtrfsDriver, show: Show, place: Path) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "big").write_bytes(os.urandom(8 * MEGABYTE))
    driver.prepare(2, (1,))
    # The kernel compares with nothing that may change meanwhile.
    subvolumes.set_read_only(place / "1", read_only=False)
    with show(driver, 2, (1,)) as tree:
        (tree / "new").write_bytes(os.urandom(MEGABYTE))

    assert driver.usage(2, (1,)) == Usage(MEGABYTE, 1)
