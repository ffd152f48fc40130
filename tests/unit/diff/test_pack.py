"""Layers as they are written; the numbers are those of the catalogue of conformance cases (DF)."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import stat
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from lamina.diff import ApplyOptions, PackResult, apply, compare, pack
from lamina.errors import HostError, UnrepresentableError
from lamina.model import Change, ChangeKind
from lamina.testing.trees import assert_same_tree
from tests.unit.diff.targets import HOST, opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.root

ADDED, MODIFIED, DELETED = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED


def written(child: Path, parent: Path | None = None) -> bytes:
    """The layer that turns ``parent``, or nothing, into ``child``."""
    sink = io.BytesIO()
    with opened(child) as here:
        if parent is None:
            pack(compare(None, here), here, sink)
        else:
            with opened(parent) as below:
                pack(compare(below, here), here, sink)
    return sink.getvalue()


def members(layer: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        return tar.getmembers()


def names(layer: bytes) -> list[str]:
    return [member.name + "/" * member.isdir() for member in members(layer)]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A parent with some content, and its copy, whose directories have fixed times."""
    parent, child = tmp_path / "parent", tmp_path / "child"
    for path in ("d/e/x", "d/y", "f", "g/z"):
        (parent / path).parent.mkdir(parents=True, exist_ok=True)
        (parent / path).write_text(path)
    HOST.copy_tree(parent, child)
    return parent, child


def still(tree: Path) -> None:
    """Give all directories one time."""
    for top, _, _ in os.walk(tree):
        os.utime(top, ns=(0, 10**18))


def test_df01_no_changes_make_an_archive_without_entries(pair: tuple[Path, Path]) -> None:
    parent, child = pair

    assert written(child, parent) == bytes(1024)


def test_df04_df06_directories_on_the_way_come_first_and_as_they_are(pair: tuple[Path, Path]) -> None:
    parent, child = pair
    still(parent)
    (child / "d" / "e" / "x").write_text("other")
    (child / "d").chmod(0o711)
    still(child)

    layer = members(written(child, parent))

    assert [(member.name, member.mode, member.mtime) for member in layer[:2]] == [("d", 0o711, 10**9), ("d/e", 0o755, 10**9)]
    assert [member.name for member in layer[2:]] == ["d/e/x"]


def test_df18_df29_df31_whiteouts_come_before_their_siblings_and_say_nothing_else(pair: tuple[Path, Path]) -> None:
    parent, child = pair
    still(parent)
    (child / "d" / "y").unlink()
    HOST.remove_tree(child / "g")
    (child / "a").touch()
    (child / "d" / "a").touch()
    (child / "d" / "e" / "a").touch()
    still(child)

    layer = written(child, parent)

    assert names(layer) == [".wh.g", "a", "d/", "d/.wh.y", "d/a", "d/e/", "d/e/a"]
    for sign in (members(layer)[0], members(layer)[3]):
        assert (sign.type, sign.mode, sign.uid, sign.gid, sign.size, sign.mtime) == (tarfile.REGTYPE, 0, 0, 0, 0, 0)


def test_df19_directory_that_was_made_again_has_one_whiteout_for_each_old_name(pair: tuple[Path, Path]) -> None:
    parent, child = pair
    still(parent)
    HOST.remove_tree(child / "d")
    (child / "d").mkdir()
    still(child)

    assert names(written(child, parent)) == ["d/", "d/.wh.e", "d/.wh.y"]


def test_df20_what_takes_the_place_of_another_type_needs_no_whiteout(pair: tuple[Path, Path]) -> None:
    parent, child = pair
    still(parent)
    HOST.remove_tree(child / "d")
    (child / "d").touch()
    (child / "f").unlink()
    (child / "f").mkdir()
    (child / "f" / "new").touch()
    still(child)

    assert names(written(child, parent)) == ["d", "f/", "f/new"]


def test_root_has_an_entry_only_when_it_was_modified(pair: tuple[Path, Path]) -> None:
    parent, child = pair
    child.chmod(0o700)

    layer = written(child, parent)

    assert [(member.name, member.mode) for member in members(layer)] == [(".", 0o700)]
    assert layer.startswith(b"./\0") or b"././@PaxHeader" in layer


def test_df14_first_name_of_a_file_carries_the_data_and_the_others_are_links_to_it(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "b").write_text("data")
    os.chown(tmp_path / "d" / "b", 5, 6)
    for name in ("z", "d/a", "d/c"):
        os.link(tmp_path / "d" / "b", tmp_path / name)

    layer = [member for member in members(written(tmp_path)) if not member.isdir()]

    assert [(member.name, member.type, member.linkname, member.size) for member in layer] == [
        ("d/a", tarfile.REGTYPE, "", 4),
        ("d/b", tarfile.LNKTYPE, "d/a", 0),
        ("d/c", tarfile.LNKTYPE, "d/a", 0),
        ("z", tarfile.LNKTYPE, "d/a", 0),
    ]
    assert {(member.uid, member.gid, member.mode) for member in layer} == {(5, 6, 0o644)}


def test_df16_size_is_that_of_files_each_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123456")
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("a")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
    sink = io.BytesIO()

    with opened(tmp_path) as here:
        result = pack(compare(None, here), here, sink)

    assert result == PackResult(entries=4, size=6, sockets=1)
    assert names(sink.getvalue()) == ["./", "a", "b", "c"]


