from __future__ import annotations

import os
import resource
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from lamina.errors import MountBusyError
from lamina.host.mount import mount, unmount
from lamina.host.remove import remove_tree
from lamina.model import Mount

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path


def test_what_is_absent_needs_no_removal(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")
    remove_tree(tmp_path / "absent" / "below")


def test_a_tree_goes_and_its_neighbours_stay(tmp_path: Path) -> None:
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    (tmp_path / "tree" / "a" / "file").write_text("x")
    (tmp_path / "tree" / os.fsdecode(b"\xff")).touch()
    os.mkfifo(tmp_path / "tree" / "fifo")
    (tmp_path / "tree-too").mkdir()

    remove_tree(tmp_path / "tree")

    assert os.listdir(tmp_path) == ["tree-too"]


@pytest.mark.parametrize("name", ["file", "link", "link-to-directory"])
def test_what_is_no_directory_goes_too(name: str, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "x").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("absent")
    (tmp_path / "link-to-directory").symlink_to("kept")

    remove_tree(tmp_path / name)

    assert not os.path.lexists(tmp_path / name)
    assert (tmp_path / "kept" / "x").exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary" / "x").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "out").symlink_to(tmp_path / "canary")

    remove_tree(tmp_path / "tree")

    assert (tmp_path / "canary" / "x").exists()


@pytest.mark.root
def test_a_tree_may_be_deeper_than_any_path_and_takes_few_handles(tmpfs: Path) -> None:
    directory = os.open(tmpfs, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("n" * 100, dir_fd=directory)
        deeper = os.open("n" * 100, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = deeper
    os.close(directory)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, hard))

    try:
        remove_tree(tmpfs / ("n" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert os.listdir(tmpfs) == []


@pytest.mark.root
@pytest.mark.parametrize("flag", ["+i", "+a"])
@pytest.mark.parametrize("protected", ["dir", "dir/file", "dir/sub"])
def test_what_chattr_protects_goes(flag: str, protected: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "dir" / "sub").mkdir(parents=True)
    (tree / "dir" / "file").touch()
    (tree / "dir" / "link").symlink_to("absent")
    subprocess.run(["chattr", flag, tree / protected], check=True)

    remove_tree(tree)

    assert not tree.exists()


@pytest.mark.root
def test_what_cannot_be_removed_is_an_error_and_no_endless_attempt(tmp_path: Path) -> None:
    mount([Mount("tmpfs", "tmpfs")], tmp_path)
    (tmp_path / "tree" / "dir").mkdir(parents=True)
    subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)

    try:
        with pytest.raises(OSError, match="Read-only"):
            remove_tree(tmp_path / "tree")
    finally:
        unmount(tmp_path)


@pytest.mark.root
def test_the_directory_above_is_not_ours_to_change(tmp_path: Path) -> None:
    above = tmp_path / "above"
    (above / "tree").mkdir(parents=True)
    subprocess.run(["chattr", "+i", above], check=True)

    try:
        with pytest.raises(PermissionError):
            remove_tree(above / "tree")
    finally:
        subprocess.run(["chattr", "-i", above], check=True)

    assert (above / "tree").exists()


@pytest.mark.root
@pytest.mark.parametrize("same_filesystem", [True, False])
@pytest.mark.parametrize("place", ["tree", "tree/dir"])
def test_a_mount_is_refused_and_what_is_in_it_stays(place: str, tmp_path: Path, *, same_filesystem: bool) -> None:
    (tmp_path / "tree" / "dir").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    mount([Mount("bind", f"{tmp_path}/elsewhere") if same_filesystem else Mount("tmpfs", "tmpfs")], tmp_path / place)
    (tmp_path / place / "x").touch()

    try:
        with pytest.raises(MountBusyError, match=f"{tmp_path}/{place} is busy: in use by what is mounted there"):
            remove_tree(tmp_path / "tree")
        assert (tmp_path / place / "x").exists()
    finally:
        unmount(tmp_path / place)


@pytest.mark.root
def test_a_file_that_is_mounted_over_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").touch()
    (tmp_path / "canary").touch()
    subprocess.run(["mount", "--bind", tmp_path / "canary", tmp_path / "tree" / "file"], check=True)

    try:
        with pytest.raises(MountBusyError, match="tree/file is busy"):
            remove_tree(tmp_path / "tree")
    finally:
        unmount(tmp_path / "tree" / "file")

    assert (tmp_path / "canary").exists()


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o000, 0o500, 0o600])
def test_an_owner_who_is_not_root_gets_rid_of_what_keeps_him_out(
    mode: int, stranger: Path, as_stranger: Callable[[], AbstractContextManager[None]]
) -> None:
    with as_stranger():
        (stranger / "tree" / "dir" / "sub").mkdir(parents=True)
        (stranger / "tree" / "dir" / "file").touch()
        for name in ("tree/dir", "tree"):
            (stranger / name).chmod(mode)
        stranger.chmod(0o755)

        remove_tree(stranger / "tree")

        assert os.listdir(stranger) == []
        assert stranger.stat().st_mode & 0o7777 == 0o755


@pytest.mark.root
def test_what_belongs_to_another_is_not_forced(stranger: Path, as_stranger: Callable[[], AbstractContextManager[None]]) -> None:
    (stranger / "tree").mkdir()
    (stranger / "tree" / "file").touch()

    with as_stranger(), pytest.raises(PermissionError):
        remove_tree(stranger / "tree")

    assert (stranger / "tree" / "file").exists()


def test_a_directory_that_somebody_writes_into_is_emptied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    (tree / "dir").mkdir(parents=True)
    late = iter([tree / "dir" / "late", tree / "dir" / "later", tree / "late"])
    rmdir = os.rmdir

    def write_and_remove(name: str, *, dir_fd: int) -> None:
        for path in late:
            path.touch()
            break
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", write_and_remove)

    remove_tree(tree)

    assert not tree.exists()


def test_somebody_who_never_stops_writing_is_given_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    rmdir = os.rmdir

    def write_and_remove(name: str, *, dir_fd: int) -> None:
        (tree / "late").touch()
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", write_and_remove)

    with pytest.raises(OSError, match="not empty"):
        remove_tree(tree)


def test_no_handle_stays_open(tmp_path: Path) -> None:
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    before = sorted(os.listdir("/proc/self/fd"))

    remove_tree(tmp_path / "tree")

    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.root
def test_a_device_is_not_opened(tmp_path: Path) -> None:
    # Opening a watchdog, or a tape, is an act. A device number that nobody has would answer ENXIO.
    (tmp_path / "tree").mkdir()
    os.mknod(tmp_path / "tree" / "device", stat.S_IFBLK | 0o600, os.makedev(4095, 1))
    subprocess.run(["chattr", "+i", tmp_path / "tree"], check=True)

    remove_tree(tmp_path / "tree")

    assert not (tmp_path / "tree").exists()
