"""DF: what a snapshot changed, told as a list and as a layer archive."""

from __future__ import annotations

import gzip
import io
import os
import stat
from typing import TYPE_CHECKING

import pytest
import zstandard

from lamina.conformance.fixtures import Contract
from lamina.conformance.requires import unless
from lamina.errors import UnrepresentableError
from lamina.model import ChangeKind, Limit
from lamina.testing import recipes
from lamina.testing.archives import members
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
    symlink,
    utime,
    write,
)
from lamina.testing.trees import differences, manifest
from lamina.testing.twin import make_layer, mounted, viewed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamina.store import Store
    from lamina.testing.scenario import Step

LONG_AGO = 1_000_000_000 * 10**9

#: What DF44 makes, on every driver and in every release that calls its archives canonical.
ONE_DIFF_ID = "sha256:a74c906d1b22a45bea9fcc2dc67d4d40aabe1a08b8d09b3404472f4afe8ca48a"

#: One step each that changes nothing of ``f`` but an attribute.
ATTRIBUTES: dict[str, Step] = {
    "mode": chmod("f", 0o600),
    "set-id": chmod("f", 0o4644),
    "uid": chown("f", 1, 0),
    "gid": chown("f", 0, 1),
    "mtime": utime("f", LONG_AGO + 1),
    "xattr added": setxattr("f", "user.new", b"1"),
    "xattr changed": setxattr("f", "user.old", b"2"),
    "xattr removed": rmxattr("f", "user.old"),
    "capability": setxattr("f", "security.capability", b"\x01\x00\x00\x02" + b"\x00\x04\x00\x00" + bytes(12)),
}

#: What happens to three names of one file.
LINK_GROUPS: dict[str, list[Step]] = {
    "one name removed": [rm("b")],
    "one name replaced": [replace("b", "alone")],
    "one name copied": [rm("b"), write("b", "shared"), utime("b", LONG_AGO)],
    "all names replaced": [rm("a"), rm("b"), rm("c"), write("a", "new"), link("a", "b"), link("a", "c")],
    "a stranger joins": [rm("stranger"), link("a", "stranger")],
    "a new name": [link("c", "d/e")],
    "the group splits": [rm("c"), write("c", "other"), link("c", "d2")],
}


def at_one_time(*paths: str) -> list[Step]:
    """Steps that give each path the same time, which is no whole second."""
    return [utime(path, LONG_AGO + 123_456_789) for path in paths]


def told(store: Store, key: str, *, against: str | None = None) -> list[str]:
    """Return the changes as ``added a/b``, in order, without directories that are modified because of what is in them."""
    changes = list(store.layers.changes(key, against=against))
    above = {ancestor for change in changes for ancestor in ancestors(change.path)}
    implied = {change.path for change in changes if change.kind is ChangeKind.MODIFIED and change.path in above}
    return [f"{change.kind} {os.fsdecode(change.path)}" for change in changes if change.path not in implied]


def ancestors(path: bytes) -> list[bytes]:
    """Every directory above ``path``, the root among them."""
    parts = path.split(b"/")
    return [b".", *(b"/".join(parts[:count]) for count in range(1, len(parts)))] if path != b"." else []


def stream(store: Store, key: str, *, against: str | None = None) -> bytes:
    """Return the layer archive of a snapshot."""
    sink = io.BytesIO()
    diff = store.layers.diff(key, sink, against=against)
    assert diff.size == len(sink.getvalue())
    return sink.getvalue()


def names(data: bytes) -> list[str]:
    """Return the names in an archive, in order."""
    return [member.name for member in members(data)]


def play(store: Store, scenario: Scenario) -> list[str]:
    """Commit every layer of a scenario and return their names, lowest first."""
    made: list[str] = []
    for number, steps in enumerate(scenario.layers):
        made.append(make_layer(store, f"{scenario.name}-{number}", steps, parent=made[-1] if made else "").key)
    return made


