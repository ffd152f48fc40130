from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from lamina.host.kernel import KernelHost
from lamina.model import Capability, Mount
from lamina.testing.trees import assert_same_tree, manifest
from lamina_drivers.vfs.driver import VfsDriver
from lamina_drivers.vfs.options import VfsOptions
from tests.killing import killed_at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.drivers.conftest import Show

pytestmark = pytest.mark.root


@pytest.fixture
def driver(host: KernelHost, tmp_path: Path) -> VfsDriver:
    root = tmp_path / "driver"
    root.mkdir(mode=0o700)
    return VfsDriver(host, root, VfsOptions())


def populate(tree: Path) -> None:
    (tree / "sub").mkdir(mode=0o2750)
    (tree / "sub/file").write_text("text")
    os.link(tree / "sub/file", tree / "again")
    os.symlink("nowhere", tree / "link")
    os.mkfifo(tree / "fifo")
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(tree / "sub", "user.note", b"x")
    os.chown(tree / "sub/file", 1, 2)
    (tree / "sub/file").chmod(0o4711)
    with (tree / "sparse").open("wb") as file:
        file.truncate(2**24)
        file.write(b"start")
    for path in (tree / "link", tree / "sub/file", tree / "sub", tree):
        os.utime(path, ns=(0, -1_234_567_891), follow_symlinks=False)
    tree.chmod(0o711)


def test_empty_tree_is_0755_whatever_the_umask(driver: VfsDriver) -> None:
    before = os.umask(0o077)
    try:
        driver.prepare(1, ())
    finally:
        os.umask(before)

    assert stat.S_IMODE(driver.apply_target(1, ()).directory.stat().st_mode) == 0o755


def test_child_begins_as_a_true_copy(driver: VfsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        populate(tree)
    driver.prepare(2, (1,))

    with show(driver, 1) as parent, show(driver, 2, (1,)) as child:
        assert_same_tree(parent, child)
        assert (child / "sparse").stat().st_blocks < 100


def test_parent_never_notices_its_child(driver: VfsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        populate(tree)
        before = manifest(tree)
    driver.prepare(2, (1,))

    with show(driver, 2, (1,)) as tree:
        (tree / "again").write_text("changed in place")
        (tree / "sub/file").chmod(0o600)
        os.rename(tree / "sub", tree / "elsewhere")
        (tree / "fifo").unlink()

    with show(driver, 1) as tree:
        assert manifest(tree) == before


def test_read_only_mount_refuses_to_write(driver: VfsDriver, show: Show) -> None:
    driver.prepare(1, ())

    with show(driver, 1, writable=False) as tree, pytest.raises(OSError, match="Read-only file system"):
        (tree / "file").touch()


def test_prepare_over_leftovers_gives_the_parents_tree(driver: VfsDriver, show: Show) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        (tree / "leftover").touch()

    driver.prepare(2, (1,))

    with show(driver, 2, (1,)) as tree:
        assert os.listdir(tree) == []


def test_preparing_again_after_a_kill_at_any_step_gives_a_true_copy(driver: VfsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        populate(tree)
    step = 0

    while killed_at(step, lambda: driver.prepare(2, (1,))):
        driver.prepare(2, (1,))
        with show(driver, 1) as parent, show(driver, 2, (1,)) as child:
            assert_same_tree(parent, child)
            (child / "leftover").touch()
        step += 1

    assert step >= 5
    assert sorted(each.location for each in driver.objects()) == [f"{driver.root}/1", f"{driver.root}/2"]


def test_copy_that_fails_leaves_nothing(driver: VfsDriver) -> None:
    with pytest.raises(OSError, match="No such file"):
        driver.prepare(2, (1,))

    assert list(driver.objects()) == []


@dataclass
class Watched(KernelHost):
    """A host that remembers what was brought to stable storage."""

    synced: list[Path] = field(default_factory=list)

    def sync_filesystem(self, path: Path) -> None:
        self.synced.append(path)


def test_only_a_durable_commit_waits_for_the_disk(tmp_path: Path) -> None:
    host = Watched()
    driver = VfsDriver(host, tmp_path, VfsOptions())
    driver.prepare(1, ())

    driver.commit(1, (), durable=False)
    assert host.synced == []

    driver.commit(1, (), durable=True)
    assert host.synced == [tmp_path]


def test_removed_snapshot_leaves_nothing(driver: VfsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        populate(tree)

    driver.remove(1)
    driver.remove(1)

    assert list(driver.objects()) == []


def test_data_are_declared_shared_only_where_the_filesystem_has_reflinks(host: KernelHost, tmp_path: Path) -> None:
    place = tmp_path / "memory"
    place.mkdir()
    host.mount([Mount("tmpfs", "tmpfs")], place)
    try:
        driver = VfsDriver(host, place, VfsOptions())
    finally:
        host.unmount(place)

    assert Capability.SHARED_DATA not in driver.capabilities
    assert Capability.SHARED_DATA in VfsDriver.capabilities


class Cloning(KernelHost):
    @staticmethod
    def can_reflink(directory: Path) -> bool:
        return True


def test_data_are_declared_shared_where_the_filesystem_has_reflinks(tmp_path: Path) -> None:
    assert Capability.SHARED_DATA in VfsDriver(Cloning(), tmp_path, VfsOptions()).capabilities
