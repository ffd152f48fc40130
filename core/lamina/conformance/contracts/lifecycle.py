"""LC: the states of snapshots and the way from one to the next."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from lamina.conformance.fixtures import Contract
from lamina.errors import (
    SnapshotExistsError,
    SnapshotInUseError,
    SnapshotNotFoundError,
    SnapshotStateError,
)
from lamina.host.kernel import KernelHost
from lamina.model import Kind, Snapshot
from lamina.testing.scenario import append, mkdir, rm, write
from lamina.testing.trees import assert_same_tree, manifest
from lamina.testing.twin import make_layer, mounted, viewed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamina.conformance.subject import Subject
    from lamina.store import Store
    from lamina.testing.twin import Twin

HELLO = (mkdir("etc"), write("etc/motd", "hello\n"))


#: A program that opens a store, walks it, and asks for each snapshot and its usage.
LOOK = """
import json, sys
sys.path[:], root, driver = map(json.loads, sys.argv[1:])
import lamina
with lamina.open(root, driver=driver) as store:
    found = [store.graph.stat(each.key) for each in store.graph.walk()]
    print(json.dumps([[each.key, store.graph.usage(each.key).inodes] for each in found]))
"""


def populate(store: Store) -> None:
    """Two layers, two actives, two views: ``low ← high ← {busy, v1, v2}``, and ``idle`` on nothing."""
    make_layer(store, "low", HELLO)
    make_layer(store, "high", [append("etc/motd", "again\n")], parent="low")
    store.graph.prepare("busy", "high", labels={"app": "web", "tier": "1"})
    store.graph.prepare("idle", labels={"app": "db"})
    store.graph.view("v1", "high")
    store.graph.view("v2", "high")


def keys(store: Store, *filters: str) -> list[str]:
    """Return the keys of what a walk yields, in order."""
    return [snapshot.key for snapshot in store.graph.walk(*filters)]


class LifecycleContract(Contract):
    """Snapshots come, change their kind, and go, by the rules of the graph."""

    # making and committing

    def test_LC01_prepare_on_nothing_gives_an_active_snapshot(self, store: Store) -> None:
        snapshot = store.graph.prepare("a")

        assert (snapshot.kind, snapshot.key, snapshot.parent) == (Kind.ACTIVE, "a", "")
        assert len(store.graph.mounts("a")) >= 1

    def test_LC02_commit_turns_the_key_into_a_name(self, store: Store) -> None:
        store.graph.prepare("work")
        with mounted(store, "work") as tree:
            for step in HELLO:
                step(tree)
        layer = store.graph.commit("layer", "work")

        assert store.graph.stat("layer") == layer
        assert (layer.kind, layer.parent) == (Kind.COMMITTED, "")
        with pytest.raises(SnapshotNotFoundError):
            store.graph.stat("work")

    def test_LC03_a_child_sees_its_parent(self, store: Store, twin: Twin) -> None:
        twin.commit(*HELLO)
        store.graph.prepare("child", twin.top)

        with mounted(store, "child") as tree:
            assert_same_tree(tree, twin.flat, mtimes=False)

    def test_LC04_a_child_changes_what_it_sees(self, store: Store, twin: Twin) -> None:
        base = twin.commit(*HELLO, mkdir("var"), mkdir("var/old"), write("var/old/log", "x"))
        child = twin.commit(write("etc/issue", "new"), write("etc/motd", "changed"), rm("var/old"))

        twin.check_layers_unchanged()
        assert store.graph.stat(child).parent == base
        assert store.graph.stat(child).kind is Kind.COMMITTED

    def test_LC05_a_view_shows_a_layer_and_goes_without_a_trace(self, store: Store, twin: Twin) -> None:
        twin.commit(*HELLO)
        view = store.graph.view("look", twin.top)
        with mounted(store, "look") as tree:
            assert_same_tree(tree, twin.flat, mtimes=False)
        store.graph.remove("look")

        assert (view.kind, view.parent) == (Kind.VIEW, twin.top)
        twin.check_layers_unchanged()

    # removing

    def test_LC06_a_layer_with_a_child_stays(self, store: Store) -> None:
        make_layer(store, "base", HELLO)
        make_layer(store, "child", parent="base")

        for _ in range(2):
            with pytest.raises(SnapshotInUseError, match="child") as refusal:
                store.graph.remove("base")
            assert "cannot remove 'base'" in str(refusal.value)

    def test_LC07_children_go_before_parents(self, store: Store) -> None:
        make_layer(store, "base", HELLO)
        make_layer(store, "child", parent="base")

        store.graph.remove("child")
        store.graph.remove("base")

        assert keys(store) == []
        assert list(store.driver.objects()) == []

    def test_LC08_a_layer_in_the_middle_stays_until_its_children_went(self, store: Store) -> None:
        for name, parent in [("low", ""), ("middle", "low"), ("high", "middle")]:
            make_layer(store, name, parent=parent)

        with pytest.raises(SnapshotInUseError, match="high"):
            store.graph.remove("middle")
        for name in ("high", "middle", "low"):
            store.graph.remove(name)

        assert keys(store) == []

    # looking

    def test_LC09_stat_of_an_active_snapshot(self, store: Store) -> None:
        make_layer(store, "base")
        store.graph.prepare("a", "base")

        found = store.graph.stat("a")

        assert (found.key, found.parent, found.kind) == ("a", "base", Kind.ACTIVE)

    def test_LC10_stat_of_a_layer(self, store: Store) -> None:
        make_layer(store, "base")
        make_layer(store, "next", parent="base")

        found = store.graph.stat("next")

        assert (found.key, found.parent, found.kind) == ("next", "base", Kind.COMMITTED)

    def test_LC11_a_chain_is_listed_nearest_first(self, store: Store) -> None:
        for name, parent in [("low", ""), ("middle", "low"), ("high", "middle")]:
            make_layer(store, name, parent=parent)

        assert [layer.key for layer in store.graph.chain("high")] == ["middle", "low"]
        assert [layer.key for layer in store.graph.children("low")] == ["middle"]

    # names that are taken, missing, or of the wrong kind

    @pytest.mark.parametrize(("first", "second"), [("prepare", "prepare"), ("prepare", "view"), ("view", "view")])
    def test_LC12_a_key_is_taken_once(self, store: Store, first: str, second: str) -> None:
        make_layer(store, "base", HELLO)
        taken = getattr(store.graph, first)("key", "base")

        with pytest.raises(SnapshotExistsError):
            getattr(store.graph, second)("key", "base")

        assert store.graph.stat("key") == taken

    def test_LC13_a_layers_name_is_no_free_key(self, store: Store) -> None:
        layer = make_layer(store, "base")

        with pytest.raises(SnapshotExistsError):
            store.graph.prepare("base")

        assert store.graph.stat("base") == layer

    def test_LC14_commit_over_a_name_is_refused_and_changes_nothing(self, store: Store) -> None:
        make_layer(store, "base", HELLO)
        store.graph.prepare("work", "base")

        with pytest.raises(SnapshotExistsError, match="base"):
            store.graph.commit("base", "work")

        with mounted(store, "work") as tree:
            write("etc/still", "writable")(tree)
        assert store.graph.commit("next", "work").kind is Kind.COMMITTED

    def test_LC15_commit_of_a_missing_key(self, store: Store) -> None:
        with pytest.raises(SnapshotNotFoundError, match="nobody"):
            store.graph.commit("layer", "nobody")

    def test_LC16_commit_of_a_layer_is_refused(self, store: Store) -> None:
        make_layer(store, "base")

        with pytest.raises(SnapshotStateError, match="committed"):
            store.graph.commit("again", "base")

    def test_LC17_commit_of_a_view_is_refused(self, store: Store) -> None:
        make_layer(store, "base")
        store.graph.view("look", "base")

        with pytest.raises(SnapshotStateError, match="view"):
            store.graph.commit("layer", "look")

    @pytest.mark.parametrize("operation", ["prepare", "view"])
    def test_LC18_a_parent_must_exist(self, store: Store, operation: str) -> None:
        with pytest.raises(SnapshotNotFoundError, match="nobody"):
            getattr(store.graph, operation)("key", "nobody")

        assert keys(store) == []

    @pytest.mark.parametrize("operation", ["prepare", "view"])
    @pytest.mark.parametrize("kind", ["prepare", "view"])
    def test_LC19_only_a_layer_is_a_parent(self, store: Store, kind: str, operation: str) -> None:
        make_layer(store, "base")
        getattr(store.graph, kind)("no-layer", "base")

        with pytest.raises(SnapshotStateError, match="no-layer"):
            getattr(store.graph, operation)("key", "no-layer")

        assert "key" not in keys(store)

    def test_LC20_a_layer_has_no_mounts_of_its_own(self, store: Store) -> None:
        with pytest.raises(SnapshotNotFoundError):
            store.graph.mounts("nobody")
        make_layer(store, "base")

        with pytest.raises(SnapshotStateError, match="view"):
            store.graph.mounts("base")

    def test_LC21_mounts_are_the_same_after_reopening(self, store: Store, subject: Subject, root: Path) -> None:
        populate(store)
        before = {key: store.graph.mounts(key) for key in ("busy", "idle", "v1")}
        store.close()

        with self.open(root, subject) as reopened:
            assert {key: reopened.graph.mounts(key) for key in before} == before

    @pytest.mark.parametrize("kind", ["active", "view", "committed"])
    def test_LC22_the_key_of_a_removed_snapshot_is_free(self, store: Store, kind: str) -> None:
        make_layer(store, "base", HELLO)
        make: dict[str, Callable[[], Snapshot]] = {
            "active": lambda: store.graph.prepare("key", "base"),
            "view": lambda: store.graph.view("key", "base"),
            "committed": lambda: make_layer(store, "key", [write("etc/motd", "other")], parent="base"),
        }

        for again in make.values():
            make[kind]()
            store.graph.remove("key")
            again()
            store.graph.remove("key")

        assert keys(store) == ["base"]

    def test_LC23_numbers_are_never_used_twice(self, store: Store) -> None:
        seen = []
        for _ in range(3):
            active = store.graph.prepare("work")
            layer = store.graph.commit("layer", "work")
            assert layer.id == active.id
            seen.append(layer.id)
            store.graph.remove("layer")

        assert len(set(seen)) == len(seen)

    # labels, times, walking

    def test_LC24_labels_are_replaced_and_the_rest_stays(self, store: Store) -> None:
        made = store.graph.prepare("a", labels={"old": "1", "both": "1"})

        updated = store.graph.update("a", {"both": "2", "new": "1"})

        assert updated == store.graph.stat("a")
        assert updated.labels == {"both": "2", "new": "1"}
        assert (updated.id, updated.kind, updated.parent, updated.created) == (made.id, made.kind, "", made.created)
        assert updated.updated > updated.created

    @pytest.mark.parametrize(
        ("fieldpath", "labels", "expected"),
        [
            ("labels.a", {"a": "2", "ignored": "x"}, {"a": "2", "b": "1"}),
            ("labels.a", {}, {"b": "1"}),
            ("labels", {"c": "1"}, {"c": "1"}),
        ],
    )
    def test_LC25_a_fieldpath_limits_an_update(
        self, store: Store, fieldpath: str, labels: dict[str, str], expected: dict[str, str]
    ) -> None:
        store.graph.prepare("key", labels={"a": "1", "b": "1"})

        store.graph.update("key", labels, fieldpaths=[fieldpath])

        assert store.graph.stat("key").labels == expected
        with pytest.raises(ValueError, match="parent"):
            store.graph.update("key", labels, fieldpaths=["parent"])

    def test_LC26_times_of_making_and_changing(self, store: Store) -> None:
        before = datetime.now(UTC)
        populate(store)
        after = datetime.now(UTC)

        for snapshot in store.graph.walk():
            assert before <= snapshot.created <= after
            # a layer was active first, and changed its kind later
            assert snapshot.updated == snapshot.created or snapshot.kind is Kind.COMMITTED

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ((), ["low", "high", "busy", "idle", "v1", "v2"]),
            (("kind==view",), ["v1", "v2"]),
            (("kind==active",), ["busy", "idle"]),
            (("name==low",), ["low"]),
            (("parent==high",), ["busy", "v1", "v2"]),
            (('parent!=""',), ["high", "busy", "v1", "v2"]),
            (("labels.app",), ["busy", "idle"]),
            (("labels.app==web",), ["busy"]),
            (("labels.app,labels.tier==1",), ["busy"]),
            (("kind==view", "name==low"), ["low", "v1", "v2"]),
            (("labels.app==nobody",), []),
        ],
    )
    def test_LC27_walk_yields_what_a_filter_wants(self, store: Store, filters: tuple[str, ...], expected: list[str]) -> None:
        populate(store)

        assert keys(store, *filters) == expected

    def test_LC28_stat_inside_a_walk_agrees_with_it(self, store: Store) -> None:
        populate(store)

        assert all(store.graph.stat(snapshot.key) == snapshot for snapshot in store.graph.walk())

    def test_LC29_remove_inside_a_walk(self, store: Store) -> None:
        populate(store)

        for snapshot in store.graph.walk("kind==active", "kind==view"):
            store.graph.remove(snapshot.key)

        assert keys(store) == ["low", "high"]

    def test_LC30_an_abandoned_walk_holds_nothing(self, store: Store) -> None:
        populate(store)

        with pytest.raises(RuntimeError, match="enough"):
            for _ in store.graph.walk():
                raise RuntimeError("enough")

        store.graph.remove("busy")
        assert "busy" not in keys(store)

    # the store, odd names, no rights

    def test_LC31_close_twice_and_use_after_close(self, store: Store) -> None:
        store.graph.prepare("a")

        store.close()
        store.close()

        with pytest.raises(ValueError, match="closed"):
            store.graph.stat("a")

    def test_LC33_an_oversized_label_is_refused_before_anything_is_made(self, store: Store) -> None:
        with pytest.raises(ValueError, match="label"):
            store.graph.prepare("a", labels={"big": "x" * 5000})

        assert keys(store) == []
        assert list(store.driver.objects()) == []

    def test_LC35_what_exists_survives_reopening(self, store: Store, subject: Subject, root: Path) -> None:
        populate(store)
        listed = list(store.graph.walk())
        on_disk = sorted(thing.location for thing in store.driver.objects())
        store.close()

        with self.open(root, subject) as reopened:
            assert list(reopened.graph.walk()) == listed
            assert sorted(thing.location for thing in reopened.driver.objects()) == on_disk

    @pytest.mark.parametrize("key", ["", "\0", "a\0b", "x" * 256])
    def test_LC42_an_impossible_key_is_refused(self, store: Store, key: str) -> None:
        with pytest.raises(ValueError, match="key"):
            store.graph.prepare(key)
        with pytest.raises((ValueError, SnapshotNotFoundError)):
            store.graph.remove(key)

        assert list(store.driver.objects()) == []

    def test_LC46_looking_needs_no_right_to_mount(self, store: Store, subject: Subject, root: Path) -> None:
        populate(store)
        asked = [json.dumps(argument) for argument in (sys.path, str(root / "store"), subject.driver)]
        unable = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]

        seen = KernelHost().run([*unable, sys.executable, "-c", LOOK, *asked]).stdout

        assert json.loads(seen) == [[key, store.graph.usage(key).inodes] for key in keys(store)]

    @pytest.mark.parametrize("key", [".", "..", "../../victim", "/etc", "a/b", "-rf", "x" * 255, "ключ", "a\nb", "%s;--"])
    def test_LC47_a_key_is_a_name_and_never_a_path(self, store: Store, root: Path, key: str) -> None:
        victim = root / "victim"
        victim.mkdir()
        untouched = manifest(victim), sorted(path.name for path in root.iterdir())

        store.graph.prepare(key)
        with mounted(store, key) as tree:
            write("file", "x")(tree)
        store.graph.commit("layer", key)
        store.graph.view(key, "layer")
        with mounted(store, key) as tree:
            assert (tree / "file").read_text() == "x"
        store.graph.remove(key)

        assert (manifest(victim), sorted(path.name for path in root.iterdir())) == untouched

    def test_LC44_a_deletion_in_a_child_is_nobody_elses(self, store: Store) -> None:
        make_layer(store, "base", HELLO)
        make_layer(store, "gone", [rm("etc")], parent="base")
        make_layer(store, "sibling", parent="base")

        for layer in ("base", "sibling"):
            with viewed(store, layer) as tree:
                assert (tree / "etc/motd").read_text() == "hello\n"
        with viewed(store, "gone") as tree:
            assert list(tree.iterdir()) == []
