"""Entries of a layer, one by one and where they meet; the numbers are those of the catalogue of conformance cases (AP)."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lamina.diff import ApplyOptions, Limits, apply
from lamina.driver import Encoding
from lamina.errors import MalformedArchiveError, UnsafeEntryError
from lamina.testing.archives import (
    LONG_AGO,
    archive,
    block_device,
    character_device,
    directory,
    fifo,
    file,
    hardlink,
    opaque,
    symlink,
    whiteout,
)
from tests.unit.diff.targets import opened

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.testing.archives import ArchiveEntry
    from tests.unit.diff.targets import Target

pytestmark = pytest.mark.root

#: A directory of the layers below, with all that a directory can have.
LOWER = directory("d", mode=0o2750, uid=5, gid=6, mtime=LONG_AGO + 7, xattrs={"user.note": b"lower"})


def test_ap01_every_kind_of_entry_becomes_what_it_says(target: Target) -> None:
    target.apply(
        directory("d", mode=0o700, uid=1, gid=2, mtime=1),
        file("f", "data", mode=0o4755, uid=3, gid=4, mtime=1_500_000_000, xattrs={"user.note": b"\0=\n"}),
        symlink("s", "../nowhere", uid=5, gid=6, mtime=-1),
        hardlink("h", "f"),
        fifo("p", mode=0o620),
        character_device("c", 1, 3, mode=0o666),
        block_device("b", 7, 300, mode=0o660),
    )

    found = target.manifest()
    assert {path: node.kind for path, node in found.items()} == {
        b".": "directory",
        b"b": "block",
        b"c": "char",
        b"d": "directory",
        b"f": "file",
        b"h": "file",
        b"p": "fifo",
        b"s": "symlink",
    }
    f, s = found[b"f"], found[b"s"]
    assert (f.mode, f.uid, f.gid, f.mtime, f.size) == (0o4755, 3, 4, 1_500_000_000, 4)
    assert (f.xattrs, f.links) == (((b"user.note", b"\0=\n"),), (b"f", b"h"))
    assert (s.uid, s.gid, s.mtime, s.target) == (5, 6, -1, b"../nowhere")
    assert (found[b"d"].mode, found[b"d"].mtime, found[b"p"].mode) == (0o700, 1, 0o620)
    assert (found[b"c"].mode, found[b"c"].rdev) == (0o666, os.makedev(1, 3))
    assert (found[b"b"].mode, found[b"b"].rdev) == (0o660, os.makedev(7, 300))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_ap02_modes_and_missing_directories_do_not_depend_on_the_umask(target: Target, umask: int) -> None:
    before = os.umask(umask)
    try:
        target.apply(file("deeply/nested/and/implied", mode=0o666), directory("wide", mode=0o777), fifo("p", mode=0o666))
    finally:
        os.umask(before)

    found = target.manifest()
    for path in (b"deeply", b"deeply/nested", b"deeply/nested/and"):
        assert (found[path].mode, found[path].uid, found[path].gid, found[path].mtime) == (0o755, 0, 0, 0)
    assert [found[path].mode for path in (b"deeply/nested/and/implied", b"wide", b"p")] == [0o666, 0o777, 0o666]


def test_ap03_directory_of_a_lower_layer_stays_as_it_is_when_something_is_made_in_it(target: Target) -> None:
    target.apply(LOWER, directory("d/e", mode=0o711, uid=9), file("d/e/old"))
    before = target.manifest()

    target.apply(file("d/e/new", uid=7))

    after = target.manifest()
    assert after.pop(b"d/e/new").uid == 7
    assert after == before


@pytest.mark.parametrize("link", ["usr/lib", "/usr/lib", "../usr/lib", "../../../usr/./lib/", "alias"])
def test_ap04_lower_symlink_to_a_directory_is_followed_and_kept(target: Target, link: str, victim: Path) -> None:
    target.apply(directory("usr/lib", mode=0o711), symlink("lib", link), symlink("alias", "/usr/lib"))

    target.apply(file("lib/systemd/x", "new"), file("lib/y", "new"))

    found = target.manifest()
    assert (found[b"lib"].kind, found[b"usr/lib/systemd/x"].size, found[b"usr/lib/y"].size) == ("symlink", 3, 3)
    assert found[b"usr/lib"].mode == 0o711


@pytest.mark.parametrize("link", ["/run", "../run", "/run/deeper"])
def test_ap04_lower_symlink_to_nothing_leads_to_a_directory_that_is_made(target: Target, link: str, victim: Path) -> None:
    target.apply(symlink("var/run", link))

    target.apply(file("var/run/x.pid", "1"))

    found = target.manifest()
    assert found[b"var/run"].kind == "symlink"
    assert (b"run/deeper/x.pid" if "deeper" in link else b"run/x.pid") in found


def test_ap05_lower_file_used_as_a_directory_is_replaced(target: Target) -> None:
    target.apply(file("f", "lower", mode=0o600, uid=3))

    target.apply(file("f/x", "upper"))

    found = target.manifest()
    assert (found[b"f"].kind, found[b"f"].mode, found[b"f"].uid, found[b"f/x"].size) == ("directory", 0o755, 0, 5)


def test_ap05_file_of_the_same_layer_used_as_a_directory_is_an_error(target: Target) -> None:
    target.apply(directory("d"))

    with pytest.raises(MalformedArchiveError, match="file of this layer is used as a directory"):
        target.apply(file("f"), file("f/x"))


def test_ap06_directory_over_directory_takes_the_new_metadata_and_keeps_the_content(target: Target) -> None:
    target.apply(LOWER, file("d/old", "old"))

    target.apply(directory("d", mode=0o700, mtime=9, xattrs={"user.other": b"upper"}))

    found = target.manifest()
    assert (found[b"d"].mode, found[b"d"].uid, found[b"d"].mtime) == (0o700, 0, 9)
    assert found[b"d"].xattrs == ((b"user.other", b"upper"),)
    assert found[b"d/old"].size == 3


KINDS: dict[str, ArchiveEntry] = {
    "file": file("x", "new"),
    "directory": directory("x"),
    "symlink": symlink("x", "e"),
    "fifo": fifo("x"),
    "hardlink": hardlink("x", "e/f"),
}


@pytest.mark.parametrize("new", KINDS)
@pytest.mark.parametrize("old", KINDS)
def test_ap07_any_kind_replaces_any_other(target: Target, old: str, new: str) -> None:
    below = [directory("e"), file("e/f", "other"), KINDS[old]] + [file("x/child")] * (old == "directory")
    target.apply(*below)
    before = target.manifest()

    target.apply(KINDS[new])

    found = target.manifest()
    assert found[b"x"].kind == {"hardlink": "file"}.get(new, new)
    assert (b"x/child" in found) == (old == new == "directory")
    # What a link led to, and the other names of a file, are as they were, whatever happened to one name.
    assert (found[b"e/f"].content, found[b"e"]) == (before[b"e/f"].content, before[b"e"])
    if old == "hardlink" and new == "file":
        assert found[b"e/f"].links == ()


@pytest.mark.parametrize("link", ["e", "/e", "x", "y"])
def test_ap08_entry_over_a_symlink_replaces_the_link(target: Target, link: str) -> None:
    target.apply(directory("e"), file("e/kept"), symlink("x", link), symlink("y", "x"))

    target.apply(directory("x", mode=0o700), file("x/new"))

    found = target.manifest()
    assert [path for path in found if path.startswith((b"e", b"x"))] == [b"e", b"e/kept", b"x", b"x/new"]
    assert found[b"x"].mode == 0o700


def test_ap09_last_of_several_entries_for_a_path_counts(target: Target) -> None:
    target.apply(directory("lower"), file("a/lower", "lower"))

    target.apply(
        *(file("x", "first"), file("x", "second one")),
        *(file("a"), directory("a", mode=0o711), file("a/b", "in it")),
        *(directory("b"), file("b/c"), file("b", "file again")),
    )

    found = target.manifest()
    assert (found[b"x"].size, found[b"a"].mode, found[b"b"].size) == (10, 0o711, 10)
    assert [path for path in found if b"/" in path] == [b"a/b"]


def test_ap10_hard_link_entry_carries_no_metadata(target: Target) -> None:
    target.apply(file("f", "data", mode=0o640, uid=3, mtime=5), hardlink("h", "f", mode=0o777, uid=9, mtime=7))

    found = target.manifest()
    assert found[b"h"] == found[b"f"]
    assert (found[b"f"].mode, found[b"f"].uid, found[b"f"].mtime, found[b"f"].links) == (0o640, 3, 5, (b"f", b"h"))


@pytest.mark.parametrize("existing", ["./f", "/f", "//f", "d/../f"][:3])
def test_ap10_hard_link_target_is_a_path_inside_the_root(target: Target, existing: str) -> None:
    target.apply(file("f", "data"), hardlink("d/h", existing))

    assert target.manifest()[b"d/h"].links == (b"d/h", b"f")


@pytest.mark.parametrize("existing", ["later", "missing", "d/missing", "missing/x", "d", "h", "/", "f/x", "here/h"])
def test_ap10_hard_link_to_what_is_no_file_yet_is_an_error(target: Target, existing: str) -> None:
    with pytest.raises(MalformedArchiveError, match="hard link"):
        target.apply(directory("d"), file("f"), file("h"), symlink("here", "."), hardlink("h", existing), file("later"))


def test_ap10_hard_link_to_a_symlink_is_another_name_of_the_link(target: Target, victim: Path) -> None:
    target.apply(symlink("s", f"{victim}/secret"), hardlink("h", "s"))

    found = target.manifest()
    assert (found[b"h"].kind, found[b"h"].links) == ("symlink", (b"h", b"s"))


def test_ap11_hard_link_replaces_what_is_there(target: Target) -> None:
    target.apply(file("f", "data"), file("x", "old"), directory("d"), file("d/old"))

    target.apply(hardlink("x", "f"), hardlink("d", "f"), whiteout("gone"), hardlink("gone", "f"))

    assert target.manifest()[b"x"].links == (b"d", b"f", b"gone", b"x")


def test_ap11_hard_link_to_a_lower_file_keeps_all_of_its_metadata(target: Target) -> None:
    target.apply(
        LOWER,
        file("d/f", b"x" * 3_000_000, mode=0o4711, uid=3, gid=4, mtime=LONG_AGO + 5, xattrs={"user.note": b"1"}),
        symlink("d/s", "f", uid=8),
        fifo("d/p", mode=0o600),
    )
    before = target.manifest()

    target.apply(hardlink("n/f", "d/f"), hardlink("s", "/d/s"), hardlink("p", "d/p"))

    found = target.manifest()
    for new, old in ((b"n/f", b"d/f"), (b"s", b"d/s"), (b"p", b"d/p")):
        assert found[new] == found[old]
        assert set(found[old].links) == {new, old}
        assert replace(found[old], links=()) == before[old]
    assert found[b"d"] == before[b"d"]


def test_ap11_file_that_was_linked_to_can_still_be_whited_out(target: Target) -> None:
    target.apply(file("f", "data"), file("d/g", "more"), file("e/h", "even more"))

    target.apply(hardlink("x", "f"), whiteout("f"), hardlink("y", "d/g"), whiteout("d"), hardlink("z", "e/h"), opaque("e"))

    assert list(target.manifest()) == [b".", b"e", b"x", b"y", b"z"]


@pytest.mark.parametrize("text", ["/absolute", "../../..", "dangling", "a/", "x" * 200, "x/" * 2000])
def test_ap12_text_of_a_symlink_is_kept_to_the_letter(target: Target, text: str) -> None:
    target.apply(symlink("s", text))

    assert target.manifest()[b"s"].target == text.encode()


def test_ap13_ap14_permissions_and_capabilities_survive_the_change_of_owner(target: Target) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")

    target.apply(
        file("ping", mode=0o6755, uid=7, gid=8, xattrs={"security.capability": capability}),
        directory("tmp", mode=0o3777, uid=7, gid=8),
    )

    found = target.manifest()
    assert (found[b"ping"].mode, found[b"ping"].xattrs) == (0o6755, ((b"security.capability", capability),))
    assert found[b"tmp"].mode == 0o3777


def test_ap15_times_are_kept_to_the_nanosecond_whatever_comes_later(target: Target) -> None:
    times = {"d": 1_700_000_000_123_456_789, "d/e": -1, "d/e/f": -1_500_000_000, "late": 1, "late/x": 2**33 * 10**9 + 1}

    target.apply(
        directory("d", mtime=times["d"]),
        directory("d/e", mtime=times["d/e"]),
        file("late/x", mtime=times["late/x"]),
        file("d/e/f", mtime=times["d/e/f"]),
        hardlink("d/h", "d/e/f"),
        directory("late", mtime=times["late"]),
        file("late/y"),
        directory(".", mtime=42),
        file("last"),
    )

    found = target.manifest()
    assert {name: found[name.encode()].mtime for name in times} == times
    assert found[b"."].mtime == 42


def test_ap15_times_are_right_when_more_directories_are_used_in_turns_than_are_held_open(target: Target) -> None:
    names = [f"d{number}" for number in range(150)]

    target.apply(
        *(directory(name, mtime=number) for number, name in enumerate(names)),
        *(file(f"{name}/{turn}") for turn in range(3) for name in names),
    )

    found = target.manifest()
    assert [found[name.encode()].mtime for name in names] == list(range(150))


def test_ap16_directory_without_an_entry_keeps_its_times(target: Target) -> None:
    target.apply(LOWER, file("d/a"), file("d/b"), directory("d/e", mtime=3), file("d/e/x"), symlink("s", "d"))
    before = target.manifest()

    target.apply(whiteout("d/a"), hardlink("d/h", "d/b"), whiteout("s/e/x"), whiteout("nowhere"))

    found = target.manifest()
    assert [found[path] for path in (b".", b"d", b"d/e")] == [before[path] for path in (b".", b"d", b"d/e")]


@pytest.mark.parametrize("name", [".", "./", "/", "./.", "//"])
def test_ap17_entry_of_the_root_sets_its_metadata_and_removes_nothing(target: Target, name: str) -> None:
    target.apply(file("kept"))

    target.apply(directory(name, mode=0o711, uid=3, mtime=5, xattrs={"user.note": b"root"}), file("new"))

    root = target.manifest()[b"."]
    assert (root.mode, root.uid, root.mtime, root.xattrs) == (0o711, 3, 5, ((b"user.note", b"root"),))
    assert {b"kept", b"new"} <= target.manifest().keys()


@pytest.mark.parametrize("name", [".", "./", "/", "/."])
@pytest.mark.parametrize("make", [file, fifo, lambda name: symlink(name, "x"), lambda name: hardlink(name, "kept")])
def test_ap17_root_can_be_nothing_but_a_directory(target: Target, name: str, make: type[ArchiveEntry]) -> None:
    with pytest.raises((UnsafeEntryError, MalformedArchiveError)):
        target.apply(file("kept"), make(name=name))


def test_ap17_root_of_the_layers_below_is_kept_by_a_layer_that_says_nothing_about_it(target: Target) -> None:
    target.apply(directory(".", mode=0o711, uid=3, mtime=5, xattrs={"user.note": b"root"}))
    before = target.manifest()

    target.apply(file("new"), whiteout("old"))

    assert target.manifest()[b"."] == before[b"."]


def test_ap17_root_that_no_layer_describes_is_of_the_epoch(target: Target) -> None:
    target.apply(file("x"))

    root = target.manifest()[b"."]
    assert (root.mode, root.uid, root.mtime) == (0o755, 0, 0)


@pytest.mark.parametrize("name", ["a/b/x", "./a/b/x", "/a/b/x", "a//b/x", "a/./b/x", "./././a/b/./x"])
def test_ap18_all_spellings_of_a_path_are_one_path(target: Target, name: str) -> None:
    target.apply(file("a/b/x", "lower"))

    target.apply(whiteout(name), file(name, "upper!"), directory("/a/b/", mode=0o700))

    found = target.manifest()
    assert list(found) == [b".", b"a", b"a/b", b"a/b/x"]
    assert (found[b"a/b/x"].size, found[b"a/b"].mode) == (6, 0o700)


def test_ap24_devices_are_left_out_and_reported_on_request(target: Target) -> None:
    result = target.apply(
        character_device("dev/null", 1, 3), block_device("sda", 8, 0), fifo("p"), options=ApplyOptions(skip_devices=True)
    )

    assert result.skipped == (b"dev/null", b"sda")
    assert b"p" in target.manifest()
    assert not {b"dev/null", b"sda"} & target.manifest().keys()


def test_ap27_file_behind_another_hard_link_is_never_written_to(target: Target) -> None:
    target.apply(file("a", "kept"), hardlink("b", "a"))

    target.apply(file("b", "other!"))

    found = target.manifest()
    assert (found[b"a"].size, found[b"b"].size, found[b"a"].links) == (4, 6, ())


@pytest.mark.parametrize("layer", [b"", bytes(512), bytes(1024), archive([])])
def test_ap28_layer_without_entries_changes_nothing(target: Target, layer: bytes) -> None:
    target.apply(LOWER, file("d/f"))
    before = target.manifest()

    assert target.unpack(layer).entries == 0
    assert target.manifest() == before


def test_ap30_truncated_layer_is_an_error(target: Target) -> None:
    with pytest.raises(MalformedArchiveError):
        target.unpack(archive([file("a", "x" * 5000)])[:2048])


def test_ap33_size_is_the_sum_of_the_files(target: Target) -> None:
    result = target.apply(file("a", "12345"), directory("d"), file("d/b", "123"), hardlink("c", "a"), symlink("s", "a"))

    assert (result.entries, result.size) == (5, 8)


def test_ap38_stream_that_gives_one_byte_at_a_time_is_read_like_any_other(tmp_path: Path) -> None:
    class Slow:
        def __init__(self, data: bytes) -> None:
            self._rest = io.BytesIO(data)

        def read(self, n: int, /) -> bytes:
            return self._rest.read(min(n, 1))

    told: list[int] = []
    layer = archive([file("a", "data"), directory("d")])

    with opened(tmp_path) as fd:
        result = apply(Slow(layer), fd, ApplyOptions(progress=told.append))

    assert (result.entries, (tmp_path / "a").read_text()) == (2, "data")
    assert sum(told) == len(layer)


def test_progress_is_told_every_byte(tmp_path: Path) -> None:
    told: list[int] = []
    layer = archive([file("a", b"x" * 3_000_000)])

    with opened(tmp_path) as fd:
        apply(io.BytesIO(layer), fd, ApplyOptions(progress=told.append))

    assert sum(told) == len(layer)


def test_error_of_the_kernel_names_the_entry(tmp_path: Path) -> None:
    options = ApplyOptions(limits=Limits(name_bytes=300))

    with opened(tmp_path) as fd, pytest.raises(OSError, match="File name too long: 'some/where/xxx"):
        apply(io.BytesIO(archive([file("some/where/" + "x" * 256)])), fd, options)


def test_no_handle_stays_open(target: Target) -> None:
    before = len(os.listdir("/proc/self/fd"))

    target.apply(LOWER, file("d/f"), *(file(f"{number}/x") for number in range(100)))
    target.apply(whiteout("d/f"), hardlink("h", "5/x"), opaque("7"))
    with pytest.raises(MalformedArchiveError):
        target.apply(file("x"), file("x/y"))

    assert len(os.listdir("/proc/self/fd")) == before


def test_p6_link_target_is_never_looked_for_in_the_working_directory(
    target: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "canary").write_text("here")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(MalformedArchiveError):
        target.apply(hardlink("h", "canary"))


def test_directory_with_a_default_acl_does_not_hand_it_down(target: Target) -> None:
    acl = bytes.fromhex("0200000001000700ffffffff04000500ffffffff20000500ffffffff")
    target.apply(directory("d", xattrs={"system.posix_acl_default": acl}))

    target.apply(file("d/f"), directory("d/e", mode=0o700), fifo("d/p"), directory("d/g/h"))

    found = target.manifest()
    assert found[b"d"].xattrs == ((b"system.posix_acl_default", acl),)
    assert all(found[path].xattrs == () for path in (b"d/f", b"d/e", b"d/p", b"d/g", b"d/g/h"))
    assert (found[b"d/f"].mode, found[b"d/e"].mode) == (0o644, 0o700)


def test_setgid_directory_does_not_hand_its_group_down(target: Target) -> None:
    target.apply(directory("d", mode=0o2755, gid=50))

    target.apply(file("d/f"), directory("d/e"), symlink("d/s", "f"), fifo("d/p"), file("d/g/h"))

    found = target.manifest()
    for path in (b"d/e", b"d/f", b"d/g", b"d/g/h", b"d/p", b"d/s"):
        assert (found[path].gid, found[path].mode & stat.S_ISGID) == (0, 0)


def test_encodings_leave_only_their_own_marks(target: Target) -> None:
    """WH18: what a driver finds in the directory that was unpacked into."""
    target.apply(LOWER, file("d/a"), file("d/b"), file("e/x"), file("e/y"))

    target.apply(whiteout("d/a"), opaque("e"), file("e/new"))

    top = target.directories[-1]
    found = {os.fsdecode(path.relative_to(top)) for path in top.rglob("*")}
    if target.encoding is Encoding.PLAIN:
        assert found == {"d", "d/b", "e", "e/new"}
    elif target.encoding is Encoding.AUFS:
        assert found == {"d", "d/.wh.a", "e", "e/.wh..wh..opq", "e/new"}
    else:
        assert found == {"d", "d/a", "e", "e/new"}
        status = (top / "d/a").lstat()
        assert (stat.S_IFMT(status.st_mode), status.st_rdev) == (stat.S_IFCHR, 0)
        assert os.getxattr(top / "e", "trusted.overlay.opaque") == b"y"
