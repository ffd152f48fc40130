"""FS: what is written through a mount is what later mounts show. Every case has a flat twin."""

from __future__ import annotations

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lamina.conformance.fixtures import Contract
from lamina.conformance.requires import requires, unless
from lamina.errors import SnapshotInUseError
from lamina.model import Capability, Limit
from lamina.testing import recipes
from lamina.testing.scenario import (
    Scenario,
    append,
    bind_socket,
    chmod,
    chown,
    link,
    mkdir,
    mkfifo,
    mknod,
    replace,
    rm,
    rmxattr,
    setxattr,
    sparse,
    symlink,
    truncate,
    utime,
    write,
)
from lamina.testing.trees import assert_same_tree, manifest
from lamina.testing.twin import Twin, make_layer, mounted, viewed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamina.conformance.subject import Subject
    from lamina.store import Store
    from lamina.testing.scenario import Step

SECOND = 10**9

#: One node of each type, made at ``x``.
NODES = {
    "file": [write("x", "a file")],
    "directory": [mkdir("x"), write("x/inside", "of a directory")],
    "symlink": [symlink("elsewhere/deep", "x")],
    "fifo": [mkfifo("x")],
    "character-device": [mknod("x", stat.S_IFCHR, 1, 3)],
    "block-device": [mknod("x", stat.S_IFBLK, 7, 42)],
}

#: What must fail in a view, and leave everything as it was.
MUTATIONS: dict[str, Callable[[Path], object]] = {
    "write": lambda tree: (tree / "file").write_text("changed"),
    "append": lambda tree: (tree / "file").open("a").close(),
    "create": lambda tree: (tree / "new").touch(),
    "mkdir": lambda tree: (tree / "new").mkdir(),
    "unlink": lambda tree: (tree / "file").unlink(),
    "rename": lambda tree: (tree / "file").rename(tree / "new"),
    "link": lambda tree: os.link(tree / "file", tree / "new"),
    "symlink": lambda tree: (tree / "new").symlink_to("file"),
    "chmod": lambda tree: (tree / "file").chmod(0o600),
    "chown": lambda tree: os.chown(tree / "file", 1, 1),
    "utime": lambda tree: os.utime(tree / "file", (0, 0)),
    "truncate": lambda tree: os.truncate(tree / "file", 0),
    "setxattr": lambda tree: os.setxattr(tree / "file", "user.x", b"1"),
    "rmdir": lambda tree: (tree / "directory").rmdir(),
    "chmod-root": lambda tree: tree.chmod(0o700),
}


