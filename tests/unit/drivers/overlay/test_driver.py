from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest

from lamina.driver import Encoding
from lamina.errors import UnsupportedError
from lamina.host.kernel import KernelHost
from lamina.model import Usage
from lamina_drivers.overlay.driver import OverlayDriver
from lamina_drivers.overlay.options import OverlayOptions
from lamina_drivers.overlay.stack import MAX_LOWER
from tests.killing import killed_at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.drivers.conftest import Show

pytestmark = pytest.mark.root


@pytest.fixture
def driver(host: KernelHost, tmp_path: Path) -> OverlayDriver:
    root = tmp_path / "driver"
    root.mkdir(mode=0o700)
    return OverlayDriver(host, root, OverlayOptions())


def test_empty_tree_is_0755_whatever_the_umask(driver: OverlayDriver, show: Show) -> None:
    before = os.umask(0o077)
    try:
        driver.prepare(1, ())
    finally:
        os.umask(before)

    with show(driver, 1) as tree:
        assert stat.S_IMODE(tree.stat().st_mode) == 0o755
        assert list(tree.iterdir()) == []


def test_child_shows_parent_and_parent_never_shows_child(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "kept").write_text("parent")
        (tree / "removed").write_text("parent")
    driver.prepare(2, (1,))

    with show(driver, 2, (1,)) as tree:
        (tree / "removed").unlink()
        (tree / "kept").write_text("child")

        assert os.listdir(tree) == ["kept"]
    with show(driver, 1, writable=False) as tree:
        assert sorted(os.listdir(tree)) == ["kept", "removed"]
        assert (tree / "kept").read_text() == "parent"


def test_read_only_mounts_refuse_to_write(driver: OverlayDriver, show: Show) -> None:
    for id, chain in ((1, ()), (2, (1,)), (3, (2, 1))):
        driver.prepare(id, chain)

    for id, chain in ((1, ()), (2, (1,)), (3, (2, 1))):
        with show(driver, id, chain, writable=False) as tree, pytest.raises(OSError, match="Read-only file system"):
            (tree / "file").touch()


def test_active_snapshot_can_be_looked_at_while_it_is_mounted_writable(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))

    with show(driver, 2, (1,)) as work:
        (work / "file").write_text("new")
        with show(driver, 2, (1,), writable=False) as look:
            assert (look / "file").read_text() == "new"
        (work / "file").write_text("newer")

    with show(driver, 2, (1,), writable=False) as look:
        assert (look / "file").read_text() == "newer"


def test_root_of_a_child_has_the_attributes_of_its_parents_root(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        os.chown(tree, 12, 34)
        tree.chmod(0o1711)
        os.setxattr(tree, "user.origin", b"one")
        os.utime(tree, ns=(1, 987_654_321))
    driver.prepare(2, (1,))
    driver.prepare(3, (2, 1))

    with show(driver, 3, (2, 1), writable=False) as tree:
        status = tree.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12, 34, 0o1711)
        assert status.st_mtime_ns == 987_654_321
        assert os.getxattr(tree, "user.origin") == b"one"


