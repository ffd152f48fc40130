"""The kernel's resolution and the walk for kernels without it are held to the same table, and to each other."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.host import paths, syscalls
from lamina.host.syscalls import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Resolver: TypeAlias = Callable[[int, bytes, int, int, int], int]

IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV
BENEATH = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS

both = pytest.mark.parametrize("resolver", [syscalls.openat2, paths.walk], ids=["kernel", "walk"])


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A root with links of every kind, and a canary outside of it."""
    (tmp_path / "canary").write_text("outside")
    top = tmp_path / "root"
    (top / "d" / "e").mkdir(parents=True)
    (top / "f").write_text("top")
    (top / "d" / "f").write_text("in d")
    for name, target in {
        "absolute": "/f",
        "upwards": "../../../../f",
        "to-d": "d",
        "d/back": "../f",
        "dangling": "absent",
        "loop": "loop",
        "out": f"{tmp_path}/canary",
        "out-too": "../canary",
        "link-40": "f",
        "slash": "d/",
    }.items():
        (top / name).symlink_to(target)
    for number in range(40):
        (top / f"link-{number}").symlink_to(f"link-{number + 1}")
    fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def outcome(resolver: Resolver, root: int, path: bytes, flags: int, rules: int) -> str:
    """What is there, or the name of the error."""
    try:
        fd = resolver(root, path, flags, 0, rules)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    try:
        return os.read(fd, 100).decode() if not flags & os.O_PATH else "opened"
    except IsADirectoryError:
        return "directory"
    finally:
        os.close(fd)


@both
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"f", "top"),
        (b"/f", "top"),
        (b"./d/.././/f", "top"),
        (b"d/f", "in d"),
        (b"..", "directory"),
        (b"../../f", "top"),
        (b"d/../../../d/f", "in d"),
        (b"absolute", "top"),
        (b"upwards", "top"),
        (b"d/back", "top"),
        (b"to-d/f", "in d"),
        (b"to-d/", "directory"),
        (b"slash/f", "in d"),
        (b"link-1", "top"),
        (b"link-0", "ELOOP"),
        (b"loop", "ELOOP"),
        (b"loop/x", "ELOOP"),
        (b"dangling", "ENOENT"),
        (b"out", "ENOENT"),
        (b"out-too", "ENOENT"),
        (b"f/", "ENOTDIR"),
        (b"f/x", "ENOTDIR"),
        (b"absent/x", "ENOENT"),
        (b"", "ENOENT"),
        (b"x" * 256, "ENAMETOOLONG"),
    ],
)
def test_in_root_a_path_means_what_it_means_in_a_chroot(resolver: Resolver, root: int, path: bytes, expected: str) -> None:
    assert outcome(resolver, root, path, os.O_RDONLY, IN_ROOT) == expected


@both
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"d/f", "in d"),
        (b"d/../f", "top"),
        (b"..", "EXDEV"),
        (b"d/../../root/f", "EXDEV"),
        (b"/f", "EXDEV"),
        (b"absolute", "ELOOP"),
        (b"to-d/f", "ELOOP"),
        (b"dangling", "ELOOP"),
    ],
)
def test_beneath_nothing_leads_out_and_no_link_is_followed(resolver: Resolver, root: int, path: bytes, expected: str) -> None:
    assert outcome(resolver, root, path, os.O_RDONLY, BENEATH) == expected


@both
def test_a_last_link_is_opened_itself_if_asked_for(resolver: Resolver, root: int) -> None:
    fd = resolver(root, b"to-d/../out", os.O_PATH | os.O_NOFOLLOW, 0, IN_ROOT)
    try:
        assert os.readlink("", dir_fd=fd).endswith("/canary")
    finally:
        os.close(fd)

    assert outcome(resolver, root, b"absolute", os.O_RDONLY | os.O_NOFOLLOW, IN_ROOT) == "ELOOP"


@both
def test_a_file_is_created_where_a_dangling_link_points_inside_the_root(resolver: Resolver, root: int) -> None:
    os.symlink("/d/new", "to-new", dir_fd=root)

    os.close(resolver(root, b"to-new", os.O_WRONLY | os.O_CREAT, 0o600, IN_ROOT))

    assert os.stat("d/new", dir_fd=root).st_mode & 0o777 == 0o600


@both
def test_exclusive_creation_takes_no_link(resolver: Resolver, root: int) -> None:
    with pytest.raises(FileExistsError):
        resolver(root, b"dangling", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, IN_ROOT)


