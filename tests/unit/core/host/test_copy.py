from __future__ import annotations

import os
import resource
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from lamina.errors import MountBusyError
from lamina.host.copy import copy_tree
from lamina.host.filesystem import filesystem
from lamina.host.mount import mount, unmount
from lamina.model import Mount

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

pytestmark = pytest.mark.root


def describe(top: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything that a true copy keeps of each path; hard links as the first path of their inode."""
    first: dict[tuple[int, int], bytes] = {}
    nodes: dict[bytes, tuple[object, ...]] = {}
    pending = [os.fsencode(top)]
    while pending:
        path = pending.pop()
        found = os.lstat(path)
        below = os.path.relpath(path, os.fsencode(top))
        content: bytes | None = None
        if stat.S_ISDIR(found.st_mode):
            pending += sorted((os.path.join(path, name) for name in os.listdir(path)), reverse=True)
        elif stat.S_ISREG(found.st_mode):
            with open(path, "rb") as file:
                content = file.read()
        elif stat.S_ISLNK(found.st_mode):
            content = os.readlink(path)
        nodes[below] = (
            stat.filemode(found.st_mode),
            (found.st_uid, found.st_gid),
            found.st_rdev,
            (found.st_atime_ns, found.st_mtime_ns),
            first.setdefault((found.st_dev, found.st_ino), below),
            {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)},
            content,
        )
        # Looking was reading, and is not to be seen.
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)
    return nodes


def assert_true_copy(source: Path, target: Path) -> None:
    expected = describe(source)

    copy_tree(source, target)

    assert describe(target) == expected


@pytest.fixture
def source(tmp_path: Path) -> Path:
    place = tmp_path / "source"
    place.mkdir()
    return place


def test_every_kind_of_node_is_copied_with_all_that_belongs_to_it(source: Path, tmp_path: Path) -> None:
    (source / "dir" / "empty").mkdir(parents=True)
    (source / "file").write_bytes(os.urandom(100_000))
    (source / "nothing").touch()
    (source / "link").symlink_to("/absent/target")
    os.mkfifo(source / "fifo")
    os.mknod(source / "char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(source / "whiteout", stat.S_IFCHR, os.makedev(0, 0))
    os.mknod(source / "block", stat.S_IFBLK | 0o600, os.makedev(259, 300))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{source}/socket")
    (source / os.fsdecode(b"not \xff utf-8\n")).write_text("x")
    for number, path in enumerate([*source.iterdir(), source / "dir" / "empty", source]):
        os.chown(path, 1000 + number, 2000 + number, follow_symlinks=False)
        os.setxattr(path, "trusted.number", b"%d" % number, follow_symlinks=False)
        os.utime(path, ns=(number * 10**9 + 1, -(10**18) + number), follow_symlinks=False)

    assert_true_copy(source, tmp_path / "target")

    assert len(describe(source)) == 12


def test_copying_leaves_no_trace_in_the_access_times_of_files_and_directories(source: Path, tmp_path: Path) -> None:
    (source / "dir").mkdir()
    (source / "dir" / "file").write_text("x")
    for path in (source / "dir" / "file", source / "dir", source):
        os.utime(path, ns=(1, 1))
    expected = describe(source)

    copy_tree(source, tmp_path / "target")

    assert describe(source) == expected


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_modes_are_exact_under_any_umask(umask: int, source: Path, tmp_path: Path) -> None:
    for mode in (0o000, 0o600, 0o644, 0o777, 0o4755, 0o2755, 0o6777, 0o1777):
        (source / f"file-{mode:o}").touch()
        (source / f"directory-{mode:o}").mkdir()
        os.mkfifo(source / f"fifo-{mode:o}")
        for kind in ("file", "directory", "fifo"):
            (source / f"{kind}-{mode:o}").chmod(mode)
    before = os.umask(umask)

    try:
        assert_true_copy(source, tmp_path / "target")
    finally:
        os.umask(before)


def test_a_change_of_owner_costs_neither_capabilities_nor_set_user_id(source: Path, tmp_path: Path) -> None:
    file = source / "file"
    file.write_text("program")
    os.chown(file, 1000, 1000)
    file.chmod(0o6755)
    # struct vfs_cap_data, revision 2: cap_net_raw, permitted and effective.
    capability = (0x02000001).to_bytes(4, "little") + (1 << 13).to_bytes(4, "little") + bytes(12)
    os.setxattr(file, "security.capability", capability)
    file.chmod(0o6755)

    copy_tree(source, tmp_path / "target")

    assert os.getxattr(tmp_path / "target" / "file", "security.capability") == capability
    assert describe(tmp_path / "target") == describe(source)


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL as the kernel stores it (linux/posix_acl_xattr.h): tag, permissions, id."""
    packed = [tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + id.to_bytes(4, "little") for tag, bits, id in entries]
    return (2).to_bytes(4, "little") + b"".join(packed)


NOBODY = 0xFFFFFFFF
#: rwx for the owner, rwx for user 1234, r-x for the group, all of that let through, r-x for others.
LIST = access_list((0x01, 7, NOBODY), (0x02, 7, 1234), (0x04, 5, NOBODY), (0x10, 7, NOBODY), (0x20, 5, NOBODY))


def test_nothing_is_inherited_from_where_the_copy_is_put(source: Path, tmp_path: Path) -> None:
    (source / "dir").mkdir()
    (source / "dir" / "file").touch()
    (source / "link").symlink_to("x")
    place = tmp_path / "place"
    place.mkdir()
    os.chown(place, 1000, 1000)
    place.chmod(0o2777)
    os.setxattr(place, "system.posix_acl_default", LIST)

    assert_true_copy(source, place / "target")


def test_access_lists_are_copied_and_hand_nothing_down_meanwhile(source: Path, tmp_path: Path) -> None:
    (source / "plain").touch()
    (source / "plain-dir").mkdir()
    (source / "listed").touch()
    os.setxattr(source / "listed", "system.posix_acl_access", LIST)
    os.setxattr(source, "system.posix_acl_default", LIST)

    assert_true_copy(source, tmp_path / "target")


def test_hard_links_of_every_kind_stay_links_of_each_other(source: Path, tmp_path: Path) -> None:
    (source / "a").mkdir()
    (source / "b").mkdir()
    (source / "a" / "file").write_text("x")
    (source / "a" / "link").symlink_to("nowhere")
    os.mkfifo(source / "a" / "fifo")
    for name in ("file", "link", "fifo"):
        os.link(source / "a" / name, source / "b" / name, follow_symlinks=False)
        os.link(source / "a" / name, source / f"z-{name}", follow_symlinks=False)
    (source / "alone").write_text("y")
    os.link(source / "alone", tmp_path / "outside")

    assert_true_copy(source, tmp_path / "target")
    assert os.lstat(tmp_path / "target" / "b" / "link").st_nlink == 3
    assert (tmp_path / "target" / "alone").stat().st_nlink == 1


def test_a_tree_may_be_deeper_than_any_path_and_takes_few_handles(tmpfs: Path) -> None:
    depth, name = 1100, "n" * 100
    source, target = tmpfs / "source", tmpfs / "target"
    source.mkdir()
    directory = os.open(source, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=directory)
        deeper = os.open(name, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = deeper
    with open(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=directory), "w") as file:
        file.write("bottom")
    os.link("file", "again", src_dir_fd=directory, dst_dir_fd=directory)
    os.close(directory)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (250, hard))

    try:
        copy_tree(source, target)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    directory = os.open(target, os.O_RDONLY)
    for _ in range(depth):
        deeper = os.open(name, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = deeper
    found = os.stat("again", dir_fd=directory)
    os.close(directory)
    assert (found.st_nlink, found.st_size) == (2, 6)


def test_holes_stay_holes_and_data_are_shared_where_they_can_be(source: Path, btrfs: Path) -> None:
    with (source / "sparse").open("wb") as file:
        file.truncate(64 << 20)
    (source / "dense").write_bytes(os.urandom(16 << 20))
    assert_true_copy(source, btrfs / "first")
    os.sync()
    before = filesystem(btrfs).free

    assert_true_copy(btrfs / "first", btrfs / "second")

    os.sync()
    assert (btrfs / "second" / "sparse").stat().st_blocks == 0
    assert before - filesystem(btrfs).free < 1 << 20


def test_a_target_that_exists_is_refused_and_left_alone(source: Path, tmp_path: Path) -> None:
    (source / "file").touch()
    (tmp_path / "target").mkdir()

    with pytest.raises(FileExistsError):
        copy_tree(source, tmp_path / "target")

    assert os.listdir(tmp_path / "target") == []


def test_a_source_that_is_a_link_or_absent_makes_no_target(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)

    for path in (tmp_path / "link", tmp_path / "absent"):
        with pytest.raises(OSError, match=path.name):
            copy_tree(path, tmp_path / "target")

    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("same_filesystem", [True, False])
def test_what_is_mounted_below_is_refused(source: Path, tmp_path: Path, *, same_filesystem: bool) -> None:
    (source / "dir" / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").touch()
    what = Mount("bind", f"{tmp_path}/elsewhere") if same_filesystem else Mount("tmpfs", "tmpfs")
    mount([what], source / "dir" / "sub")

    try:
        with pytest.raises(MountBusyError, match=f"{source}/dir/sub is busy: in use by what is mounted there"):
            copy_tree(source, tmp_path / "target")
    finally:
        unmount(source / "dir" / "sub")

    assert not (tmp_path / "target" / "dir" / "sub" / "secret").exists()


def test_a_file_that_is_mounted_over_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "file").touch()
    (tmp_path / "secret").write_text("secret")
    subprocess.run(["mount", "--bind", tmp_path / "secret", source / "file"], check=True)

    try:
        with pytest.raises(MountBusyError, match="file is busy"):
            copy_tree(source, tmp_path / "target")
    finally:
        unmount(source / "file")


def test_what_cannot_be_kept_is_an_error_that_names_the_path(source: Path, tmp_path: Path, tmpfs: Path) -> None:
    (source / "dir").mkdir()
    (source / "dir" / "big").write_bytes(bytes(65 << 20))
    before = sorted(os.listdir("/proc/self/fd"))

    with pytest.raises(OSError, match="No space left on device") as caught:
        copy_tree(source, tmpfs / "target")

    assert caught.value.filename == f"{source}/dir/big"
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_an_owner_who_is_not_root_copies_what_is_his(
    stranger: Path, as_stranger: Callable[[], AbstractContextManager[None]]
) -> None:
    with as_stranger():
        (stranger / "source" / "dir").mkdir(parents=True)
        (stranger / "source" / "dir" / "file").write_text("mine")
        (stranger / "source" / "dir" / "link").symlink_to("file")

        assert_true_copy(stranger / "source", stranger / "target")
