from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from lamina.host import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_a_failure_is_the_os_error_of_its_number(directory: int) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        syscalls.openat2(directory, b"absent", os.O_RDONLY)

    assert caught.value.errno == errno.ENOENT


def test_bytes_with_a_nul_are_refused_and_not_cut(directory: int, tmp_path: Path) -> None:
    (tmp_path / "name").touch()

    with pytest.raises(ValueError, match="null byte"):
        syscalls.openat2(directory, b"name\0and more", os.O_RDONLY)


def test_what_openat2_opens_is_closed_by_exec(directory: int, tmp_path: Path) -> None:
    (tmp_path / "name").touch()

    fd = syscalls.openat2(directory, b"name", os.O_RDONLY)

    try:
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    finally:
        os.close(fd)


@pytest.mark.parametrize("chmod", [syscalls.chmod_at, syscalls.chmod_by_handle])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_chmod_sets_exactly_the_mode_of_any_node(
    chmod: Callable[[int, bytes, int], None], umask: int, directory: int, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    before = os.umask(umask)

    try:
        chmod(directory, b"file", 0o4755)
        chmod(directory, b"fifo", 0o666)
    finally:
        os.umask(before)

    assert [os.stat(tmp_path / name).st_mode & 0o7777 for name in ("file", "fifo")] == [0o4755, 0o666]


@pytest.mark.parametrize("chmod", [syscalls.chmod_at, syscalls.chmod_by_handle])
def test_chmod_does_not_follow_a_link(chmod: Callable[[int, bytes, int], None], directory: int, tmp_path: Path) -> None:
    (tmp_path / "canary").touch(mode=0o600)
    (tmp_path / "link").symlink_to("canary")

    with pytest.raises(OSError, match="not supported"):
        chmod(directory, b"link", 0o777)

    assert (tmp_path / "canary").stat().st_mode & 0o7777 == 0o600


@pytest.mark.root
def test_link_handle_links_the_link_itself(directory: int, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/absent")
    handle = os.open("link", os.O_PATH | os.O_NOFOLLOW, dir_fd=directory)

    try:
        syscalls.link_handle(handle, directory, b"again")
    finally:
        os.close(handle)

    assert os.readlink(tmp_path / "again") == "/absent"
    assert os.lstat(tmp_path / "again").st_ino == os.lstat(tmp_path / "link").st_ino


def test_filesystem_magic_tells_proc() -> None:
    fd = os.open("/proc", os.O_PATH)
    try:
        assert syscalls.filesystem_magic(fd) == 0x9FA0
    finally:
        os.close(fd)


def test_the_mount_of_a_handle_is_that_of_mountinfo(directory: int) -> None:
    with open(f"/proc/self/fdinfo/{directory}", encoding="ascii") as file:
        told = dict(line.split(":", 1) for line in file)

    assert syscalls.mount_id(directory) == int(told["mnt_id"])


def test_a_mount_root_is_told_from_a_directory(tmp_path: Path) -> None:
    assert syscalls.is_mount_root(b"/proc")
    assert not syscalls.is_mount_root(os.fsencode(tmp_path))


@pytest.mark.root
def test_clear_protection_tells_whether_there_was_any(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    fd = os.open(file, os.O_RDONLY)
    os.system(f"chattr +ia {file}")

    try:
        assert syscalls.clear_protection(fd)
        assert not syscalls.clear_protection(fd)
        file.write_text("writable")
    finally:
        os.close(fd)


def test_clear_protection_does_not_mind_a_filesystem_without_flags() -> None:
    fd = os.open("/proc/self/stat", os.O_RDONLY)
    try:
        assert not syscalls.clear_protection(fd)
    finally:
        os.close(fd)