class ContentContract(Contract):
    """A stack of layers and a plain directory that went through the same are equal."""

    # modes and owners

    def test_FS01_modes_and_owners(self, twin: Twin) -> None:
        twin.check(
            Scenario(
                "modes",
                [mkdir("a subdir"), chown("a subdir", 1, 2), chmod("a subdir", 0o1705)],
                [write("a file", "x"), chown("a file", 3, 4), chmod("a file", 0o4222)],
                [write("sgid", "x"), chmod("sgid", 0o2755), mkdir("closed", 0), write("closed-file", "x", 0)],
                [chown("a file", 65_534, 70_000), chmod("a file", 0o6711), chmod("a subdir", 0o2770)],
            )
        )

    def test_FS02_an_empty_root_is_roots_and_0755(self, store: Store) -> None:
        umask = os.umask(0o077)
        try:
            store.graph.prepare("empty")
        finally:
            os.umask(umask)
        with mounted(store, "empty") as tree:
            found = tree.stat()
            names = [name for name in os.listdir(tree) if name != "lost+found"]

        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o755, 0, 0)
        assert names == []

    def test_FS03_the_roots_own_metadata_are_inherited(self, twin: Twin) -> None:
        twin.check(
            Scenario(
                "root",
                [write("file", "x"), chmod(".", 0o711), chown(".", 5, 6), setxattr(".", "user.root", b"kept")],
                [write("other", "y")],
                [],
                [chmod(".", 0o1777), rmxattr(".", "user.root")],
                [write("third", "z")],
            )
        )

    # edits and deletions

    @pytest.mark.parametrize("second", range(3))
    def test_FS04_an_edit_of_the_same_size_and_second(self, twin: Twin, second: int) -> None:
        when = 1_700_000_000 * SECOND + second
        twin.check(
            Scenario(
                "same-second",
                [*recipes.SAME_SIZE.layers[0], utime("etc/resolv", when)],
                [*recipes.SAME_SIZE.layers[1], utime("etc/resolv", when + 1)],
                [write("etc/resolv", "server 10.0.0.3"), utime("etc/resolv", when + 1)],
            )
        )

    def test_FS05_a_directory_made_anew_shows_nothing_old(self, twin: Twin) -> None:
        twin.check(recipes.REMADE_DIRECTORY)

    def test_FS06_owners_change_in_a_child(self, twin: Twin) -> None:
        twin.check(recipes.OWNERS)

    def test_FS07_directories_changed_removed_and_made_anew(self, twin: Twin) -> None:
        twin.check(recipes.DIRECTORY_HISTORY)

    def test_FS08_a_deletion_persists_through_an_empty_layer(self, twin: Twin) -> None:
        twin.check(
            Scenario(
                "empty-above-deletion",
                [mkdir("d"), write("d/file", "x"), symlink("file", "d/link"), write("kept", "y")],
                [rm("d/file"), rm("d/link")],
                [],
                [write("d/other", "z")],
            )
        )

    @pytest.mark.parametrize("scenario", [recipes.BASIC, recipes.DELETION, recipes.UPDATE], ids=repr)
    def test_FS40_the_usual_life_of_a_root_filesystem(self, twin: Twin, scenario: Scenario) -> None:
        twin.check(scenario)

    @pytest.mark.parametrize("scenario", [recipes.DIRECTORY_MODES, recipes.PARENT_MODES], ids=repr)
    def test_FS41_directories_keep_their_modes_when_content_changes(self, twin: Twin, scenario: Scenario) -> None:
        twin.check(scenario)

    # moves

    @pytest.mark.parametrize("scenario", [recipes.MOVED_BY_COPY, recipes.MOVED_BY_LINK, recipes.MOVED_BY_RENAME], ids=repr)
    def test_FS09_a_file_moves_out_of_a_lower_directory(self, twin: Twin, scenario: Scenario) -> None:
        twin.check(scenario)

    @pytest.mark.parametrize(
        "scenario",
        [
            recipes.RENAME_OVER_LOWER,
            recipes.RENAME_LOWER,
            recipes.RENAME_LOWER_OVER_LOWER,
            pytest.param(recipes.RENAME_LOWER_DIRECTORY, marks=requires(Capability.RENAME_DIRECTORY)),
        ],
        ids=repr,
    )
    def test_FS10_renames(self, twin: Twin, scenario: Scenario) -> None:
        twin.check(scenario)

    # many layers, long paths

    def test_FS11_a_hundred_and_twenty_eight_layers(self, twin: Twin) -> None:
        twin.check(recipes.deep(128))

    def test_FS13_a_hundred_layers_below_a_long_path(self, subject: Subject, root: Path) -> None:
        long = root / ("long" * 50)
        long.mkdir()

        with self.open(long, subject) as store:
            parent = ""
            for number in range(100):
                parent = make_layer(store, f"layer-{number}", [write(f"file-{number}", "x")], parent=parent).key
            with viewed(store, parent) as tree:
                assert len(list(tree.glob("file-*"))) == 100

    # hard links

    @pytest.mark.parametrize("scenario", [recipes.LINK_AFTER, recipes.LINK_BEFORE, recipes.LINK_BEFORE_CHANGED], ids=repr)
    def test_FS14_a_new_name_for_a_file_of_a_lower_layer(self, twin: Twin, scenario: Scenario) -> None:
        twin.check(scenario)

    @unless(Limit.LINK_COUNTS)
    def test_FS42_linked_names_stay_linked_in_children(self, twin: Twin) -> None:
        twin.check(
            Scenario(
                "linked",
                [mkdir("d"), write("one", "x"), link("one", "two"), link("one", "d/three"), symlink("one", "s"), link("s", "t")],
                [write("unrelated", "y")],
                [rm("two"), rm("s")],
                [rm("one"), link("d/three", "one")],
            )
        )

    @requires(Capability.SHARED_HARD_LINKS)
    def test_FS43_a_write_through_one_name_shows_in_the_others(self, twin: Twin) -> None:
        twin.check(
            Scenario(
                "written-link",
                [mkdir("d"), write("one", "x"), link("one", "d/two"), write("three", "z"), link("three", "four")],
                [append("d/two", "y"), chmod("four", 0o600)],
                [replace("one", "alone now")],
            )
        )

    # types and names

    @pytest.mark.parametrize("after", NODES)
    @pytest.mark.parametrize("before", NODES)
    def test_FS15_a_node_becomes_another_type(self, twin: Twin, before: str, after: str) -> None:
        twin.check(Scenario("retyped", NODES[before], [rm("x"), *NODES[after]], [write("unrelated")]))

    @unless(Limit.NODE_ATTRIBUTES)
    def test_FS16_special_files(self, twin: Twin) -> None:
        twin.check(
            Scenario(
                "special",
                [
                    mkfifo("pipe", 0o622),
                    mknod("null", stat.S_IFCHR, 1, 3),
                    mknod("loop", stat.S_IFBLK, 7, 300),
                    bind_socket("server"),
                ],
                [chmod("pipe", 0o600), chown("null", 1, 2), link("loop", "loop2"), rm("server")],
                [rm("pipe"), mkfifo("pipe")],
            )
        )

    @pytest.mark.parametrize(
        "name",
        [
            "ünïcödé-日本",
            os.fsdecode(b"\xff\xfe undecodable"),
            "n" * 251,
            pytest.param("n" * 255, marks=unless(Limit.LONG_NAMES)),
            "two\nlines",
            "-rf",
            " spaces ",
            "a:b,c\\d=e",
            "e\u0301 or \u00e9",
            "\x01\x7f",
        ],
        ids=ascii,
    )
    def test_FS17_odd_names(self, twin: Twin, name: str) -> None:
        twin.check(
            Scenario(
                "names",
                [mkdir(name), write(f"{name}/{name}", "one"), symlink(name, f"{name}/link")],
                [append(f"{name}/{name}", "two")],
                [rm(f"{name}/link"), write(f"{name}/next", "three")],
                [rm(name)],
                [mkdir(name)],
            )
        )

    def test_FS18_empty_things_stay(self, twin: Twin) -> None:
        twin.check(
            Scenario(
                "empty",
                [mkdir("d"), write("f"), write("g", "full")],
                [truncate("g", 0)],
                [mkdir("d/e")],
                [rm("d/e"), append("f", "full")],
                [truncate("f", 0)],
            )
        )

    # times and holes

    def test_FS19_times_to_the_nanosecond(self, twin: Twin) -> None:
        when = 1_700_000_000 * SECOND
        first = [
            mkdir("d"),
            write("d/f", "x"),
            symlink("f", "d/s"),
            mkfifo("d/p"),
            *(utime(path, when + number) for number, path in enumerate(("d/f", "d/s", "d/p", "d", "."))),
        ]
        second = [
            write("d/g", "y"),
            rm("d/p"),
            utime("d/s", when + 999_999_999),
            *(utime(path, when + 123_456_789 + number) for number, path in enumerate(("d/g", "d", "."))),
        ]
        twin.check(Scenario("nanoseconds", first, second), times=True)

    @unless(Limit.DIRECTORY_TIMES)
    @pytest.mark.parametrize(
        "when",
        [0, 1, -1, -SECOND, -(2**31) * SECOND, -1_500_000_000, 2**31 * SECOND, 7_258_118_400 * SECOND + 7],
        ids=str,
    )
    def test_FS20_odd_times(self, twin: Twin, when: int) -> None:
        def settle(*paths: str) -> list[Step]:
            return [utime(path, when) for path in (*paths, ".")]

        twin.check(
            Scenario(
                "odd-times",
                [mkdir("d"), write("d/f", "x"), symlink("f", "d/s"), *settle("d/f", "d/s", "d")],
                [chmod("d/f", 0o600), *settle()],
            ),
            times=True,
        )

    @unless(Limit.HOLES)
    def test_FS21_holes_stay_holes(self, store: Store, twin: Twin) -> None:
        twin.check(Scenario("holes", [sparse("image", 64 * 2**20, "tail")], [append("image", " and more")], []))

        with viewed(store, twin.top) as tree:
            assert (tree / "image").stat().st_blocks * 512 < 2**20

    def test_FS44_extended_attributes_of_every_kind(self, twin: Twin) -> None:
        capability = b"\x01\x00\x00\x02" + b"\x00\x04\x00\x00" + bytes(12)
        twin.check(
            Scenario(
                "xattrs",
                [
                    mkdir("d"),
                    write("f", "x"),
                    setxattr("f", "user.text", b"value"),
                    setxattr("f", "user.empty", b""),
                    setxattr("f", "user.binary", bytes(range(256))),
                    setxattr("d", "user.dir", b"\n=\0"),
                    setxattr("f", "security.capability", capability),
                ],
                [chmod("d", 0o700), setxattr("f", "user.text", b"changed")],
                [rmxattr("f", "user.binary"), rmxattr("d", "user.dir")],
                [append("f", "y")],  # the kernel drops the capability
            )
        )

    # immutability

    def test_FS24_what_is_mounted_writable_is_not_committed(self, store: Store) -> None:
        store.graph.prepare("work")
        with mounted(store, "work") as tree:
            write("file", "before")(tree)
            with pytest.raises(SnapshotInUseError, match="mount"):
                store.graph.commit("layer", "work")
            write("file", "still active")(tree)

        store.graph.commit("layer", "work")
        with viewed(store, "layer") as tree:
            assert (tree / "file").read_text() == "still active"

    @pytest.mark.parametrize("layers", [1, 2])
    def test_FS26_a_view_is_read_only(self, store: Store, layers: int) -> None:
        make_layer(store, "base", [mkdir("directory"), write("file", "x")])
        if layers == 2:
            make_layer(store, "next", [write("other", "y")], parent="base")
        top = "next" if layers == 2 else "base"
        store.graph.view("look", top)

        with mounted(store, "look") as tree:
            before = manifest(tree)
            for name, mutate in MUTATIONS.items():
                with pytest.raises(OSError) as refusal:
                    mutate(tree)
                assert refusal.value.errno in (errno.EROFS, errno.EACCES), f"{name}: {refusal.value}"
            assert manifest(tree) == before
        with viewed(store, top) as tree:
            assert manifest(tree) == before

    def test_FS27_parents_never_change_and_siblings_never_meet(self, store: Store, twin: Twin) -> None:
        twin.commit(*recipes.BASE)
        twin.commit(write("etc/second", "layer"))
        left = [rm("usr"), append("etc/hosts", "left"), write("only-left", "x"), chmod("home/ada", 0o711)]
        right = [write("etc/hosts", "right"), rm("home"), mkdir("home"), setxattr("etc", "user.side", b"right")]

        make_layer(store, "left", left, parent=twin.top)
        make_layer(store, "right", right, parent=twin.top)

        twin.check_layers_unchanged()
        with viewed(store, "left") as one, viewed(store, "right") as other:
            assert (one / "only-left").exists()
            assert (one / "home/ada").is_dir()
            assert not (other / "only-left").exists()
            assert (other / "usr/lib").is_dir()
            assert (other / "etc/hosts").read_text() == "right"

    def test_FS28_eight_children_written_at_once(self, store: Store, twin: Twin) -> None:
        twin.commit(*recipes.BASE)

        def work(number: int) -> str:
            steps = [write(f"of-{number}-{count}", f"{number}") for count in range(20)]
            return make_layer(store, f"child-{number}", [*steps, rm("usr")], parent=twin.top).key

        with ThreadPoolExecutor(8) as pool:
            children = list(pool.map(work, range(8)))

        twin.check_layers_unchanged()
        for number, child in enumerate(children):
            with viewed(store, child) as tree:
                assert len(list(tree.glob(f"of-{number}-*"))) == len(list(tree.glob("of-*"))) == 20
                assert not (tree / "usr").exists()

    def test_FS45_two_mounts_of_one_snapshot_are_one_tree(self, store: Store, root: Path) -> None:
        make_layer(store, "base", [write("file", "x")])
        store.graph.prepare("work", "base")
        second = root / "second"
        second.mkdir()

        with mounted(store, "work") as first:
            store.mounts.mount("work", second)
            append("file", "y")(second)
            write("new", "z")(first)
            assert_same_tree(first, second)
            store.mounts.unmount("work", second)

        assert store.mounts.mounted("work") == ()