@both
@pytest.mark.root
def test_a_mount_inside_is_not_entered(resolver: Resolver, tmpfs: Path) -> None:
    root = os.open(tmpfs.parent, os.O_PATH)
    try:
        assert outcome(resolver, root, b"tmpfs", os.O_RDONLY, IN_ROOT) == "EXDEV"
        assert outcome(resolver, root, b"tmpfs/x", os.O_RDONLY, IN_ROOT) == "EXDEV"
    finally:
        os.close(root)


@both
def test_a_magic_link_does_not_jump(resolver: Resolver, tmp_path: Path) -> None:
    root = os.open("/proc/self", os.O_PATH)
    canary = os.open(tmp_path, os.O_PATH)
    try:
        assert outcome(resolver, root, b"fd/%d/" % canary, os.O_RDONLY, IN_ROOT) in ("ELOOP", "ENOENT")
    finally:
        os.close(canary)
        os.close(root)


NAMES = [b"a", b"b", b"c", b"l", b"..", b".", b""]


@settings(max_examples=150, deadline=None)
@given(
    links=st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4), min_size=3, max_size=3),
    path=st.lists(st.sampled_from(NAMES), min_size=1, max_size=6),
    flags=st.sampled_from([os.O_PATH, os.O_PATH | os.O_DIRECTORY, os.O_RDONLY, os.O_RDONLY | os.O_DIRECTORY]),
    rules=st.sampled_from([IN_ROOT, BENEATH]),
)
def test_the_walk_finds_what_the_kernel_finds(
    links: list[list[bytes]], path: list[bytes], flags: int, rules: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp("world")
    (top / "root" / "a" / "b" / "c").mkdir(parents=True)
    (top / "root" / "b").mkdir()
    (top / "root" / "c").write_text("file")
    for place, target in zip((b"l", b"a/l", b"a/b/l"), links, strict=True):
        os.symlink(b"/".join(target) or b"/", os.path.join(os.fsencode(top), b"root", place))
    root = os.open(top / "root", os.O_PATH)

    def found(resolver: Resolver) -> tuple[int, int] | str:
        try:
            fd = resolver(root, b"/".join(path), flags, 0, rules)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        try:
            return os.fstat(fd).st_dev, os.fstat(fd).st_ino
        finally:
            os.close(fd)

    try:
        assert found(paths.walk) == found(syscalls.openat2)
    finally:
        os.close(root)


@both
def test_a_directory_that_turns_into_a_link_meanwhile_does_not_lead_out(resolver: Resolver, root: int, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("outside")
    os.mkdir("real", dir_fd=root)
    os.symlink(tmp_path / "outside", "link", dir_fd=root)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename("real", "here", src_dir_fd=root, dst_dir_fd=root)
            os.rename("here", "real", src_dir_fd=root, dst_dir_fd=root)
            os.rename("link", "here", src_dir_fd=root, dst_dir_fd=root)
            os.rename("here", "link", src_dir_fd=root, dst_dir_fd=root)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        found = {outcome(resolver, root, b"here/f", os.O_RDONLY, IN_ROOT) for _ in range(3000)}
    finally:
        stop.set()
        swapping.join()

    assert found <= {"ENOENT", "EAGAIN"}


@pytest.mark.parametrize("refusal", [errno.ENOSYS, errno.EPERM])
def test_a_kernel_without_openat2_is_made_do(refusal: int, root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(syscalls, "openat2", refuse)

    fd = paths.open_in_root(root, b"upwards", os.O_RDONLY)

    try:
        assert os.read(fd, 10) == b"top"
    finally:
        os.close(fd)


def test_endless_races_end(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def race(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(syscalls, "openat2", race)

    with pytest.raises(OSError, match="again and again"):
        paths.open_in_root(root, b"../f", os.O_RDONLY)


@pytest.mark.root
def test_inside_is_neither_a_mount_nor_behind_a_link(root: int, tmpfs: Path) -> None:
    above = os.open(tmpfs.parent, os.O_PATH)
    try:
        with pytest.raises(OSError, match="cross-device") as caught:
            paths.open_inside(above, b"tmpfs", os.O_RDONLY)
        assert caught.value.errno == errno.EXDEV
        with pytest.raises(OSError, match="symbolic links"):
            paths.open_inside(root, b"to-d", os.O_RDONLY)
    finally:
        os.close(above)
