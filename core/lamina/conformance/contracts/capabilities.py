"""CP: a driver declares an ability if and only if it has it. What is declared is tried, and so is what is not."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from lamina.conformance.fixtures import Contract
from lamina.conformance.requires import requires
from lamina.diff import changes_of
from lamina.driver import DirectApply, Driver, Encoding, NativeDiff, UnionMount
from lamina.host.kernel import KernelHost
from lamina.model import Capability
from lamina.testing import recipes
from lamina.testing.scenario import append, link, mkdir, rename, write
from lamina.testing.trees import assert_same_tree
from lamina.testing.twin import make_layer, mounted, viewed

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.store import Store
    from lamina.testing.scenario import Scenario

MEGABYTE = 2**20

#: What a driver that declares the capability also is.
INTERFACES = {
    Capability.NATIVE_DIFF: NativeDiff,
    Capability.DIRECT_APPLY: DirectApply,
    Capability.UNION: UnionMount,
}


class CapabilityContract(Contract):
    """Declared if and only if it works."""

    @pytest.mark.parametrize("capability", INTERFACES)
    def test_CP01_a_capability_is_its_interface(self, store: Store, capability: Capability) -> None:
        assert (capability in store.driver.capabilities) == isinstance(store.driver, INTERFACES[capability])

    def test_CP02_a_driver_says_who_it_is(self, store: Store) -> None:
        kind = type(store.driver)

        assert issubclass(kind, Driver)
        assert kind.name and kind.summary
        assert store.driver.capabilities <= kind.capabilities
        assert kind.Options() is not None, "every option has a default"

    def test_CP03_a_probe_leaves_nothing_and_is_repeatable(self, store: Store, root: Path) -> None:
        place = root / "probed"
        place.mkdir()

        reports = [type(store.driver).probe(KernelHost(), place, store.driver.options) for _ in range(2)]

        assert [report.ok for report in reports] == [True, True]
        assert all(check.name and check.evidence for check in reports[0].checks)
        assert all(check.remedy for check in reports[0].checks if not check.ok)
        assert list(place.iterdir()) == []

    def test_CP04_a_probe_of_an_impossible_place_explains_itself(self, store: Store, root: Path) -> None:
        report = type(store.driver).probe(KernelHost(), root / "missing", store.driver.options)

        assert not report.ok
        assert all(check.evidence and check.remedy for check in report.failures)

    @requires(Capability.NATIVE_DIFF)
    @pytest.mark.parametrize("scenario", recipes.DIFFABLE, ids=repr)
    def test_CP05_native_changes_are_those_of_a_walk(self, store: Store, scenario: Scenario) -> None:
        below = ""
        for number, steps in enumerate(scenario.layers):
            layer = make_layer(store, f"layer-{number}", steps, parent=below).key
            if below:
                with viewed(store, below) as parent, viewed(store, layer) as child, ExitStack() as stack:
                    handles = [opened(stack, tree) for tree in (parent, child)]
                    walked = list(changes_of(handles[0], handles[1]))
                assert list(store.layers.changes(layer)) == walked
            below = layer

    @requires(Capability.NATIVE_DIFF)
    def test_CP06_native_changes_of_a_snapshot_in_use(self, store: Store) -> None:
        make_layer(store, "base", recipes.BASE)
        store.graph.prepare("work", "base")
        with mounted(store, "work") as tree:
            write("etc/new", "x")(tree)
            told = list(store.layers.changes("work"))

        assert [change.path for change in told if change.kind == "added"] == [b"etc/new"]

    @requires(Capability.DIRECT_APPLY)
    def test_CP07_a_directory_to_unpack_into(self, store: Store) -> None:
        assert isinstance(store.driver, DirectApply)
        layer = make_layer(store, "base", [write("old", "x")])
        work = store.graph.prepare("work", "base")

        target = store.driver.apply_target(work.id, (layer.id,))
        (target.directory / "new").write_text("y")

        assert target.encoding in Encoding
        assert target.directory.is_relative_to(store.driver.root)
        with mounted(store, "work") as tree:
            assert sorted(path.name for path in tree.iterdir()) == ["new", "old"]
        with viewed(store, "base") as tree:
            assert [path.name for path in tree.iterdir()] == ["old"]

    def test_CP08_a_lower_directory_can_be_renamed_if_declared(self, store: Store) -> None:
        make_layer(store, "base", [mkdir("d"), write("d/f", "x")])
        store.graph.prepare("work", "base")

        with mounted(store, "work") as tree:
            if Capability.RENAME_DIRECTORY in store.driver.capabilities:
                rename("d", "e")(tree)
                assert (tree / "e/f").read_text() == "x"
                assert not (tree / "d").exists()
            else:
                with pytest.raises(OSError) as refusal:
                    rename("d", "e")(tree)
                assert refusal.value.errno == errno.EXDEV, "it works, so declare RENAME_DIRECTORY"
                assert (tree / "d/f").read_text() == "x"

    def test_CP09_lower_hard_links_stay_linked_if_declared(self, store: Store) -> None:
        make_layer(store, "base", [write("one", "x"), link("one", "two")])
        make_layer(store, "next", [append("one", "y")], parent="base")

        with viewed(store, "next") as tree:
            linked = (tree / "two").read_text() == "xy"

        assert linked == (Capability.SHARED_HARD_LINKS in store.driver.capabilities)

    def test_CP10_unchanged_data_are_shared_if_declared(self, store: Store, root: Path) -> None:
        size, children = 16 * MEGABYTE, 3
        make_layer(store, "base", [write("f", os.urandom(size))])
        host = KernelHost()

        def taken(attempt: int) -> int:
            host.sync_filesystem(root)
            before = host.filesystem(root).free
            for number in range(children):
                store.graph.prepare(f"child-{attempt}-{number}", "base")
            host.sync_filesystem(root)
            return before - host.filesystem(root).free

        # Others write to the filesystem too: sharing is proved by one quiet moment, not sharing by the whole size each time.
        least = min(taken(attempt) for attempt in range(3))

        assert (least < size) == (Capability.SHARED_DATA in store.driver.capabilities), f"{least} bytes for {children} children"

    @requires(Capability.UNION)
    def test_CP11_any_directories_as_one(self, store: Store, root: Path) -> None:
        assert isinstance(store.driver, UnionMount)
        places = {name: root / name for name in ("low", "high", "upper", "work", "target", "expected")}
        for place in places.values():
            place.mkdir()
            place.chmod(0o755)
        write("both", "low")(places["low"])
        write("low", "x")(places["low"])
        write("both", "high")(places["high"])
        for name, text in [("both", "high"), ("low", "x"), ("new", "y")]:
            write(name, text)(places["expected"])

        mount = store.driver.union(
            [places["high"], places["low"]], store.driver.options, upper=places["upper"], work=places["work"]
        )
        KernelHost().mount([mount], places["target"])
        try:
            write("new", "y")(places["target"])
            assert_same_tree(places["target"], places["expected"], mtimes=False)
        finally:
            KernelHost().unmount(places["target"])

        assert sorted(path.name for path in places["low"].iterdir()) == ["both", "low"]
        assert [path.name for path in places["upper"].iterdir()] == ["new"]


def opened(stack: ExitStack, tree: Path) -> int:
    """Return a handle of a directory that ``stack`` closes."""
    handle = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, handle)
    return handle