def test_df22_directory_of_a_socket_is_not_written_for_its_sake(tmp_path: Path) -> None:
    (tmp_path / "d" / "deeper").mkdir(parents=True)
    (tmp_path / "e").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "d" / "deeper" / "s"))
    sink = io.BytesIO()

    with opened(tmp_path) as here:
        result = pack([Change(b"d/deeper/s", ADDED), Change(b"e", ADDED)], here, sink)

    assert (result.entries, result.sockets) == (1, 1)
    assert names(sink.getvalue()) == ["e"]


@pytest.mark.parametrize("path", [".wh.x", "d/.wh.x", ".wh.d/x", ".wh..wh..opq"])
def test_df24_w8_name_that_would_delete_something_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).touch()

    with pytest.raises(UnrepresentableError):
        written(tmp_path)


def test_df24_deletion_of_a_name_that_would_delete_something_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as here, pytest.raises(UnrepresentableError):
        pack([Change(b".wh.x", DELETED)], here, io.BytesIO())


def test_df29_same_tree_gives_the_same_bytes_however_it_was_made(tmp_path: Path) -> None:
    digests = set()
    for turn in range(5):
        tree = tmp_path / str(turn)
        paths = ["b", "a", "d/e/f", "d/a", "c!", "c/x", "\udcff"]
        for path in paths[turn:] + paths[:turn]:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(path.encode(errors="surrogateescape").hex())
            os.utime(tree / path, ns=(turn, 123_456_789))
            for name in ("user.a", "user.b") if turn % 2 else ("user.b", "user.a"):
                os.setxattr(tree / path, name, b"1")
        still(tree)
        digests.add(hashlib.sha256(written(tree)).hexdigest())

    assert len(digests) == 1


def test_changes_may_come_in_any_order(pair: tuple[Path, Path]) -> None:
    parent, child = pair
    (child / "d" / "y").unlink()
    (child / "new").touch()
    with opened(parent) as below, opened(child) as here:
        changes = list(compare(below, here))
        sinks = [io.BytesIO(), io.BytesIO()]
        pack(changes, here, sinks[0])
        pack(reversed(changes), here, sinks[1])

    assert sinks[0].getvalue() == sinks[1].getvalue()


@pytest.mark.parametrize("tool", [["tar", "--xattrs", "--xattrs-include=*"], ["bsdtar"]])
def test_other_programs_unpack_the_same_tree(tmp_path: Path, tool: list[str]) -> None:
    tree, other = tmp_path / "tree", tmp_path / "other"
    for path in ("d/" + "x" * 200, "y" * 100, "z" * 101, "ü", "a b\n"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(path)
    os.setxattr(tree / "ü", "user.note", b"\0=\n")
    os.chown(tree / "d", 3_000_000, 4_000_000)
    (tree / "d").chmod(0o3711)
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.link(tree / "ü", tree / "zz")
    (tree / "s").symlink_to("x" * 150)
    for name in ("null", "s", "ü", "d", "."):
        os.utime(tree / name, ns=(0, 1_700_000_000_123_456_789), follow_symlinks=False)
    other.mkdir()

    subprocess.run([*tool, "-xpf", "-", "-C", str(other)], input=written(tree), check=True)
    os.utime(other, ns=(0, tree.stat().st_mtime_ns))  # of all directories, bsdtar leaves this one's time alone

    assert_same_tree(tree, other)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda tree: os.truncate(tree / "large", 3_000_000), UnrepresentableError),
        (lambda tree: (tree / "later").unlink(), HostError),
        (lambda tree: (tree / "z").rmdir(), HostError),
    ],
)
def test_df34_file_that_changes_meanwhile_is_an_error(
    tmp_path: Path, act: Callable[[Path], None], error: type[Exception]
) -> None:
    (tmp_path / "large").write_bytes(bytes(4_000_000))
    (tmp_path / "later").touch()
    (tmp_path / "z").mkdir()

    class Meddler(io.BytesIO):
        def write(self, data: object) -> int:
            if self.tell() == 0:
                act(tmp_path)
            return super().write(data)  # type: ignore[arg-type]

    with opened(tmp_path) as here, pytest.raises(error):
        pack(list(compare(None, here)), here, Meddler())


def test_df34_file_that_grows_meanwhile_is_written_as_it_was_found(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(4_000_000))

    class Meddler(io.BytesIO):
        def write(self, data: object) -> int:
            os.truncate(tmp_path / "large", 5_000_000)
            return super().write(data)  # type: ignore[arg-type]

    sink = Meddler()
    with opened(tmp_path) as here:
        result = pack(list(compare(None, here)), here, sink)

    assert result.size == 4_000_000
    assert members(sink.getvalue())[-1].size == 4_000_000


def test_df35_error_of_the_sink_comes_out_and_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(bytes(4_000_000))
    before = len(os.listdir("/proc/self/fd"))

    class Full:
        def write(self, data: object) -> None:
            raise OSError(28, "No space left on device")

    with opened(tmp_path) as here, pytest.raises(OSError, match="No space left"):
        pack(compare(None, here), here, Full())

    assert len(os.listdir("/proc/self/fd")) == before


def test_reading_a_tree_leaves_its_access_times_alone(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("data")
    os.utime(tmp_path / "f", ns=(0, 10**18))

    written(tmp_path)

    assert (tmp_path / "f").stat().st_atime_ns == 0


def test_w9_name_of_any_length_can_be_deleted(tmp_path: Path) -> None:
    parent, child = tmp_path / "parent", tmp_path / "child"
    parent.mkdir()
    (parent / ("x" * 255)).touch()
    child.mkdir()
    layer = written(child, parent)

    with opened(parent) as fd:
        apply(io.BytesIO(layer), fd, ApplyOptions(has_parent=True))

    assert_same_tree(parent, child)
