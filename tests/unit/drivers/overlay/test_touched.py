from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from lamina.driver import Touched
from lamina.testing.trees import Manifest, manifest
from lamina_drivers.overlay.driver import OverlayDriver
from lamina_drivers.overlay.options import OverlayOptions
from tests.scrambling import scramble

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.host.kernel import KernelHost
    from tests.unit.drivers.conftest import Show

pytestmark = pytest.mark.root


@pytest.fixture
def driver(host: KernelHost, tmp_path: Path) -> OverlayDriver:
    root = tmp_path / "driver"
    root.mkdir(mode=0o700)
    return OverlayDriver(host, root, OverlayOptions())


def uncovered(below: Manifest, above: Manifest, touched: Iterable[Touched]) -> list[bytes]:
    """The paths that differ although nothing in ``touched`` says so."""
    exact, subtrees = set(), set()
    for each in touched:
        exact.add(each.path)
        # What is in a directory that was made or removed differs with it.
        if each.subtree or not all(each.path in tree and tree[each.path].kind == "directory" for tree in (below, above)):
            subtrees.add(each.path + b"/")
    paths = (path for path in below.keys() | above.keys() if below.get(path) != above.get(path))
    return [path for path in paths if path not in exact and not any(path.startswith(top) for top in subtrees)]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_changed_is_covered(driver: OverlayDriver, show: Show, seed: int) -> None:
    chance = random.Random(seed)
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        scramble(tree, chance, 40)
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        scramble(tree, chance, 20)
    driver.prepare(3, (2, 1))
    with show(driver, 3, (2, 1)) as tree:
        scramble(tree, chance, 20)

    with show(driver, 2, (1,), writable=False) as below, show(driver, 3, (2, 1), writable=False) as above:
        before, after = (manifest(tree, hard_links=False) for tree in (below, above))
    assert uncovered(before, after, driver.touched(3, (2, 1))) == []


def test_whatever_changed_must_be_covered_for_that_check_to_pass(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "changed").touch()
        (tree / "gone").touch()
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        (tree / "changed").write_text("x")
        (tree / "gone").unlink()
        (tree / "new").mkdir()
    with show(driver, 1, writable=False) as below, show(driver, 2, (1,), writable=False) as above:
        before, after = manifest(below), manifest(above)

    touched = set(driver.touched(2, (1,)))

    assert len(touched) == 4
    for left_out in touched:
        assert uncovered(before, after, touched - {left_out}) == [left_out.path]


def test_untouched_snapshot_has_nothing_but_its_root(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "file").touch()
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        (tree / "file").read_text()

    assert list(driver.touched(2, (1,))) == [Touched(b".")]


def test_replaced_directory_is_one_entry_with_its_subtree(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "directory/old").mkdir(parents=True)
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        shutil.rmtree(tree / "directory")
        (tree / "directory/new").mkdir(parents=True)

    assert set(driver.touched(2, (1,))) == {Touched(b"."), Touched(b"directory", subtree=True)}


def test_removed_file_is_named_as_if_it_were_there(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "sub").mkdir()
        (tree / "sub/caf\udce9").touch()
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        (tree / "sub/caf\udce9").unlink()

    assert set(driver.touched(2, (1,))) == {Touched(b"."), Touched(b"sub"), Touched(b"sub/caf\xe9")}


def test_directory_without_the_opaque_mark_is_entered(driver: OverlayDriver) -> None:
    """What unpacking a layer makes, and what a directory with whiteouts of the extended-attribute form (mark "x") looks like."""
    driver.prepare(1, ())
    driver.prepare(2, (1,))
    layer = driver.apply_target(2, (1,)).directory
    (layer / "new").mkdir()
    (layer / "new/hidden").touch()
    os.setxattr(layer / "new", "trusted.overlay.opaque", b"x")
    os.setxattr(layer / "new/hidden", "trusted.overlay.whiteout", b"")

    assert set(driver.touched(2, (1,))) == {Touched(b"."), Touched(b"new"), Touched(b"new/hidden")}


def test_tree_deeper_than_handles_and_paths_may_be_is_walked(driver: OverlayDriver) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))
    handle = os.open(driver.apply_target(2, (1,)).directory, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=handle)
        below = os.open("deep", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)

    paths = {each.path for each in driver.touched(2, (1,))}

    assert max(map(len, paths)) == 1500 * len("deep/") - 1
    driver.remove(2)