class DiffContract(Contract):
    """Changes are exact, and an archive of them applied to the parent gives the child."""

    # the list

    def test_DF01_nothing_changed(self, store: Store) -> None:
        make_layer(store, "base", recipes.BASE)
        make_layer(store, "same", parent="base")

        data = stream(store, "same")

        assert told(store, "same") == []
        assert members(data) == []
        assert data == bytes(len(data))
        assert len(data) >= 1024

    def test_DF02_a_layer_on_nothing_is_all_added(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("d"), *(write(f"d/{number}", "x") for number in range(5)), symlink("d", "s")])

        assert told(store, "base") == ["added d", *(f"added d/{number}" for number in range(5)), "added s"]

    def test_DF02b_many_files_in_one_directory(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("d"), *(write(f"d/{number:02}", "old") for number in range(20))])
        steps = [
            (write(f"d/{number:02}", "changed"), write(f"d/{number:02}-new", "x"), rm(f"d/{number:02}"))[number % 3]
            for number in range(20)
        ]
        make_layer(store, "next", steps, parent="base")

        assert told(store, "next") == [
            (f"modified d/{number:02}", f"added d/{number:02}-new", f"deleted d/{number:02}")[number % 3] for number in range(20)
        ]

    def test_DF03_three_layers_of_directories_coming_and_going(self, store: Store) -> None:
        low = [
            *(write(f"f{number}", "x") for number in range(3)),
            *(mkdir(f"d{number}") for number in range(9)),
            *(mkdir(f"d{number}/sub") for number in (3, 4, 5)),
            *(write(f"d{number}/f", "x") for number in (6, 7, 8)),
        ]
        middle = [
            *(rm(path) for path in ("f0", "f1", "d0", "d1", "d3", "d4", "d6", "d7")),
            *(write("new", "y"), mkdir("e0"), mkdir("e1"), mkdir("e1/sub"), mkdir("e2"), write("e2/f", "y")),
        ]
        high = [
            *(write("f0", "z"), mkdir("d0"), mkdir("d3"), mkdir("d3/sub"), mkdir("d6"), write("d6/f", "z")),
            *(mkdir("d2/sub"), mkdir("d2/sub/sub")),
        ]
        play(store, Scenario("life", low, middle, high))

        assert len(told(store, "life-0")) == 18
        assert told(store, "life-1") == [
            *("deleted d0", "deleted d1", "deleted d3", "deleted d4", "deleted d6", "deleted d7"),
            *("added e0", "added e1", "added e1/sub", "added e2", "added e2/f", "deleted f0", "deleted f1", "added new"),
        ]
        assert told(store, "life-2") == [
            *("added d0", "added d2/sub", "added d2/sub/sub", "added d3", "added d3/sub", "added d6", "added d6/f"),
            "added f0",
        ]

    def test_DF04_the_archive_lists_the_same(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("d"), mkdir("d/e"), write("d/e/f", "x"), write("g", "x"), mkdir("kept")])
        make_layer(store, "next", [rm("d/e"), rm("g"), write("kept/new", "y")], parent="base")

        found = [name for name in names(stream(store, "next")) if name not in (".", "./")]

        assert found == [".wh.g", "d", "d/.wh.e", "kept", "kept/new"]

    def test_DF05_an_active_snapshot_tells_its_changes_while_mounted(self, store: Store) -> None:
        make_layer(store, "base", recipes.BASE)
        store.graph.prepare("work", "base")

        with mounted(store, "work") as tree:
            write("etc/new", "x")(tree)
            assert told(store, "work") == ["added etc/new"]
            rm("etc/hosts")(tree)
            assert told(store, "work") == ["deleted etc/hosts", "added etc/new"]

    def test_DF06_every_ancestor_of_a_change_is_in_the_archive_and_comes_first(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("a"), mkdir("a/b", 0o700), mkdir("a/b/c"), write("a/b/c/f", "x")])
        make_layer(store, "next", [append("a/b/c/f", "y")], parent="base")

        found = [member for member in members(stream(store, "next")) if member.name not in (".", "./")]

        assert told(store, "next") == ["modified a/b/c/f"]
        assert [(member.name, member.mode) for member in found] == [
            *(("a", 0o755), ("a/b", 0o700), ("a/b/c", 0o755), ("a/b/c/f", 0o644)),
        ]

    def test_DF07_a_copy_of_a_tree_has_no_changes(self, store: Store) -> None:
        make_layer(store, "base", [*recipes.BASE, mkfifo("p"), mknod("n", stat.S_IFCHR, 1, 3)])
        store.graph.prepare("work", "base")
        with mounted(store, "work") as tree:
            manifest(tree)  # reading is no change

        assert told(store, "work") == []

    def test_DF08_each_kind_of_change_once(self, store: Store) -> None:
        make_layer(
            store,
            "base",
            [
                *(write(name, "12345") for name in ("chmodded", "rewritten", "replaced", "touched", "to-dir", "removed")),
                *(mkdir("removed-dir"), write("removed-dir/f"), mkdir("to-file"), write("to-file/f"), mkdir("touched-dir")),
                *(symlink("one", "retargeted"), symlink("one", "removed-link"), utime("retargeted", LONG_AGO)),
                *(write("same", "x"), mkdir("same-dir"), symlink("x", "same-link")),
            ],
        )
        make_layer(
            store,
            "next",
            [
                *(chmod("chmodded", 0o600), write("rewritten", "54321"), replace("replaced", "abcde")),
                *(utime("touched", LONG_AGO), utime("touched-dir", LONG_AGO)),
                *(rm("to-dir"), mkdir("to-dir"), rm("to-file"), write("to-file", "now")),
                *(rm("retargeted"), symlink("two", "retargeted"), utime("retargeted", LONG_AGO)),
                *(rm("removed"), rm("removed-dir"), rm("removed-link")),
                *(write("new", "x"), mkdir("new-dir"), symlink("x", "new-link")),
            ],
            parent="base",
        )

        assert told(store, "next") == [
            *("modified chmodded", "added new", "added new-dir", "added new-link"),
            *("deleted removed", "deleted removed-dir", "deleted removed-link"),
            *("modified replaced", "modified retargeted", "modified rewritten"),
            *("modified to-dir", "modified to-file", "modified touched", "modified touched-dir"),
        ]

    @pytest.mark.parametrize("depth", range(10))
    def test_DF09_a_subtree_goes_at_some_depth_and_comes_back(self, store: Store, depth: int) -> None:
        paths = ["/".join(f"d{number}" for number in range(count)) for count in range(1, 10)]
        paths.append(f"{paths[-1]}/file")
        make = [*(mkdir(path) for path in paths[:-1]), write(paths[-1], "x")]
        play(store, Scenario("echo", make, [rm(paths[depth])], make[depth:]))

        assert told(store, "echo-1") == [f"deleted {paths[depth]}"]
        assert told(store, "echo-2") == [f"added {path}" for path in paths[depth:]]

    @pytest.mark.parametrize("later", [0, 1], ids=["same time", "a nanosecond later"])
    def test_DF10_an_edit_of_the_same_size_is_found(self, store: Store, later: int) -> None:
        make_layer(store, "base", [write("f", "server 10.0.0.1"), write("g", "x"), utime("f", LONG_AGO)])
        make_layer(store, "next", [write("f", "server 10.0.0.2"), utime("f", LONG_AGO + later)], parent="base")

        assert told(store, "next") == ["modified f"]

    @pytest.mark.parametrize("attribute", ATTRIBUTES)
    def test_DF11_an_attribute_alone_is_a_change(self, store: Store, attribute: str) -> None:
        make_layer(store, "base", [write("f", "x"), setxattr("f", "user.old", b"1"), utime("f", LONG_AGO), write("g", "y")])
        make_layer(store, "next", [ATTRIBUTES[attribute]], parent="base")

        assert told(store, "next") == ["modified f"]

    @unless(Limit.DIRECTORY_TIMES)
    def test_DF12_what_no_layer_carries_is_no_change(self, store: Store) -> None:
        make_layer(store, "base", [write("f", "x"), mkdir("d"), utime("f", LONG_AGO), utime("d", LONG_AGO)])
        only_access_times = [utime("f", LONG_AGO, atime=5), utime("d", LONG_AGO, atime=5)]
        same_again = [chmod("f", 0o644), write("f", "x"), utime("f", LONG_AGO), setxattr("f", "trusted.mine", b"1")]
        make_layer(store, "next", [*only_access_times, *same_again], parent="base")

        assert told(store, "next") == []

    # the archive

    def test_DF13_a_new_name_for_an_old_file(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("d"), write("d/f", "x" * 5000)])
        make_layer(store, "next", [mkdir("e"), link("d/f", "e/g")], parent="base")

        self.check_round_trip(store, "base", "next")

    @pytest.mark.parametrize("case", LINK_GROUPS)
    def test_DF14_a_link_comes_after_its_target(self, store: Store, case: str) -> None:
        self.make_linked(store, case)

        seen: set[str] = set()
        for member in members(stream(store, "next")):
            assert not member.islnk() or member.linkname in seen, f"{member.name} links to what has not come yet"
            if member.isreg():
                seen.add(member.name)

    @pytest.mark.parametrize("case", LINK_GROUPS)
    def test_DF15_groups_of_linked_names_that_change(self, store: Store, case: str) -> None:
        self.make_linked(store, case)

        self.check_round_trip(store, "base", "next")

    def test_DF18_a_removed_tree_is_one_whiteout(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("a"), mkdir("a/b"), mkdir("a/b/c"), write("a/b/c/d", "x"), write("a/kept", "x")])
        make_layer(store, "next", [rm("a/b")], parent="base")

        assert [name for name in names(stream(store, "next")) if name not in (".", "./")] == ["a", "a/.wh.b"]

    def test_DF19_a_directory_made_anew_leaks_nothing_old(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("d"), write("d/old", "x"), mkdir("d/sub"), write("d/sub/old", "x")])
        make_layer(store, "next", [rm("d"), mkdir("d"), write("d/new", "y")], parent="base")

        self.check_round_trip(store, "base", "next")
        found = names(stream(store, "next"))
        assert "d/.wh..wh..opq" not in found
        assert {"d/.wh.old", "d/.wh.sub", "d/new"} <= set(found)

    def test_DF20_a_replaced_type_needs_no_whiteout(self, store: Store) -> None:
        make_layer(store, "base", [write("f", "x"), mkdir("d"), write("d/old", "x")])
        make_layer(store, "next", [rm("f"), mkdir("f"), write("f/new", "y"), rm("d"), write("d", "y")], parent="base")

        self.check_round_trip(store, "base", "next")
        assert [name for name in names(stream(store, "next")) if name not in (".", "./")] == ["d", "f", "f/new"]

    @unless(Limit.DIRECTORY_TIMES)
    def test_DF21_a_directorys_own_mode_is_one_entry(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("d"), mkdir("d/e"), write("d/e/f", "x")])
        make_layer(store, "next", [chmod("d", 0o700)], parent="base")

        assert names(stream(store, "next")) == ["d"]

    def test_DF22_sockets_are_left_out(self, store: Store) -> None:
        make_layer(store, "base", [write("f", "x"), bind_socket("old")])
        make_layer(store, "next", [bind_socket("new"), write("g", "y")], parent="base")

        assert "old" not in names(stream(store, "base"))
        assert [name for name in names(stream(store, "next")) if name not in (".", "./")] == ["g"]

    def test_DF24_a_name_like_a_whiteout_cannot_be_told(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("d"), write("d/.wh.x", "data")])

        with pytest.raises(UnrepresentableError, match=r"d/\.wh\.x"):
            store.layers.diff("base", io.BytesIO())

    def test_DF26_against_layers_that_are_no_parent(self, store: Store) -> None:
        make_layer(store, "base", [write("f", "x"), write("g", "x")])
        make_layer(store, "left", [rm("f"), write("l", "x")], parent="base")
        make_layer(store, "right", [append("g", "y")], parent="base")
        make_layer(store, "top", [write("t", "x")], parent="left")

        assert told(store, "top", against="base") == ["deleted f", "added l", "added t"]
        assert told(store, "left", against="right") == ["deleted f", "modified g", "added l"]
        assert told(store, "base", against="top") == ["added f", "deleted l", "deleted t"]
        assert told(store, "right", against="right") == []

    @pytest.mark.parametrize("files", [10, 100])
    def test_DF27_the_archive_applied_to_the_parent_gives_the_child(self, store: Store, files: int) -> None:
        make_layer(store, "base", [mkdir("gone"), write("gone/f"), *(write(f"old-{n}", "x") for n in range(files))])
        make_layer(store, "next", [rm("gone"), rm("old-3"), *(write(f"new-{n}", f"{n}") for n in range(files))], parent="base")

        self.check_round_trip(store, "base", "next")

    @pytest.mark.parametrize("scenario", recipes.DIFFABLE, ids=repr)
    def test_DF28_a_stack_of_archives_gives_the_same_stack(self, store: Store, scenario: Scenario) -> None:
        copy = ""
        for layer in play(store, scenario):
            data = stream(store, layer)
            copy = store.layers.apply(io.BytesIO(data), parent=copy).key
            with viewed(store, layer) as tree, viewed(store, copy) as again:
                assert differences(manifest(again), manifest(tree)) == []
            assert stream(store, copy) == data, "an equal stack gives other bytes"

    def test_DF29_the_bytes_are_canonical(self, store: Store) -> None:
        base, *_, top = play(store, recipes.BASIC)

        data = stream(store, top, against=base)

        assert all(stream(store, top, against=base) == data for _ in range(10))
        listed = members(data)
        order = [entry_order(member.name) for member in listed]
        assert order == sorted(order)
        assert {(member.uname, member.gname) for member in listed} == {("", "")}
        assert not any({"atime", "ctime"} & member.pax_headers.keys() for member in listed)

    def test_DF31_a_whiteout_is_an_empty_file_of_root(self, store: Store) -> None:
        make_layer(store, "base", [write("f", "x", 0o777), chown("f", 5, 6)])
        make_layer(store, "next", [rm("f")], parent="base")

        (found,) = [member for member in members(stream(store, "next")) if member.name == ".wh.f"]

        assert (found.type, found.size, found.mode, found.uid, found.gid) == (b"0", 0, 0, 0, 0)

    def test_DF44_the_same_changes_have_the_same_diff_id_everywhere(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("d"), write("d/old", "x"), write("f", "x"), *at_one_time(".", "d", "d/old", "f")])
        changes = [
            *(rm("d/old"), append("f", "y"), chown("f", 1, 70_000), setxattr("f", "user.note", b"\0\xff")),
            *(mkdir("d/ünï", 0o700), symlink("/f", "d/link"), chmod("d", 0o1777)),
            *at_one_time("f", "d/ünï", "d/link", "d", "."),
        ]
        make_layer(store, "next", changes, parent="base")

        diff = store.layers.diff("next", io.BytesIO())

        assert diff.diff_id == ONE_DIFF_ID

    @pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
    def test_DF41_a_packed_archive_is_the_same_layer(self, store: Store, pack: Callable[[bytes], bytes]) -> None:
        make_layer(store, "base", recipes.BASE)
        sink = io.BytesIO()
        diff = store.layers.diff("base", sink)

        layer = store.layers.apply(io.BytesIO(pack(sink.getvalue())))

        assert (layer.diff_id, layer.key) == (diff.diff_id, diff.diff_id)

    def test_DF43_commit_names_a_layer_by_what_it_holds(self, store: Store) -> None:
        make_layer(store, "base", recipes.BASE)
        store.graph.prepare("work", "base")
        with mounted(store, "work") as tree:
            write("etc/new", "x")(tree)
        sink = io.BytesIO()

        layer, diff = store.layers.commit("work", sink)

        assert layer.parent == "base"
        assert layer.diff_id == diff.diff_id
        assert store.layers.apply(io.BytesIO(sink.getvalue()), parent="base") == layer

    def check_round_trip(self, store: Store, parent: str, child: str) -> None:
        """Require the archive of ``child`` to make it again, inode groups and times included, on top of ``parent``."""
        data = stream(store, child)
        again = store.layers.apply(io.BytesIO(data), parent=parent).key
        with viewed(store, child) as tree, viewed(store, again) as copy:
            assert differences(manifest(copy), manifest(tree)) == []
        assert stream(store, again) == data

    def make_linked(self, store: Store, case: str) -> None:
        """Three names of one file, and then one of the things that can happen to them."""
        base: Sequence[Step] = [
            *(write("a", "shared"), link("a", "b"), link("a", "c"), mkdir("d"), write("stranger", "shared")),
            *(utime("a", LONG_AGO), utime("stranger", LONG_AGO)),
        ]
        make_layer(store, "base", base)
        make_layer(store, "next", LINK_GROUPS[case], parent="base")


def entry_order(name: str) -> list[tuple[bool, bytes]]:
    """The order of names in a canonical archive: directory by directory, whiteouts first in each."""
    if name in (".", "./"):
        return []
    parts = os.fsencode(name).split(b"/")
    return [(not part.startswith(b".wh."), part) for part in parts]
