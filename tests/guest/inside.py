"""What the guest has to offer to drivers. Not collected on the host: test_guest.py has it run in there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTOR = 512
MIB = 1 << 20


def run(*command: str | Path) -> str:
    """Run a program that has to succeed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        *("overlay", "fuse", "loop", "btrfs", "xfs", "ext4", "erofs", "zfs"),
        *("dm_mod", "dm_thin_pool", "dm_snapshot", "dm_flakey", "dm_log_writes", "dm_delay"),
    ],
)
def test_the_kernel_has_the_module(module: str) -> None:
    run("modprobe", module)

    assert Path("/sys/module", module).is_dir()


def test_what_is_written_stays_in_the_guest() -> None:
    mounts = Path("/proc/mounts").read_text().splitlines()

    shared = [line.split()[3].split(",") for line in mounts if line.split()[2] == "9p" and line.split()[1] != "/exchange"]

    assert shared
    assert all("ro" in options for options in shared)


@pytest.fixture
def loops(tmp_path: Path) -> Iterator[list[str]]:
    """Two loop devices, of 8 and of 512 MiB."""
    devices = []
    for name, size in (("metadata", 8), ("data", 512)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * MIB)
        devices.append(run("losetup", "--find", "--show", tmp_path / name))
    yield devices
    run("losetup", "--detach", *devices)


@pytest.fixture
def pool(loops: list[str]) -> Iterator[str]:
    """A thin pool on them. There is no udev: ``dmsetup mknodes`` makes the nodes."""
    metadata, data = loops
    run("dmsetup", "create", "pool", "--table", f"0 {512 * MIB // SECTOR} thin-pool {metadata} {data} 128 0")
    run("dmsetup", "mknodes")
    yield "/dev/mapper/pool"
    run("dmsetup", "remove", "pool")


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_a_snapshot_of_a_thin_device_keeps_what_the_origin_loses(filesystem: str, pool: str, tmp_path: Path) -> None:
    table = f"0 {400 * MIB // SECTOR} thin {pool}"
    for name in ("origin", "snapshot"):
        (tmp_path / name).mkdir()
    run("dmsetup", "message", pool, "0", "create_thin 0")
    run("dmsetup", "create", "origin", "--table", f"{table} 0")
    run("dmsetup", "mknodes")
    run(f"mkfs.{filesystem}", "-q", "/dev/mapper/origin")
    run("mount", "/dev/mapper/origin", tmp_path / "origin")
    (tmp_path / "origin/kept").write_text("kept")

    os.sync()
    run("dmsetup", "suspend", "origin")
    run("dmsetup", "message", pool, "0", "create_snap 1 0")
    run("dmsetup", "resume", "origin")
    (tmp_path / "origin/kept").unlink()
    run("dmsetup", "create", "snapshot", "--table", f"{table} 1")
    run("dmsetup", "mknodes")
    run("mount", *(["-o", "nouuid"] if filesystem == "xfs" else []), "/dev/mapper/snapshot", tmp_path / "snapshot")

    assert (tmp_path / "snapshot/kept").read_text() == "kept"
    for name in ("snapshot", "origin"):
        run("umount", tmp_path / name)
        run("dmsetup", "remove", name)


@pytest.fixture
def zpool(tmp_path: Path) -> Iterator[str]:
    """A ZFS pool on a file."""
    with (tmp_path / "vdev").open("wb") as file:
        file.truncate(256 * MIB)
    run("zpool", "create", "-O", "mountpoint=none", "-O", "xattr=sa", "tank", tmp_path / "vdev")
    yield "tank"
    run("zpool", "destroy", "tank")


def test_libzfs_core_makes_a_dataset_a_snapshot_and_a_clone(zpool: str, tmp_path: Path) -> None:
    import libzfs_core  # type: ignore[import-not-found]  # Debian's, in the guest alone

    dataset, snapshot, clone = f"{zpool}/base", f"{zpool}/base@now", f"{zpool}/clone"

    libzfs_core.lzc_create(dataset.encode())
    run("mount", "-t", "zfs", "-o", "zfsutil", dataset, tmp_path)
    (tmp_path / "kept").write_text("kept")
    libzfs_core.lzc_snapshot([snapshot.encode()])
    (tmp_path / "kept").unlink()
    run("umount", tmp_path)
    libzfs_core.lzc_clone(clone.encode(), snapshot.encode())
    run("mount", "-t", "zfs", "-o", "zfsutil", clone, tmp_path)

    assert (tmp_path / "kept").read_text() == "kept"
    assert run("zfs", "list", "-H", "-o", "name", "-t", "all", "-r", zpool).split() == [zpool, dataset, snapshot, clone]
    run("umount", tmp_path)
