"""WH: how a layer says that something of the layers below is gone."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from lamina.conformance.fixtures import Contract
from lamina.errors import ArchiveError
from lamina.testing.archives import ArchiveEntry, directory, fifo, file, hardlink, opaque, symlink, whiteout
from lamina.testing.scenario import chmod, link, mkdir, write
from lamina.testing.scenario import symlink as make_symlink
from lamina.testing.twin import apply_layers, assert_layer_is, make_layer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.store import Store
    from lamina.testing.scenario import Step

#: What a layer below may have at ``d/x``.
HIDDEN: dict[str, list[ArchiveEntry]] = {
    "file": [file("d/x", "old")],
    "tree": [directory("d/x"), directory("d/x/y"), file("d/x/y/z", "old"), symlink("d/x/s", "/etc")],
    "symlink": [symlink("d/x", "kept")],
    "fifo": [fifo("d/x")],
}


@dataclass(frozen=True)
class Hiding:
    """One opaque directory ``d``: what lies below it, what the same layer brings, and what is left."""

    lower: Sequence[ArchiveEntry]
    upper: Sequence[ArchiveEntry] = ()
    left: Sequence[Step] = field(default_factory=list)


OPAQUE: dict[str, Hiding] = {
    "an empty directory": Hiding([]),
    "one level": Hiding([file("d/a", "1"), symlink("d/up", ".."), symlink("d/bad", "nowhere"), fifo("d/p")]),
    "one level, names that come again": Hiding(
        [file("d/a", "1"), symlink("d/up", ".."), fifo("d/p")],
        [symlink("d/up", "../.."), file("d/b", "2")],
        [make_symlink("../..", "d/up"), write("d/b", "2")],
    ),
    "links to places outside": Hiding(
        [symlink("d/passwd", "/etc/passwd"), directory("d/e"), symlink("d/e/shadow", "../../../../etc/shadow")],
        [symlink("d/passwd", "/etc/passwd"), directory("d/e"), symlink("d/e/shadow", "/../../etc/shadow")],
        [make_symlink("/etc/passwd", "d/passwd"), mkdir("d/e"), make_symlink("/../../etc/shadow", "d/e/shadow")],
    ),
    "two levels": Hiding(
        [file("d/a", "1"), directory("d/e"), file("d/e/b", "2"), symlink("d/e/s", "b")],
        [directory("d/e", mode=0o700), file("d/e/c", "3")],
        [mkdir("d/e", 0o700), write("d/e/c", "3")],
    ),
    "many levels": Hiding(
        [
            *(file("d/a", "1"), directory("d/e"), file("d/e/a", "1"), directory("d/e/f"), file("d/e/f/a", "1")),
            *(directory("d/e/g"), directory("d/e/g/h"), file("d/e/g/h/a", "1"), file("d/e/g/h/b", "1")),
            *(directory("d/i"), file("d/i/a", "1")),
        ],
        [directory("d/e"), directory("d/e/g"), directory("d/e/g/h"), file("d/e/g/h/a", "2"), file("d/e/g/h/a", "3")],
        [mkdir("d/e"), mkdir("d/e/g"), mkdir("d/e/g/h"), write("d/e/g/h/a", "3")],
    ),
    "survivors with unlisted parents": Hiding(
        [directory("d/e"), directory("d/e/f"), file("d/e/f/a", "1"), directory("d/g"), file("d/g/a", "1")],
        [file("d/e/f/b", "2")],
        [mkdir("d/e"), mkdir("d/e/f"), write("d/e/f/b", "2")],
    ),
    "a nested opaque directory": Hiding(
        [directory("d/e"), file("d/e/a", "1"), file("d/a", "1")],
        [directory("d/e"), opaque("d/e"), file("d/e/b", "2")],
        [mkdir("d/e"), write("d/e/b", "2")],
    ),
    "redundant whiteouts of files": Hiding(
        [file("d/a", "1"), file("d/b", "1"), file("d/c", "1")],
        [whiteout("d/b"), file("d/a", "2"), file("d/b", "2"), whiteout("d/a"), whiteout("d/c")],
        [write("d/a", "2"), write("d/b", "2")],
    ),
    "redundant whiteouts of directories": Hiding(
        [directory("d/e"), symlink("d/e/s", "a"), directory("d/f"), symlink("d/f/s", "a"), file("d/a", "1")],
        [
            *(whiteout("d/f"), directory("d/e"), file("d/e/a", "2"), symlink("d/e/bad", "/etc/shadow")),
            *(whiteout("d/e"), directory("d/f"), file("d/f/a", "2")),
        ],
        [mkdir("d/e"), write("d/e/a", "2"), make_symlink("/etc/shadow", "d/e/bad"), mkdir("d/f"), write("d/f/a", "2")],
    ),
    "a file that was a directory": Hiding([directory("d/e"), file("d/e/a", "1")], [file("d/e", "2")], [write("d/e", "2")]),
}


class WhiteoutContract(Contract):
    """Whiteouts hide the layers below, never what the same layer brings, in whatever order the entries come."""

    def check(self, store: Store, flat: Path, archives: Sequence[Sequence[ArchiveEntry]], steps: Sequence[Step]) -> None:
        """Require the layers to make the tree that the steps make."""
        assert_layer_is(store, apply_layers(store, *archives), flat, steps)

    # plain whiteouts

    @pytest.mark.parametrize("kind", HIDDEN)
    def test_WH01_a_whiteout_hides_any_type(self, store: Store, flat: Path, kind: str) -> None:
        lower = [directory("d", mode=0o700), file("d/kept", "x"), *HIDDEN[kind]]

        self.check(store, flat, [lower, [whiteout("d/x")]], [mkdir("d", 0o700), write("d/kept", "x")])

    @pytest.mark.parametrize("path", ["nothing", "no/such/parent", "dead/x", "f/x"])
    def test_WH02_a_whiteout_of_nothing_makes_nothing(self, store: Store, flat: Path, path: str) -> None:
        lower = [file("f", "x"), symlink("dead", "nowhere")]

        self.check(store, flat, [lower, [whiteout(path)]], [write("f", "x"), make_symlink("nowhere", "dead")])

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
    def test_WH03_what_the_same_layer_brings_stays(self, store: Store, flat: Path, order: Sequence[int]) -> None:
        lower = [file("x", "old"), directory("d"), file("d/old", "1")]
        upper = [[whiteout("x"), whiteout("d")], [file("x", "new")], [directory("d"), file("d/new", "2")]]
        entries = [entry for place in order for entry in upper[place]]

        self.check(store, flat, [lower, entries], [write("x", "new"), mkdir("d"), write("d/new", "2")])

    @pytest.mark.parametrize("first", ["whiteout", "entry"])
    @pytest.mark.parametrize("kind", ["file", "symlink", "fifo"])
    def test_WH04_a_hidden_name_comes_back_as_a_directory(self, store: Store, flat: Path, kind: str, first: str) -> None:
        lower = [directory("d"), *HIDDEN[kind]]
        entries = [[whiteout("d/x")], [directory("d/x", mode=0o700), file("d/x/new", "1")]]
        upper = entries if first == "whiteout" else reversed(entries)

        self.check(
            store,
            flat,
            [lower, [entry for part in upper for entry in part]],
            [mkdir("d"), mkdir("d/x", 0o700), write("d/x/new", "1")],
        )

    @pytest.mark.parametrize("first", ["whiteout", "entry"])
    def test_WH04b_a_hidden_directory_comes_back_as_a_file(self, store: Store, flat: Path, first: str) -> None:
        lower = [directory("d"), *HIDDEN["tree"]]
        upper = [whiteout("d/x"), file("d/x", "new")]

        self.check(store, flat, [lower, upper if first == "whiteout" else upper[::-1]], [mkdir("d"), write("d/x", "new")])

    def test_WH05_a_hidden_directory_made_anew_by_its_content(self, store: Store, flat: Path) -> None:
        lower = [directory("d", mode=0o700), file("d/old", "1"), directory("d/e"), file("d/e/old", "1")]
        upper = [file("d/before", "2"), whiteout("d"), file("d/e/new", "3")]
        steps = [mkdir("d"), write("d/before", "2"), mkdir("d/e"), write("d/e/new", "3")]

        top = apply_layers(store, lower, upper)

        assert_layer_is(store, top, flat, steps)

    @pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "etc/.wh.", "etc/.wh..", "etc/.wh..."])
    def test_WH06_a_whiteout_of_no_name_is_an_error(self, store: Store, name: str) -> None:
        with pytest.raises(ArchiveError, match="wh"):
            apply_layers(store, [directory("etc"), file(name)])

        assert store.layers.list() == ()

    def test_WH07_a_hidden_name_may_begin_with_a_dot(self, store: Store, flat: Path) -> None:
        lower = [file(".baz", "1"), file("..baz", "2"), file("baz", "3")]

        self.check(store, flat, [lower, [whiteout(".baz")]], [write("..baz", "2"), write("baz", "3")])

    def test_WH09_a_whiteout_reaches_through_a_symlinked_directory(self, store: Store, flat: Path) -> None:
        lower = [directory("etc"), file("etc/a", "1"), file("etc/b", "2"), symlink("local", "/etc"), symlink("l", "etc/b")]
        steps = [mkdir("etc"), write("etc/b", "2"), make_symlink("/etc", "local")]

        self.check(store, flat, [lower, [whiteout("local/a"), whiteout("l")]], steps)

    @pytest.mark.parametrize("order", [1, -1])
    def test_WH10_whiteouts_inside_what_is_hidden_are_no_error(self, store: Store, flat: Path, order: int) -> None:
        lower = [directory("foo"), file("foo/bar", "1"), file("kept", "2")]

        self.check(store, flat, [lower, [whiteout("foo"), whiteout("foo/bar")][::order]], [write("kept", "2")])

    @pytest.mark.parametrize(
        "entry",
        # AUFS made its whiteouts as links of one file, and wrote them so
        [file(".wh.x", mode=0o777, uid=5), file(".wh.x", "with content"), hardlink(".wh.x", ".wh..wh.aufs")],
        ids=["mode", "content", "hard link"],
    )
    def test_WH11_a_whiteout_is_known_by_its_name(self, store: Store, flat: Path, entry: ArchiveEntry) -> None:
        self.check(store, flat, [[file("x", "old"), file("y", "1")], [entry]], [write("y", "1")])

    @pytest.mark.parametrize(
        "entry",
        [directory(".wh.x"), symlink(".wh.x", "y"), fifo(".wh.x")],
        ids=["directory", "symlink", "fifo"],
    )
    def test_WH11b_a_whiteout_that_is_no_file_is_an_error(self, store: Store, entry: ArchiveEntry) -> None:
        base = apply_layers(store, [file("x", "old"), file("y", "1")])

        with pytest.raises(ArchiveError, match=r"\.wh\.x"):
            apply_layers(store, [entry], on=base)

        assert [layer.key for layer in store.layers.list()] == [base]

    def test_WH12_four_layers_of_whiteouts_and_opaque_directories(self, store: Store, flat: Path) -> None:
        layers = [
            [file(".abc", "1"), file("bar", "1"), file("baz", "1"), directory("foo"), file("foo/a", "1")],
            [
                *(file(".dot", "2"), whiteout("baz"), directory("foo"), opaque("foo"), file("foo/.b", "2")),
                *(directory("foo/c"), file("foo/c/d", "2")),
            ],
            [whiteout(".dot"), directory("foo"), whiteout("foo/c"), file("foo/e", "3")],
            [opaque(), file("last", "4"), directory("foo"), file("foo/f", "4")],
        ]
        stages = [
            [write(".abc", "1"), write("bar", "1"), write("baz", "1"), mkdir("foo"), write("foo/a", "1")],
            [
                *(write(".abc", "1"), write("bar", "1"), write(".dot", "2"), mkdir("foo"), write("foo/.b", "2")),
                *(mkdir("foo/c"), write("foo/c/d", "2")),
            ],
            [write(".abc", "1"), write("bar", "1"), mkdir("foo"), write("foo/.b", "2"), write("foo/e", "3")],
            [write("last", "4"), mkdir("foo"), write("foo/f", "4")],
        ]

        for count, steps in enumerate(stages, 1):
            stage = flat / str(count)
            stage.mkdir()
            stage.chmod(0o755)
            assert_layer_is(store, apply_layers(store, *layers[:count]), stage, steps)

    # opaque directories

    @pytest.mark.parametrize("place", ["first", "middle", "last"])
    @pytest.mark.parametrize("case", OPAQUE)
    def test_WH13_an_opaque_directory_hides_what_is_below_wherever_its_mark_stands(
        self, store: Store, flat: Path, case: str, place: str
    ) -> None:
        hiding = OPAQUE[case]
        lower = [directory("d", mode=0o710), *hiding.lower, file("beside", "x")]
        at = {"first": 0, "middle": len(hiding.upper) // 2, "last": len(hiding.upper)}[place]
        upper = [*hiding.upper[:at], opaque("d"), *hiding.upper[at:]]

        top = apply_layers(store, lower, upper)

        assert_layer_is(store, top, flat, [mkdir("d", 0o710), write("beside", "x"), *hiding.left])

    @pytest.mark.parametrize("path", ["nothing", "no/such/parent"])
    def test_WH14_an_opaque_mark_in_nothing_is_no_error(self, store: Store, path: str) -> None:
        top = apply_layers(store, [file("f", "x")], [opaque(path)])

        assert store.graph.stat(top).kind == "committed"

    def test_WH14b_an_opaque_mark_below_a_symlink_hides_inside_the_root(self, store: Store, flat: Path) -> None:
        lower = [directory("etc"), file("etc/a", "1"), symlink("local", "/etc")]

        self.check(store, flat, [lower, [opaque("local")]], [mkdir("etc"), make_symlink("/etc", "local")])

    def test_WH15_an_opaque_root_hides_everything_below(self, store: Store, flat: Path) -> None:
        lower = [directory("d"), file("d/f", "x"), symlink("s", "d"), file("g", "y")]

        self.check(store, flat, [lower, [file("g", "z"), opaque()]], [write("g", "z")])

    def test_WH16_a_layer_above_an_opaque_directory_starts_from_it(self, store: Store, flat: Path) -> None:
        layers = [
            [directory("d"), file("d/a", "1"), directory("d/e"), file("d/e/a", "1")],
            [directory("d"), opaque("d"), file("d/b", "2"), directory("d/e"), file("d/e/b", "2")],
            [directory("d"), file("d/c", "3"), directory("d/e"), opaque("d/e")],
            [directory("d"), whiteout("d/b"), file("d/e/c", "4")],
        ]

        self.check(store, flat, layers, [mkdir("d"), write("d/c", "3"), mkdir("d/e"), write("d/e/c", "4")])

    def test_WH17_a_directory_made_anew_one_layer_later_is_empty(self, store: Store, flat: Path) -> None:
        layers = [[directory("d"), file("d/old", "1")], [whiteout("d")], [directory("d", mode=0o700)]]

        self.check(store, flat, layers, [mkdir("d", 0o700)])

    def test_WH18_a_linked_name_is_hidden_alone(self, store: Store, flat: Path) -> None:
        lower = [file("a", "x"), hardlink("b", "a"), hardlink("c", "a")]

        self.check(store, flat, [lower, [whiteout("b")]], [write("a", "x"), link("a", "c")])

    def test_WH19_the_same_whiteout_twice(self, store: Store, flat: Path) -> None:
        self.check(store, flat, [[file("a", "x")], [whiteout("a"), whiteout("a")]], [])

    def test_WH20_aufs_leftovers_of_old_layers_are_passed_over(self, store: Store, flat: Path) -> None:
        entries = [directory(".wh..wh.plnk"), directory(".wh..wh.orph"), file(".wh..wh.aufs"), file("f", "x")]

        self.check(store, flat, [entries], [write("f", "x")])

    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
    def test_WH24_the_order_of_whiteouts_does_not_matter(self, store: Store, flat: Path, order: Sequence[int]) -> None:
        lower = [directory("d"), file("d/a", "1"), file("d/b", "1"), directory("e"), file("e/a", "1"), file("f", "1")]
        upper = [whiteout("d/a"), opaque("e"), file("e/b", "2"), whiteout("f")]

        self.check(
            store,
            flat,
            [lower, [upper[place] for place in order]],
            [mkdir("d"), write("d/b", "1"), mkdir("e"), write("e/b", "2")],
        )

    def test_WH25_whiteouts_over_layers_that_were_written_through_mounts(self, store: Store, flat: Path) -> None:
        make_layer(store, "base", [mkdir("d"), write("d/a", "1"), write("d/b", "1"), mkdir("e"), write("e/a", "1")])
        make_layer(store, "next", [write("d/a", "2"), chmod("e", 0o700)], parent="base")
        upper = apply_layers(store, [whiteout("d/a"), directory("e", mode=0o700), opaque("e")], on="next")

        assert_layer_is(store, upper, flat, [mkdir("d"), write("d/b", "1"), mkdir("e", 0o700)])
