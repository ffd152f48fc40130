from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from lamina.host import xattr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def make(directory: int, kind: str) -> bytes:
    if kind == "file":
        os.close(os.open("node", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    elif kind == "directory":
        os.mkdir("node", dir_fd=directory)
    elif kind == "device":
        os.mknod("node", 0o20600, os.makedev(1, 3), dir_fd=directory)
    elif kind == "fifo":
        os.mkfifo("node", dir_fd=directory)
    else:
        os.symlink("/proc/self/absent", "node", dir_fd=directory)
    return b"node"


@pytest.mark.parametrize("kind", ["file", "directory", "device", "fifo", "symlink"])
def test_any_kind_of_node_has_attributes(kind: str, directory: int) -> None:
    name = make(directory, kind)

    xattr.set_xattr(directory, name, b"trusted.b", b"\0binary\xff")
    xattr.set_xattr(directory, name, b"trusted.a", b"")
    found = xattr.list_xattrs(directory, name), xattr.read_xattrs_at(directory, name)
    xattr.remove_xattr(directory, name, b"trusted.a")

    assert found == ([b"trusted.a", b"trusted.b"], {b"trusted.a": b"", b"trusted.b": b"\0binary\xff"})
    assert xattr.get_xattr(directory, name, b"trusted.b") == b"\0binary\xff"
    assert xattr.get_xattr(directory, name, b"trusted.a") is None


def test_a_link_is_not_followed(directory: int, tmp_path: Path) -> None:
    (tmp_path / "canary").touch()
    (tmp_path / "link").symlink_to("canary")

    xattr.set_xattr(directory, b"link", b"trusted.x", b"the link's")

    assert os.listxattr(tmp_path / "canary") == []
    assert xattr.get_path_xattr(tmp_path / "link", "trusted.x") == b"the link's"


def test_an_attribute_that_a_link_cannot_have_is_refused_by_the_kernel(directory: int) -> None:
    name = make(directory, "symlink")

    with pytest.raises(PermissionError):
        xattr.set_xattr(directory, name, b"user.x", b"")


def test_removing_what_is_absent_is_an_error(directory: int) -> None:
    name = make(directory, "file")

    with pytest.raises(OSError, match="No data") as caught:
        xattr.remove_xattr(directory, name, b"user.x")

    assert caught.value.errno == errno.ENODATA


def test_attributes_of_an_open_file_come_sorted(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for name in ("user.c", "user.a", "user.b"):
        xattr.set_path_xattr(file, name, name.encode())

    with file.open("rb") as open_file:
        found = xattr.read_xattrs(open_file.fileno())

    assert list(found.items()) == [(b"user.a", b"user.a"), (b"user.b", b"user.b"), (b"user.c", b"user.c")]


def test_a_name_that_is_not_utf_8_survives(directory: int) -> None:
    name = make(directory, "file")

    xattr.set_xattr(directory, name, b"user.\xff", b"x")

    assert xattr.read_xattrs_at(directory, name) == {b"user.\xff": b"x"}


def test_a_filesystem_without_attributes_has_none() -> None:
    proc = os.open("/proc/sys/kernel", os.O_RDONLY)
    try:
        assert xattr.list_xattrs(proc, b"ostype") == []
        assert xattr.get_xattr(proc, b"ostype", b"user.x") is None
    finally:
        os.close(proc)
