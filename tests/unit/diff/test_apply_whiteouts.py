"""What whiteouts hide and what they do not; the numbers are those of the catalogues (WH, W, and E3 for the tables)."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING

import pytest

from lamina.driver import Encoding
from lamina.errors import ArchiveError, MalformedArchiveError, UnsafeEntryError
from lamina.testing.archives import (
    LONG_AGO,
    ArchiveEntry,
    directory,
    fifo,
    file,
    hardlink,
    opaque,
    symlink,
    whiteout,
)
from lamina.testing.trees import manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.diff.targets import Target

pytestmark = pytest.mark.root


def paths(target: Target) -> list[str]:
    return [os.fsdecode(path) for path in target.manifest()][1:]


def test_wh01_whiteout_hides_what_is_below_whatever_it_is(target: Target) -> None:
    target.apply(
        *(directory("d", mtime=7), file("d/file"), directory("d/tree/deep"), file("d/tree/deep/x"), symlink("d/link", "/etc")),
        *(fifo("d/fifo"), file("d/kept")),
    )
    before = target.manifest()

    target.apply(*(whiteout(f"d/{name}") for name in ("file", "tree", "link", "fifo")))

    assert paths(target) == ["d", "d/kept"]
    assert target.manifest()[b"d"] == before[b"d"]


@pytest.mark.parametrize("path", ["x", "missing/x", "missing/deeper/x", "dead/x", "f/x", "d/x"])
def test_wh02_whiteout_of_nothing_makes_nothing(target: Target, path: str) -> None:
    target.apply(file("f"), symlink("dead", "nowhere"), directory("d", mtime=7))
    before = target.manifest()

    target.apply(whiteout(path), opaque(path))

    assert target.manifest() == before
    if target.encoding is not Encoding.PLAIN:
        assert os.listdir(target.directories[-1]) == []


@pytest.mark.parametrize("first", [True, False])
def test_wh03_whiteout_never_hides_what_its_own_layer_brings(target: Target, *, first: bool) -> None:
    target.apply(file("x", "lower"), directory("d", mode=0o700), file("d/lower"), file("d/e/lower"))
    own = [file("x", "upper!"), directory("d", mode=0o711, mtime=LONG_AGO), file("d/upper"), file("d/e/upper")]
    signs = [whiteout("x"), whiteout("d")]

    target.apply(*(signs + own if first else own + signs))

    found = target.manifest()
    assert paths(target) == ["d", "d/e", "d/e/upper", "d/upper", "x"]
    assert (found[b"x"].size, found[b"d"].mode, found[b"d"].mtime) == (6, 0o711, LONG_AGO)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("new", [file("x"), directory("x"), symlink("x", "e"), fifo("x"), hardlink("x", "f")])
@pytest.mark.parametrize("old", [file("x"), directory("x"), symlink("x", "e")])
def test_wh04_whiteout_beside_a_replacement_changes_nothing(
    target: Target, old: ArchiveEntry, new: ArchiveEntry, *, first: bool
) -> None:
    target.apply(directory("e"), file("e/kept"), file("f"), old, *([file("x/old")] if old.type == b"5" else []))

    target.apply(*([whiteout("x"), new] if first else [new, whiteout("x")]))

    assert paths(target) == ["e", "e/kept", "f", "x"]


@pytest.mark.parametrize("first", [True, False])
def test_wh05_directory_that_only_its_new_content_needs_is_a_new_one(target: Target, *, first: bool) -> None:
    target.apply(directory("d", mode=0o700, uid=5, mtime=9, xattrs={"user.note": b"1"}), file("d/old"), directory("d/e", uid=5))
    layer = [whiteout("d"), file("d/foo"), file("d/e/bar")]

    target.apply(*(layer if first else reversed(layer)))

    found = target.manifest()
    assert paths(target) == ["d", "d/e", "d/e/bar", "d/foo"]
    for path in (b"d", b"d/e"):
        assert (found[path].mode, found[path].uid, found[path].mtime, found[path].xattrs) == (0o755, 0, 0, ())


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh..."])
@pytest.mark.parametrize("above", ["", "etc/"])
def test_wh06_w1_w2_whiteout_that_names_no_file_is_refused(target: Target, above: str, name: str, victim: Path) -> None:
    target.apply(file("etc/passwd"))

    with pytest.raises(UnsafeEntryError):
        target.apply(file(above + name))

    if target.encoding is Encoding.PLAIN:
        assert paths(target) == ["etc", "etc/passwd"]


def test_wh07_whiteout_of_a_name_that_starts_with_dots(target: Target) -> None:
    target.apply(file(".baz"), file("..baz"), file("baz"), file("..."))

    target.apply(whiteout(".baz"), whiteout("...x"))

    assert paths(target) == ["...", "..baz", "baz"]


@pytest.mark.parametrize("name", [".wh.etc/file", "a/.wh.etc/file", ".wh.etc/.wh.file", "a/.wh..wh.x/y"])
def test_wh08_entry_below_a_whiteout_is_refused(target: Target, name: str) -> None:
    target.apply(file("etc/file"))

    with pytest.raises(UnsafeEntryError):
        target.apply(file(name))


def test_wh09_whiteout_of_a_symlink_removes_the_link_and_follows_those_on_the_way(target: Target, victim: Path) -> None:
    target.apply(
        *(file("etc/x"), file("etc/kept"), symlink("localetc", "/etc"), symlink("gone", "/etc"), symlink("up", "../../etc")),
        *(file("etc/y"), symlink("out", str(victim))),
    )

    target.apply(whiteout("gone"), whiteout("localetc/x"), whiteout("up/y"), whiteout("out/secret"))

    assert paths(target) == ["etc", "etc/kept", "localetc", "out", "up"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_wh10_whiteouts_below_what_is_hidden_change_nothing(target: Target, order: tuple[int, ...]) -> None:
    target.apply(file("foo/bar"), file("foo/deep/x"), file("foo/deep/y"), file("kept"))
    layer = [whiteout("foo"), whiteout("foo/bar"), whiteout("foo/deep/x")]

    target.apply(*(layer[number] for number in order))

    assert paths(target) == ["kept"]


@pytest.mark.parametrize("sign", [file(".wh.x", "data", mode=0o4777, uid=9), hardlink(".wh.x", ".wh..wh.aufs")])
def test_wh11_whiteout_is_known_by_its_name(target: Target, sign: ArchiveEntry) -> None:
    target.apply(file("x"))

    target.apply(sign)

    assert paths(target) == []


@pytest.mark.parametrize("name", [".wh.x", "d/.wh..wh..opq"])
@pytest.mark.parametrize("make", [directory, fifo, lambda name: symlink(name, "x")])
def test_w4_whiteout_that_is_no_file_is_refused(target: Target, name: str, make: type[ArchiveEntry]) -> None:
    target.apply(file("x"), file("d/x"))

    with pytest.raises(UnsafeEntryError, match="no regular file"):
        target.apply(make(name=name))


def test_wh12_four_layers(target: Target) -> None:
    target.apply(file(".bay"), file("baz"), file("bar"), file(".foobar"), file("foo/.abc"), file("foo/x"), file("foobar"))
    target.apply(file(".bay"), whiteout("baz"), file("foo/.bce"), opaque("foo"), directory("foo/cde"), file("foo/cde/efg"))

    assert [path for path in paths(target) if path.startswith("foo")] == ["foo", "foo/.bce", "foo/cde", "foo/cde/efg", "foobar"]

    target.apply(whiteout(".bay"), whiteout("foobar"), file("foo/.abc"), whiteout("foo/cde"))

    assert paths(target) == [".foobar", "bar", "foo", "foo/.abc", "foo/.bce"]

    target.apply(opaque(), file(".abc"), file("foobar"))

    assert paths(target) == [".abc", "foobar"]


#: What is below, and what the layer with the opaque mark brings beside it.
TABLES: dict[str, tuple[list[ArchiveEntry], list[ArchiveEntry]]] = {
    "EmptyDir": ([directory("d")], []),
    "OneLevel": (
        [file("d/file"), symlink("d/link", ".."), symlink("d/badlink", "/nowhere"), fifo("d/fifo")],
        [file("d/file"), symlink("d/badlink", "nowhere")],
    ),
    "TwoLevel": (
        [
            *(file("d/file"), symlink("d/link", "/etc"), symlink("d/badlink", "nowhere"), directory("d/dir"), file("d/dir/file")),
            *(symlink("d/dir/link", ".."), symlink("d/dir/verybadlink", "../../../../../etc/shadow")),
            symlink("d/dir/verybadlink2", "/../../../etc/shadow"),
        ],
        [file("d/file"), directory("d/dir"), file("d/dir/file"), symlink("d/dir/verybadlink", "../../../../../etc/shadow")],
    ),
    "MultiLevel": (
        [
            *(file("d/level1_file"), symlink("d/level1_link", "x"), file("d/level1a/level2_file"), file("d/level1b/x")),
            *(symlink("d/level1a/level2_link", "../../../"), file("d/level1a/level2a/x"), file("d/level1a/level2b/level3_fileB")),
            *(file("d/level1a/level2b/level3_fileA"), file("d/level2b/level3/level4")),
        ],
        [
            *(file("d/level1_file"), directory("d/level1a"), symlink("d/level1a/level2_link", "../../../")),
            *(directory("d/level1a/level2b"), file("d/level1a/level2b/level3_fileA"), file("d/level1a/level2b/level3_fileA")),
        ],
    ),
    "MissingUpperAncestor": (
        [file("d/some/dir/somewhere"), file("d/some/dir/else"), file("d/some/x"), file("d/another/dir/x")],
        [file("d/some/dir/somewhere")],
    ),
    "UpperWhiteout": (
        [file("d/fileA"), file("d/fileB"), file("d/fileC")],
        [whiteout("d/fileB"), file("d/fileA"), file("d/fileB"), whiteout("d/fileA"), whiteout("d/fileC")],
    ),
    "UpperDirWhiteout": (
        [symlink("d/dir1/link", "/"), symlink("d/dir2/link", "/"), file("d/file"), file("d/dir2/file")],
        [
            *(whiteout("d/dir2"), directory("d/dir1"), file("d/dir1/file"), symlink("d/dir1/verybadlink", "/etc/shadow")),
            *(whiteout("d/dir1"), directory("d/dir2"), file("d/dir2/file")),
        ],
    ),
    "NestedMarks": (
        [file("d/a/b/x"), file("d/a/y"), file("d/z")],
        [opaque("d/a"), opaque("d/a/b"), file("d/a/b/new"), whiteout("d/a/y")],
    ),
}


@pytest.mark.parametrize("place", ["first", "middle", "last", "twice"])
@pytest.mark.parametrize("case", TABLES)
def test_wh13_wh16_opaque_directory_keeps_what_its_layer_brings_and_nothing_else(
    target: Target, case: str, place: str, victim: Path
) -> None:
    below, own = TABLES[case]
    target.apply(directory("d", mode=0o711, uid=5, mtime=9), file("beside"), *below)
    before = target.manifest()
    at = {"first": 0, "middle": len(own) // 2, "last": len(own), "twice": 0}[place]

    target.apply(*own[:at], opaque("d"), *own[at:], *([opaque("d")] * (place == "twice")))

    expected = {"beside", "d"}
    for entry in own:
        if ".wh." not in entry.name:
            names = entry.name.split("/")
            expected |= {"/".join(names[: depth + 1]) for depth in range(len(names))}
    assert set(paths(target)) == expected
    assert target.manifest()[b"d"] == before[b"d"]


def test_wh14_w4_opaque_mark_where_there_is_no_directory(target: Target, victim: Path) -> None:
    target.apply(file("f"), symlink("s", "e"), file("e/x"), file("e/y"), symlink("out", str(victim)))

    target.apply(opaque("missing"), opaque("f"), opaque("out"), opaque("s"), file("e/new"))

    assert paths(target) == ["e", "e/new", "f", "out", "s"]


@pytest.mark.parametrize("first", [True, False])
def test_wh15_opaque_root_hides_all_that_is_below(target: Target, *, first: bool) -> None:
    target.apply(directory(".", mode=0o711), directory("d", mode=0o700), file("d/x"), file("f"), symlink("s", "d"), file("e/x"))
    own = [directory("e", mode=0o710), file("e/new"), file("d/new")]

    target.apply(*([opaque(), *own] if first else [*own, opaque()]))

    found = target.manifest()
    assert paths(target) == ["d", "d/new", "e", "e/new"]
    assert [found[path].mode for path in (b".", b"d", b"e")] == [0o711, 0o755, 0o710]


def test_wh16_w5_whiteout_in_an_opaque_directory_leaves_no_mark(target: Target) -> None:
    target.apply(file("d/x"), file("d/y"), file("d/e/z"))

    target.apply(whiteout("d/x"), whiteout("d/e/z"), opaque("d"), whiteout("d/y"), file("d/new"))

    assert paths(target) == ["d", "d/new"]
    found = {path.name for path in target.directories[-1].rglob("*")}
    assert found == {"d", "new"} | ({".wh..wh..opq"} if target.encoding is Encoding.AUFS else set())


def test_wh17_directory_that_was_deleted_in_the_layer_before_comes_back_empty(target: Target) -> None:
    target.apply(file("d/base"), file("e/base"))
    target.apply(whiteout("d"), whiteout("e"))

    target.apply(directory("d", mode=0o700), file("e/new"))

    assert paths(target) == ["d", "e", "e/new"]


def test_wh19_same_whiteout_twice_is_fine(target: Target) -> None:
    target.apply(file("x"), file("d/x"))

    target.apply(whiteout("x"), whiteout("x"), whiteout("d"), whiteout("d"), opaque("d"), opaque("d"))

    assert paths(target) == []


def test_wh20_w6_records_of_aufs_are_passed_over_and_links_into_them_followed(target: Target) -> None:
    target.apply(file("x"))

    target.apply(
        *(file(".wh..wh.aufs"), directory(".wh..wh.orph"), file(".wh..wh.orph/x"), directory(".wh..wh.plnk")),
        *(file(".wh..wh.plnk/5.6", "data", mode=0o640), hardlink("a", ".wh..wh.plnk/5.6"), hardlink("d/b", "./.wh..wh.plnk/5.6")),
        *(file(".wh..wh.plnk/7.8", "unused"), file("d/.wh..wh.x")),
    )

    found = target.manifest()
    assert paths(target) == ["a", "d", "d/b", "x"]
    assert found[b"a"].mode == 0o640
    top = manifest(target.directories[-1])
    assert top[b"a"].links == (b"a", b"d/b")
    assert not [path for path in top if b".wh." in path]


def test_w6_link_to_a_record_of_aufs_that_is_missing_is_an_error(target: Target) -> None:
    with pytest.raises(MalformedArchiveError):
        target.apply(hardlink("a", ".wh..wh.plnk/5.6"))


@pytest.mark.parametrize("sign", ["etc/.wh.secret", "etc/.wh..wh..opq", "etc/.wh.deeper", "etc/.wh.passwd"])
def test_w3_whiteout_through_a_symlink_stays_inside_the_root(target: Target, sign: str, victim: Path) -> None:
    target.apply(file("x"))

    target.apply(symlink("etc", str(victim)), file(sign))

    assert paths(target) == ["etc", "x"]


def test_w9_name_too_long_to_be_whited_out_is_an_error_only_for_aufs(target: Target) -> None:
    name = "x" * 252
    target.apply(file(f"d/{name}"), file("d/kept"))

    if target.encoding is Encoding.AUFS:
        with pytest.raises(OSError, match="File name too long"):
            target.apply(whiteout(f"d/{name}"))
    else:
        target.apply(whiteout(f"d/{name}"))
        assert paths(target) == ["d", "d/kept"]


def test_wh23_whiteout_through_a_lower_symlink_acts_on_what_it_leads_to(target: Target) -> None:
    target.apply(file("usr/lib/x"), file("usr/lib/y"), symlink("lib", "usr/lib"))

    target.apply(whiteout("lib/x"), file("lib/z"), whiteout("usr/lib/z"))

    assert paths(target) == ["lib", "usr", "usr/lib", "usr/lib/y", "usr/lib/z"]


@pytest.mark.parametrize("seed", range(20))
def test_wh24_order_of_a_layer_does_not_matter(target: Target, seed: int) -> None:
    below = [
        *(directory("d", mode=0o700, uid=5), file("d/x"), file("d/y"), directory("d/e", uid=6), file("d/e/z"), file("f")),
        *(directory("g", mode=0o711), file("g/h/i"), file("g/j"), symlink("s", "d")),
    ]
    layer = [
        *(whiteout("d/x"), file("d/e/new"), whiteout("d/e"), opaque("g"), directory("g/h", mode=0o700), file("g/h/k")),
        *(whiteout("f"), directory("f", mode=0o750), file("f/new"), whiteout("s"), file("n/e/w"), directory("n", mode=0o710)),
    ]
    target.apply(*below)
    random.Random(seed).shuffle(layer)

    target.apply(*layer)

    found = target.manifest()
    assert paths(target) == ["d", "d/e", "d/e/new", "d/y", "f", "f/new", "g", "g/h", "g/h/k", "n", "n/e", "n/e/w"]
    modes = {path: found[path].mode for path in (b"d", b"d/e", b"f", b"g", b"g/h", b"n", b"n/e")}
    assert modes == {b"d": 0o700, b"d/e": 0o755, b"f": 0o750, b"g": 0o711, b"g/h": 0o700, b"n": 0o710, b"n/e": 0o755}
    assert (found[b"d"].uid, found[b"d/e"].uid) == (5, 0)


def test_whiteout_without_layers_below_leaves_no_trace(target: Target) -> None:
    target.apply(whiteout("x"), file("x"), opaque("d"), file("d/x"), whiteout("d"), opaque())

    assert paths(target) == ["d", "d/x", "x"]
    assert sorted(os.listdir(target.directories[0])) == ["d", "x"]


def test_whiteout_of_a_deep_tree_needs_no_deep_stack(target: Target) -> None:
    deep = "/".join(["d"] * 300)
    target.apply(file(f"{deep}/x"), file("kept"))

    target.apply(whiteout("d"))

    assert paths(target) == ["kept"]


def test_w7_marks_of_overlayfs_in_a_layer_are_refused_or_dropped(target: Target) -> None:
    target.apply(file("d/lower"))
    marks = {"trusted.overlay.opaque": b"y", "user.overlay.opaque": b"y", "trusted.overlay.redirect": b"/x", "user.note": b"1"}

    target.apply(directory("d", xattrs=marks), file("d/upper", xattrs=marks))

    for path in ("d", "d/upper"):
        assert os.listxattr(target.directories[-1] / path) == ["user.note"]
    assert paths(target) == ["d", "d/lower", "d/upper"]
    with pytest.raises(ArchiveError):
        target.apply(ArchiveEntry(name="x", type=b"3", device=(0, 0)))
