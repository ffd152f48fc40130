from __future__ import annotations

import os
import random
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lamina.diff.walk import changes_of, compare, narrow
from lamina.driver import Touched
from lamina.errors import UnsupportedError
from tests.scrambling import scramble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from lamina.model import Change
    from lamina_drivers.btrfs.driver import BtrfsDriver
    from tests.unit.drivers.conftest import Show

pytestmark = pytest.mark.root


def make(driver: BtrfsDriver, show: Show, id: int, parent: int | None, change: Callable[[Path], object]) -> None:
    """Make a layer: what ``change`` does to its parent's tree."""
    chain = () if parent is None else (parent,)
    driver.prepare(id, chain)
    with show(driver, id, chain) as tree:
        change(tree)
    driver.commit(id, chain, durable=False)


def changes(driver: BtrfsDriver, touched: Iterable[Touched] | None = None) -> list[Change]:
    """What differs between the layers 1 and 2: found in both trees, or only at the paths ``touched``."""
    with opened(driver, 1) as parent, opened(driver, 2) as child:
        return list(compare(parent, child) if touched is None else narrow(parent, child, touched))


@contextmanager
def opened(driver: BtrfsDriver, id: int) -> Iterator[int]:
    handle = os.open(driver.apply_target(id, ()).directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


def touch(*names: str) -> Callable[[Path], None]:
    def act(tree: Path) -> None:
        for name in names:
            (tree / name).touch()

    return act


def files_only(tree: Path, chance: random.Random, steps: int) -> None:
    """Random changes without hard links, on which an answer can depend beyond what was touched."""
    scramble(tree, chance, steps)
    for top, _, names in os.walk(tree):
        for name in names:
            if os.lstat(path := os.path.join(top, name)).st_nlink > 1:
                os.unlink(path)


@pytest.mark.parametrize("seed", range(40))
def test_looking_where_btrfs_says_finds_what_a_walk_finds(driver: BtrfsDriver, show: Show, seed: int) -> None:
    chance = random.Random(seed)
    make(driver, show, 1, None, lambda tree: files_only(tree, chance, 40))
    make(driver, show, 2, 1, lambda tree: files_only(tree, chance, 25))

    assert changes(driver, driver.touched(2, (1,))) == changes(driver)


@pytest.mark.parametrize("seed", range(20))
def test_so_it_does_with_hard_links(driver: BtrfsDriver, show: Show, seed: int) -> None:
    chance = random.Random(seed)
    make(driver, show, 1, None, lambda tree: scramble(tree, chance, 40))
    make(driver, show, 2, 1, lambda tree: scramble(tree, chance, 15))

    with opened(driver, 1) as parent, opened(driver, 2) as child:
        assert list(changes_of(parent, child, driver.touched(2, (1,)))) == list(compare(parent, child))


def test_what_btrfs_says_is_needed_for_that(driver: BtrfsDriver, show: Show) -> None:
    make(driver, show, 1, None, touch("changed", "gone"))

    def change(tree: Path) -> None:
        (tree / "changed").write_text("x")
        (tree / "gone").unlink()
        (tree / "new").mkdir()

    make(driver, show, 2, 1, change)
    touched = set(driver.touched(2, (1,)))

    for left_out in (b"changed", b"gone", b"new"):
        told = changes(driver, {each for each in touched if each.path != left_out})
        assert [change.path for change in changes(driver) if change not in told] == [left_out]


def test_an_edit_that_keeps_size_and_time_is_told(driver: BtrfsDriver, show: Show) -> None:
    make(driver, show, 1, None, lambda tree: [(tree / f"{number}").write_text("one") for number in range(100)])

    def edit(tree: Path) -> None:
        before = (tree / "7").stat()
        (tree / "7").write_text("two")
        os.utime(tree / "7", ns=(before.st_atime_ns, before.st_mtime_ns))

    make(driver, show, 2, 1, edit)

    assert [change.path for change in changes(driver, driver.touched(2, (1,)))] == [b"7"]


def test_only_what_changed_is_told(driver: BtrfsDriver, show: Show) -> None:
    def fill(tree: Path) -> None:
        for number in range(300):
            (tree / f"d/{number}").mkdir(parents=True)
            (tree / f"d/{number}/f").touch()

    make(driver, show, 1, None, fill)
    make(driver, show, 2, 1, lambda tree: (tree / "d/7/f").write_text("x"))

    assert set(driver.touched(2, (1,))) == {Touched(b"."), Touched(b"d/7/f")}


def test_a_directory_whose_place_another_took_is_compared_with_it(driver: BtrfsDriver, show: Show) -> None:
    def fill(tree: Path) -> None:
        for name in ("a", "b"):
            (tree / name / "deep").mkdir(parents=True)
            (tree / name / "deep" / name).write_text(name)

    def swap(tree: Path) -> None:
        (tree / "a").rename(tree / "c")
        (tree / "b").rename(tree / "a")
        (tree / "c").rename(tree / "b")

    make(driver, show, 1, None, fill)
    make(driver, show, 2, 1, swap)

    assert changes(driver, driver.touched(2, (1,))) == changes(driver)


def test_a_snapshot_in_use_is_told_as_it_is_now_and_no_copy_is_left(driver: BtrfsDriver, show: Show) -> None:
    make(driver, show, 1, None, touch("old"))
    driver.prepare(2, (1,))

    with show(driver, 2, (1,)) as tree:
        (tree / "new").write_text("not synced")
        assert Touched(b"new") in set(driver.touched(2, (1,)))
        (tree / "newer").touch()
        assert Touched(b"newer") in set(driver.touched(2, (1,)))

    assert [thing.id for thing in driver.objects()] == [1, 2]


def test_subvolumes_inside_make_it_give_up(driver: BtrfsDriver, show: Show) -> None:
    make(driver, show, 1, None, lambda tree: None)
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        subprocess.run(["btrfs", "--quiet", "subvolume", "create", tree / "inside"], check=True)

        with pytest.raises(UnsupportedError, match="subvolumes inside"):
            list(driver.touched(2, (1,)))


def test_a_whole_system_s_worth_of_moves_is_told(driver: BtrfsDriver, show: Show, tmp_path: Path) -> None:
    def fill(tree: Path) -> None:
        for name in ("usr/lib/x", "usr/share/y", "lib/z"):
            (tree / name).mkdir(parents=True)
            (tree / name / "f").write_text(name)

    def merge_usr(tree: Path) -> None:
        (tree / "lib/z").rename(tree / "usr/lib/z")
        (tree / "lib").rmdir()
        (tree / "lib").symlink_to("usr/lib")
        shutil.move(tree / "usr/share", tree / "share")
        (tree / "usr/lib/x").rename(tree / "share/y/x")
        (tree / "share/y").rename(tree / "usr/y")

    make(driver, show, 1, None, fill)
    make(driver, show, 2, 1, merge_usr)

    assert changes(driver, driver.touched(2, (1,))) == changes(driver)