def test_overlays_own_records_about_a_root_are_not_inherited(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        (tree / "file").touch()
    os.setxattr(driver.apply_target(2, (1,)).directory, "trusted.overlay.impure", b"y")

    driver.prepare(3, (2, 1))

    assert os.listxattr(driver.apply_target(3, (2, 1)).directory) == []


def test_stack_of_300_layers_shows_each_layers_work(driver: OverlayDriver, show: Show) -> None:
    chain: tuple[int, ...] = ()
    for id in range(1, 301):
        driver.prepare(id, chain)
        layer = driver.apply_target(id, chain).directory
        (layer / f"file-{id}").write_text(str(id))
        (layer / "last").write_text(str(id))
        chain = (id, *chain)
    driver.prepare(301, chain)

    with show(driver, 301, chain) as tree:
        (tree / "last").unlink()

        assert sorted(os.listdir(tree)) == sorted(f"file-{id}" for id in range(1, 301))
        assert all((tree / f"file-{id}").read_text() == str(id) for id in range(1, 301))


def test_stack_as_deep_as_the_kernel_allows_can_be_written_and_looked_at(driver: OverlayDriver, show: Show) -> None:
    chain = tuple(range(MAX_LOWER - 1, 0, -1))
    for id in chain:
        driver.prepare(id, ())
    driver.prepare(MAX_LOWER, chain)

    with show(driver, MAX_LOWER, chain) as tree:
        (tree / "file").touch()
    with show(driver, MAX_LOWER, chain, writable=False) as tree:
        assert os.listdir(tree) == ["file"]


def test_deeper_stack_is_refused_before_anything_is_made(driver: OverlayDriver) -> None:
    chain = tuple(range(MAX_LOWER, 0, -1))

    with pytest.raises(UnsupportedError, match="stack of 501 layers: the kernel's limit is 500"):
        driver.prepare(MAX_LOWER + 1, chain)
    with pytest.raises(UnsupportedError, match="limit is 500"):
        driver.mounts(MAX_LOWER + 1, chain, writable=False)

    assert list(driver.objects()) == []


@pytest.mark.parametrize("name", ["co:lon", "com,ma", "back\\slash", "sp ace", "new\nline", "qu'o\"te", "\udcff", "x" * 250])
def test_any_name_of_the_root_directory_works(host: KernelHost, show: Show, tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()
    driver = OverlayDriver(host, root, OverlayOptions())
    driver.prepare(1, ())
    (driver.apply_target(1, ()).directory / "file").write_text("below")
    driver.prepare(2, (1,))

    with show(driver, 2, (1,)) as tree:
        (tree / "file").write_text("above")
    with show(driver, 2, (1,), writable=False) as tree:
        assert (tree / "file").read_text() == "above"
    assert (driver.apply_target(2, (1,)).directory / "file").read_text() == "above"


def test_further_mount_options_reach_the_kernel(host: KernelHost, show: Show, tmp_path: Path) -> None:
    root = tmp_path / "driver"
    root.mkdir()
    driver = OverlayDriver(host, root, OverlayOptions(mount_options="nodev,default_permissions"))
    driver.prepare(1, ())
    driver.prepare(2, (1,))

    with show(driver, 2, (1,)) as tree:
        entry = next(entry for entry in host.mount_table() if entry.target == str(tree))

    assert {"nodev", "default_permissions"} <= set(entry.options)


def test_changes_are_recorded_in_full_whatever_the_kernels_defaults(driver: OverlayDriver) -> None:
    for writable in (True, False):
        (mount,) = driver.mounts(2, (1,), writable=writable)

        assert {"index=off", "redirect_dir=nofollow", "metacopy=off"} <= set(mount.options)


def test_ten_children_add_only_their_own_directories(driver: OverlayDriver, host: KernelHost, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        for number in range(20):
            (tree / str(number)).write_bytes(b"x" * 100_000)
    before = host.tree_usage(driver.root)

    for id in range(2, 12):
        driver.prepare(id, (1,))
        with show(driver, id, (1,)) as tree:
            assert len(os.listdir(tree)) == 20

    after = host.tree_usage(driver.root)
    assert after.inodes - before.inodes <= 10 * 5
    assert after.size - before.size <= 10 * 5 * 4096


def test_usage_counts_what_a_snapshot_adds(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "file").write_bytes(b"x" * 1_000_000)
    driver.prepare(2, (1,))
    empty = driver.usage(2, (1,))
    with show(driver, 2, (1,)) as tree:
        (tree / "small").write_bytes(b"x" * 4096)
        os.link(tree / "small", tree / "again")
        with (tree / "hole").open("wb") as file:
            file.truncate(2**30)

    assert empty == Usage(0, 0)
    assert driver.usage(1, ()).size >= 1_000_000
    assert driver.usage(2, (1,)) == Usage(4096, 2)


def test_directories_from_anywhere_are_shown_as_one(host: KernelHost, tmp_path: Path) -> None:
    for name in ("high", "low", "upper", "work", "target"):
        (tmp_path / name).mkdir()
    (tmp_path / "high/both").write_text("high")
    (tmp_path / "low/both").write_text("low")
    (tmp_path / "low/alone").write_text("low")
    union = partial(OverlayDriver.union, [tmp_path / "high", tmp_path / "low"], OverlayOptions())

    host.mount([union()], tmp_path / "target")
    try:
        assert (tmp_path / "target/both").read_text() == "high"
        assert (tmp_path / "target/alone").read_text() == "low"
        with pytest.raises(OSError, match="Read-only file system"):
            (tmp_path / "target/new").touch()
    finally:
        host.unmount(tmp_path / "target")

    host.mount([union(upper=tmp_path / "upper", work=tmp_path / "work")], tmp_path / "target")
    try:
        (tmp_path / "target/new").touch()
    finally:
        host.unmount(tmp_path / "target")
    assert os.listdir(tmp_path / "upper") == ["new"]


def test_union_of_more_directories_than_the_kernel_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="union of 501 directories: the kernel's limit is 500"):
        OverlayDriver.union([tmp_path] * 501, OverlayOptions())


def test_layer_is_unpacked_as_overlay_records_only_when_something_is_below(driver: OverlayDriver) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))

    assert driver.apply_target(1, ()).encoding is Encoding.PLAIN
    assert driver.apply_target(2, (1,)).encoding is Encoding.OVERLAY


def test_preparing_again_after_a_kill_at_any_step_gives_a_fresh_snapshot(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "file").touch()
        tree.chmod(0o711)
    step = 0

    while killed_at(step, lambda: driver.prepare(2, (1,))):
        driver.prepare(2, (1,))
        with show(driver, 2, (1,)) as tree:
            assert stat.S_IMODE(tree.stat().st_mode) == 0o711
            assert os.listdir(tree) == ["file"]
            (tree / "leftover").touch()
        step += 1

    assert step >= 5
    assert sorted(each.location for each in driver.objects()) == [f"{driver.root}/1", f"{driver.root}/2"]


@dataclass
class Watched(KernelHost):
    """A host that remembers what was brought to stable storage."""

    synced: list[Path] = field(default_factory=list)

    def sync_filesystem(self, path: Path) -> None:
        self.synced.append(path)


def test_only_a_durable_commit_waits_for_the_disk(tmp_path: Path) -> None:
    host = Watched()
    driver = OverlayDriver(host, tmp_path, OverlayOptions())
    driver.prepare(1, ())

    driver.commit(1, (), durable=False)
    assert host.synced == []

    driver.commit(1, (), durable=True)
    assert host.synced == [tmp_path]


def test_removed_snapshot_leaves_nothing(driver: OverlayDriver, show: Show) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        (tree / "file").touch()

    driver.remove(2)
    driver.remove(2)
    driver.remove(1)

    assert list(driver.objects()) == []
    assert os.listdir(driver.root) == ["trash"]
