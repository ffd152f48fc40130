from __future__ import annotations

import os
import signal
import stat
import time
from errno import ENAMETOOLONG, ENOTCONN
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.driver import Encoding, Touched
from lamina.errors import MountFailedError, UnsupportedError
from lamina.model import Usage
from lamina_drivers.aufs.driver import AufsDriver
from lamina_drivers.aufs.options import AufsOptions
from tests.killing import killed_at

if TYPE_CHECKING:
    from lamina.driver import Driver
    from lamina.host.kernel import KernelHost
    from tests.unit.drivers.conftest import Show

pytestmark = pytest.mark.root


@pytest.fixture
def driver(host: KernelHost, tmp_path: Path) -> AufsDriver:
    root = tmp_path / "driver"
    root.mkdir(mode=0o700)
    return AufsDriver(host, root, AufsOptions())


def servers_of(place: Path) -> list[int]:
    """The processes that serve a union of directories below ``place``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue
        if words[0] == b"/usr/bin/fuse-overlayfs" and any(os.fsencode(place) in word for word in words):
            found.append(int(entry.parent.name))
    return found


def test_deletions_are_recorded_as_aufs_does(driver: AufsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "removed").touch()
        (tree / "replaced").mkdir()
        (tree / "replaced/old").touch()
    driver.prepare(2, (1,))

    with show(driver, 2, (1,)) as tree:
        (tree / "removed").unlink()
        (tree / "replaced/old").unlink()
        (tree / "replaced").rmdir()
        (tree / "replaced").mkdir()

    diff = driver.root / "diff/2"
    assert sorted(os.listdir(diff)) == [".wh.removed", "replaced"]
    assert os.listdir(diff / "replaced") == [".wh..wh..opq"]
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in (diff / ".wh.removed", diff / "replaced/.wh..wh..opq"))


def test_layout_on_disk_is_that_of_aufs(driver: AufsDriver) -> None:
    for id, chain in ((1, ()), (2, (1,)), (3, (2, 1))):
        driver.prepare(id, chain)

    assert (driver.root / "layers/3").read_text() == "2\n1\n"
    assert (driver.root / "layers/1").read_text() == ""
    assert stat.S_IMODE((driver.root / "diff/1").stat().st_mode) == 0o755


def test_child_shows_parent_and_parent_never_shows_child(driver: AufsDriver, show: Show) -> None:
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


def test_read_only_mounts_refuse_to_write(driver: AufsDriver, show: Show) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))

    for id, chain in ((1, ()), (2, (1,))):
        with show(driver, id, chain, writable=False) as tree, pytest.raises(OSError, match="Read-only file system"):
            (tree / "file").touch()


def test_active_snapshot_can_be_looked_at_while_it_is_mounted_writable(driver: AufsDriver, show: Show) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))

    with show(driver, 2, (1,)) as work, (work / "file").open("w") as file:
        file.write("not closed")
        file.flush()
        with show(driver, 2, (1,), writable=False) as look:
            assert (look / "file").read_text() == "not closed"


def test_stack_of_300_layers_shows_each_layers_work(driver: AufsDriver, show: Show) -> None:
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


@pytest.mark.parametrize("name", ["com,ma", "back\\slash", "sp ace", "new\nline", "qu'o\"te", "\udcff", "x" * 250])
def test_any_name_of_the_root_directory_works(host: KernelHost, show: Show, tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()
    driver = AufsDriver(host, root, AufsOptions())
    driver.prepare(1, ())
    (driver.apply_target(1, ()).directory / "file").write_text("below")
    driver.prepare(2, (1,))

    with show(driver, 2, (1,)) as tree:
        (tree / "file").write_text("above")
    with show(driver, 2, (1,), writable=False) as tree:
        assert (tree / "file").read_text() == "above"
    assert (driver.apply_target(2, (1,)).directory / "file").read_text() == "above"


def test_root_directory_that_fuse_overlayfs_would_misread_is_refused(host: KernelHost, tmp_path: Path) -> None:
    root = tmp_path / "co:lon"
    root.mkdir()
    driver = AufsDriver(host, root, AufsOptions())

    with pytest.raises(UnsupportedError, match="choose another --root"):
        driver.prepare(2, (1,))
    (failure,) = AufsDriver.probe(host, root, AufsOptions()).failures

    assert "holds ':' that fuse-overlayfs would misread" in failure.evidence
    assert list(driver.objects()) == []


def test_programs_end_with_their_mounts(driver: AufsDriver, host: KernelHost, show: Show) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))

    with show(driver, 2, (1,)):
        handle = host.open_mounts(driver.mounts(2, (1,), writable=False))
        assert len(servers_of(driver.root)) == 2
        os.close(handle)

    assert gone(driver)


def test_killed_program_is_seen_and_its_mount_replaced(driver: AufsDriver, host: KernelHost, tmp_path: Path) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))
    target = tmp_path / "target"
    target.mkdir()
    mounts = driver.mounts(2, (1,), writable=True)
    host.mount(mounts, target)
    (target / "file").write_text("kept")
    (server,) = servers_of(driver.root)

    os.kill(server, signal.SIGKILL)
    assert gone(driver)

    with pytest.raises(OSError, match="not connected") as refusal:
        os.listdir(target)
    assert refusal.value.errno == ENOTCONN
    host.unmount(target)
    host.mount(mounts, target)
    try:
        assert (target / "file").read_text() == "kept"
    finally:
        host.unmount(target)
    assert gone(driver)


def test_store_reports_a_killed_program_and_mends_its_mount(tmp_path: Path) -> None:
    with lamina.open(tmp_path / "store", driver="aufs") as store:
        store.graph.prepare("first")
        store.graph.commit("base", "first")
        store.graph.prepare("work", "base")
        target = store.mounts.mount("work")
        (target / "file").write_text("kept")
        (server,) = servers_of(tmp_path)
        assert store.check() == []

        os.kill(server, signal.SIGKILL)
        assert gone(store.driver)
        (finding,) = store.check()
        store.repair()

        assert (finding.subject, finding.problem) == (f"mount {target}", "the program that served it has ended")
        assert store.check() == []
        assert (store.mounts.mount("work") / "file").read_text() == "kept"
        store.mounts.unmount("work")
        assert gone(store.driver)


def test_program_that_cannot_start_leaves_no_mount_and_says_why(driver: AufsDriver, host: KernelHost, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    driver.prepare(2, ())

    with pytest.raises(MountFailedError, match=r"diff/1.*No such file or directory"):
        host.mount(driver.mounts(2, (1,), writable=False), target)

    assert not os.path.ismount(target)
    assert gone(driver)


def gone(driver: Driver) -> bool:
    """Whether all programs of the driver have ended, or do so within two seconds."""
    deadline = time.monotonic() + 2
    while servers_of(driver.root) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not servers_of(driver.root)


def test_names_that_no_whiteout_can_hide_are_refused(driver: AufsDriver, show: Show) -> None:
    driver.prepare(1, ())
    driver.commit(1, (), durable=False)
    driver.prepare(2, (1,))
    driver.prepare(3, ())

    with show(driver, 2, (1,)) as tree:
        (tree / ("n" * 251)).touch()
        with pytest.raises(OSError, match="File name too long") as refusal:
            (tree / ("n" * 252)).touch()
    with show(driver, 3) as tree:
        (tree / "d").mkdir()
        (tree / "d" / ("n" * 252)).touch()

    assert refusal.value.errno == ENAMETOOLONG
    driver.commit(2, (1,), durable=False)
    with pytest.raises(UnsupportedError, match="names of over 251 bytes: 'd/nnn"):
        driver.commit(3, (), durable=False)


def test_touched_paths_are_what_the_directory_says(driver: AufsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        for name in ("removed", "changed", "same"):
            (tree / name).write_text("x")
        (tree / "replaced").mkdir()
        (tree / "replaced/old").touch()
        (tree / "d").mkdir()
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        (tree / "removed").unlink()
        (tree / "changed").write_text("y")
        (tree / "replaced/old").unlink()
        (tree / "replaced").rmdir()
        (tree / "replaced").mkdir()
        (tree / "replaced/new").touch()
        (tree / "d/new").touch()
    (driver.root / "diff/2/.wh..wh.plnk").mkdir()  # what the kernel's aufs leaves

    assert set(driver.touched(2, (1,))) == {
        *(Touched(path) for path in (b".", b"removed", b"changed", b"d", b"d/new")),
        Touched(b"replaced", subtree=True),
    }


def test_layer_is_unpacked_as_aufs_records_only_when_something_is_below(driver: AufsDriver) -> None:
    assert driver.apply_target(1, ()).encoding is Encoding.PLAIN
    assert driver.apply_target(2, (1,)).encoding is Encoding.AUFS


def test_usage_counts_what_a_snapshot_adds(driver: AufsDriver, show: Show) -> None:
    driver.prepare(1, ())
    with show(driver, 1) as tree:
        (tree / "file").write_bytes(b"x" * 1_000_000)
    driver.prepare(2, (1,))

    assert driver.usage(1, ()).size >= 1_000_000
    assert driver.usage(2, (1,)) == Usage(0, 0)


def test_preparing_again_after_a_kill_at_any_step_gives_a_fresh_snapshot(driver: AufsDriver, show: Show) -> None:
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
    assert sorted(each.location for each in driver.objects()) == [f"{driver.root}/diff/1", f"{driver.root}/diff/2"]


def test_what_a_crash_left_beside_a_snapshot_is_told_and_removed(driver: AufsDriver) -> None:
    (driver.root / "work/7").mkdir()
    (driver.root / "layers/7").touch()

    (left,) = driver.objects()
    driver.remove(7)

    assert (left.id, left.whole) == (7, False)
    assert list(driver.objects()) == []


def test_removed_snapshot_leaves_nothing(driver: AufsDriver, show: Show) -> None:
    driver.prepare(1, ())
    driver.prepare(2, (1,))
    with show(driver, 2, (1,)) as tree:
        (tree / "file").touch()

    for id in (2, 2, 1):
        driver.remove(id)

    assert list(driver.objects()) == []
    assert [os.listdir(driver.root / place) for place in ("diff", "layers", "work")] == [["trash"], [], []]
