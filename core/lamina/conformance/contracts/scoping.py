"""SC: whatever an archive says, nothing outside its layer is read, written, linked or removed."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lamina.conformance.fixtures import Contract
from lamina.errors import ArchiveError, LaminaError
from lamina.testing.archives import ArchiveEntry, directory, file, hardlink, opaque, symlink, whiteout
from lamina.testing.scenario import link, mkdir, rm, write
from lamina.testing.scenario import symlink as make_symlink
from lamina.testing.trees import differences, manifest
from lamina.testing.twin import apply_layers, assert_layer_is, make_layer, mounted, viewed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lamina.store import Store
    from lamina.testing.scenario import Step

#: In the name of everything that an attack tries to make.
MARK = "pwned"
PRECIOUS = "the host's own"

ETC = (directory("etc"), file("etc/passwd", "root:x:0"))
MAKE_ETC = (mkdir("etc"), write("etc/passwd", "root:x:0"))

#: Names that no entry may have.
OUTSIDE = ["..", "../pwned", "../../pwned", "/../pwned", "a/../../pwned", "a/../..", "../" * 30 + "tmp/pwned", "./../pwned"]

#: A symbolic link ``d`` (and what it needs) through which ``d/pwned`` arrives in the layer's own ``etc``.
THROUGH: dict[str, tuple[Sequence[ArchiveEntry], Sequence[Step]]] = {
    "absolute": ([symlink("d", "/etc")], [make_symlink("/etc", "d")]),
    "up and absolute": (
        [symlink("d", "/dummy/../etc"), directory("dummy")],
        [mkdir("dummy"), make_symlink("/dummy/../etc", "d")],
    ),
    "too far up": ([symlink("d", "../../../../etc")], [make_symlink("../../../../etc", "d")]),
    "chain of absolute": (
        [symlink("one", "/etc"), symlink("d", "/one")],
        [make_symlink("/etc", "one"), make_symlink("/one", "d")],
    ),
    "chain of relative": (
        [symlink("one", "../etc"), symlink("d", "../one")],
        [make_symlink("../etc", "one"), make_symlink("../one", "d")],
    ),
    "below a directory": (
        [directory("a"), symlink("a/up", "../.."), symlink("d", "a/up/etc")],
        [
            *(mkdir("a"), make_symlink("../..", "a/up"), make_symlink("a/up/etc", "d")),
        ],
    ),
}

#: Texts of hard links that lead, inside the layer's root, to its ``etc/passwd``.
LINK_TEXTS = ["/etc/passwd", "d/passwd", "d/../etc/passwd", "../../../../etc/passwd", "d/../../../../../../etc/passwd"]

#: Whole layers that try to get out; the victim's directory takes the place of ``{victim}``.
ATTACKS: dict[str, list[list[ArchiveEntry]]] = {
    "symlink beside": [[symlink("d", "../victim"), file("d/pwned", "x")]],
    "symlink to an absolute path": [[symlink("d", "{victim}"), file("d/pwned", "x")]],
    "symlink, then through it to an existing file": [[symlink("d", "{victim}"), file("d/secret", "pwned")]],
    "symlink of a lower layer": [[symlink("d", "{victim}")], [file("d/pwned", "x"), file("d/secret", "pwned")]],
    "chain of symlinks": [
        [directory("in"), symlink("in/up", ".."), symlink("out", "in/up/../../victim"), file("out/pwned", "x")]
    ],
    "directory behind a symlink": [[symlink("hole", "../../victim"), directory("hole/pwned"), file("hole/pwned/f")]],
    "relative, then absolute": [[symlink("up", ".."), symlink("abs", "{victim}"), file("up/abs/pwned", "x")]],
    "hard link to a neighbour": [[hardlink("pwned", "../victim/secret")]],
    "hard link to a neighbour from the root": [[hardlink("pwned", "/../victim/secret")]],
    "hard link to an absolute path": [[hardlink("pwned", "{victim}/secret")]],
    "hard link through a symlink": [[symlink("d", "{victim}"), hardlink("pwned", "d/secret")]],
    "hard link through a chain": [[symlink("a", "../victim"), symlink("b", "a"), hardlink("pwned", "b/secret")]],
    "hard link to a symlink, then written": [[symlink("s", "{victim}/secret"), hardlink("pwned", "s"), file("pwned", "pwned")]],
    "hard link to a symlink, with a mode": [[symlink("s", "{victim}/secret"), hardlink("pwned", "s", mode=0o777)]],
    "file over a symlink to a file": [[symlink("s", "{victim}/secret"), file("s", "pwned", mode=0o777)]],
    "metadata for a symlink": [[symlink("s", "{victim}/secret", uid=1234, mtime=5)]],
    "symlink named dot dot": [[symlink("..", "{victim}"), file("pwned", "x")]],
    "symlink named by nothing": [[symlink("", "{victim}"), file("pwned", "x")]],
    "symlink below a symlink, named dot dot": [[symlink("d", "{victim}"), symlink("d/sub/..", "pwned")]],
    "directory, symlink, directory again": [
        [directory("foo"), symlink("foo", "/"), file("foo/tmp/pwned", "x"), directory("foo"), file("foo/last", "y")]
    ],
    "directory replaced by a symlink in a higher layer": [
        [directory("d"), file("d/secret", "own")],
        [symlink("d", "{victim}"), file("d/pwned", "x"), hardlink("pwned", "d/secret")],
    ],
    "whiteout beside": [[file("f", "x")], [file("../victim/.wh.secret")]],
    "whiteout further up": [[directory("a")], [file("a/../../victim/.wh.secret")]],
    "whiteout through a symlink": [[symlink("d", "{victim}")], [file("d/.wh.secret"), file("d/sub/.wh.deep")]],
    "whiteout of the root's parent": [[file("f", "x")], [file(".wh..")]],
    "opaque through a symlink": [[symlink("d", "{victim}")], [opaque("d"), opaque("d/sub")]],
    "symlink loop": [[symlink("a", "b"), symlink("b", "a"), file("a/pwned", "x")]],
    "long chain of symlinks": [
        [*(symlink(f"l{number}", f"l{number + 1}") for number in range(60)), symlink("l60", "{victim}"), file("l0/pwned", "x")]
    ],
    "name longer than the kernel takes": [[file("d/" * 3000 + MARK, "x")]],
    "component longer than the kernel takes": [[file("n" * 300 + MARK, "x")]],
    "name with a NUL": [[ArchiveEntry(name="x", pax={"path": "etc\0pwned"})]],
    "symlink with a NUL": [[ArchiveEntry(name="s", type=b"2", link="x", pax={"linkpath": "x\0pwned"})]],
}


class ScopingContract(Contract):
    """An attack ends in an error that leaves nothing, or in a layer that has and changed nothing of the outside."""

    @pytest.fixture
    def victim(self, root: Path) -> Iterator[Path]:
        """A directory beside the store that must be the same in the end."""
        victim = root / "victim"
        (victim / "sub").mkdir(parents=True)
        (victim / "sub/deep").write_text(PRECIOUS)
        (victim / "secret").write_text(PRECIOUS)
        (victim / "secret").chmod(0o400)
        before = manifest(victim)
        yield victim
        assert differences(manifest(victim), before) == []
        assert (victim / "secret").stat().st_nlink == 1
        assert not any(os.path.lexists(f"/{place}{MARK}") for place in ("", "etc/", "tmp/", "var/"))

    def check_contained(self, store: Store, root: Path, layers: Sequence[Sequence[ArchiveEntry]]) -> str:
        """Apply an attack and return the layer it made, or nothing when it was refused."""
        try:
            top = apply_layers(store, *layers)
        except ArchiveError:
            below = [path for path in root.rglob(f"*{MARK}*") if not path.is_relative_to(root / "victim")]
            assert below == [], "a refused layer left something"
            return ""
        stray = [path for path in root.rglob(f"*{MARK}*") if not path.is_relative_to(store.driver.root)]
        assert stray == [], "an entry arrived outside the layer"
        with viewed(store, top) as tree:
            for path in tree.rglob("*"):
                assert path.is_symlink() or not path.is_file() or path.read_text() != PRECIOUS, f"{path} was read from outside"
        return top

    # names

    @pytest.mark.parametrize("name", OUTSIDE)
    def test_SC01_a_name_that_leaves_the_root_is_refused(self, store: Store, root: Path, victim: Path, name: str) -> None:
        assert self.check_contained(store, root, [[file(name, "x")]]) == ""
        assert self.check_contained(store, root, [[directory(name)]]) == ""
        assert victim.is_dir()
        assert store.layers.list() == ()

    @pytest.mark.parametrize("name", ["..gitme", "...", "a..b", "....", "a/..b/c"])
    def test_SC02_dots_in_names_are_legal(self, store: Store, flat: Path, name: str) -> None:
        above = [mkdir("a"), mkdir("a/..b")] if "/" in name else []

        assert_layer_is(store, apply_layers(store, [file(name, "x")]), flat, [*above, write(name, "x")])

    # symbolic links as directories

    @pytest.mark.parametrize("case", THROUGH)
    def test_SC03_a_write_through_a_symlink_stays_inside(self, store: Store, flat: Path, case: str) -> None:
        entries, steps = THROUGH[case]

        top = apply_layers(store, [*ETC, *entries, file(f"d/{MARK}", "x"), file("d/passwd", "changed")])

        self.check_etc(store, top, flat, [*steps, write(f"etc/{MARK}", "x"), write("etc/passwd", "changed")])

    @pytest.mark.parametrize("case", THROUGH)
    def test_SC03b_also_when_the_link_is_a_lower_layers(self, store: Store, flat: Path, case: str) -> None:
        entries, steps = THROUGH[case]

        top = apply_layers(store, [*ETC, *entries], [file(f"d/{MARK}", "x"), whiteout("d/passwd")])

        self.check_etc(store, top, flat, [*steps, write(f"etc/{MARK}", "x")], gone="etc/passwd")

    # hard links

    @pytest.mark.parametrize("text", LINK_TEXTS)
    def test_SC04_a_hard_link_is_resolved_inside_the_root_or_refused(
        self, store: Store, root: Path, flat: Path, text: str
    ) -> None:
        top = self.check_contained(store, root, [[*ETC, symlink("d", "/etc"), hardlink("name", text)]])

        if top:
            assert_layer_is(store, top, flat, [*MAKE_ETC, make_symlink("/etc", "d"), link("etc/passwd", "name")])
        else:
            assert ".." in text

    @pytest.mark.parametrize("target", ["/etc/passwd", "etc/passwd", "missing", "../../etc/passwd"])
    def test_SC14_a_hard_link_to_a_symlink_is_the_symlink(self, store: Store, flat: Path, target: str) -> None:
        top = apply_layers(store, [symlink("s", target), hardlink("t", "s"), *ETC])

        assert_layer_is(store, top, flat, [make_symlink(target, "s"), link("s", "t"), *MAKE_ETC])

    # replaced on the way

    @pytest.mark.parametrize("target", ["/etc", "etc"])
    def test_SC08_a_directory_that_replaces_a_symlink_is_a_new_one(self, store: Store, flat: Path, target: str) -> None:
        layers = [[*ETC, symlink("d", target)], [directory("d"), file("d/passwd", "other"), file(f"d/{MARK}", "x")]]
        steps = [*MAKE_ETC, mkdir("d"), write("d/passwd", "other"), write(f"d/{MARK}", "x")]

        assert_layer_is(store, apply_layers(store, *layers), flat, steps)

    @pytest.mark.parametrize("target", ["/etc", "etc"])
    def test_SC08b_a_symlink_that_replaces_a_directory_leads_inside(self, store: Store, flat: Path, target: str) -> None:
        layers = [
            [*ETC, directory("d"), file("d/old", "x")],
            [symlink("d", target), file("d/new", "y"), hardlink("d/l", "d/new")],
        ]
        steps = [*MAKE_ETC, make_symlink(target, "d"), write("etc/new", "y"), link("etc/new", "etc/l")]

        assert_layer_is(store, apply_layers(store, *layers), flat, steps)

    # the rest

    @pytest.mark.parametrize("attack", ATTACKS)
    def test_SC10_an_attack_reaches_nothing(self, store: Store, root: Path, victim: Path, attack: str) -> None:
        layers = [[aimed(entry, victim) for entry in layer] for layer in ATTACKS[attack]]

        self.check_contained(store, root, layers)

        assert store.check() == []

    def test_SC12_a_name_swapped_for_a_symlink_meanwhile(self, store: Store, root: Path, victim: Path) -> None:
        # A tree that changes below a diff: whatever it reads, it is never the victim's.
        make_layer(store, "base", [write("f", "x")])
        store.graph.prepare("work", "base")
        with mounted(store, "work") as tree:
            for step in (mkdir("d"), write("d/secret", "own"), make_symlink(str(victim), "link")):
                step(tree)
            stop = threading.Event()

            def swap() -> None:
                while not stop.is_set():
                    os.rename(tree / "d", tree / "away")
                    os.rename(tree / "link", tree / "d")
                    os.rename(tree / "d", tree / "link")
                    os.rename(tree / "away", tree / "d")

            thread = threading.Thread(target=swap)
            thread.start()
            try:
                streams = [self.diff_or_error(store, root) for _ in range(30)]
            finally:
                stop.set()
                thread.join()

        assert not any(PRECIOUS.encode() in data for data in streams)

    @pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "missing"])
    def test_SC20_a_symlink_is_told_and_not_followed(self, store: Store, root: Path, target: str) -> None:
        make_layer(store, "base", [make_symlink(target, "s"), make_symlink("/etc", "d")])

        data = self.diff_or_error(store, root, key="base")

        assert target.encode() in data
        assert b"root:x:" not in data

    def test_SC22_a_body_where_none_belongs_keeps_the_stream_in_step(self, store: Store) -> None:
        entries = [
            ArchiveEntry(name="s", type=b"2", link="f", data=b"x" * 600),
            ArchiveEntry(name="d", type=b"5", mode=0o755, data=b"y" * 600),
            file("after", "z"),
        ]

        try:
            top = apply_layers(store, entries)
        except ArchiveError:
            assert store.layers.list() == ()
        else:
            with viewed(store, top) as tree:
                assert sorted(path.name for path in tree.iterdir()) == ["after", "d", "s"]

    def check_etc(self, store: Store, top: str, flat: Path, steps: Sequence[Step], *, gone: str = "") -> None:
        """Require the usual ``etc`` with ``steps`` done beside it."""
        assert_layer_is(store, top, flat, [*MAKE_ETC, *([rm(gone)] if gone else []), *steps])

    def diff_or_error(self, store: Store, root: Path, key: str = "work") -> bytes:
        """Return the archive of a snapshot, or nothing when the tree changed too fast for one."""
        place = root / "stream"
        with place.open("wb") as sink:
            try:
                store.layers.diff(key, sink)
            except (LaminaError, OSError):
                return b""
        return place.read_bytes()


def aimed(entry: ArchiveEntry, victim: Path) -> ArchiveEntry:
    """Point an entry's link at the victim."""
    return replace(entry, link=entry.link.replace("{victim}", str(victim)))
