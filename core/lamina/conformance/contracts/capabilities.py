"""CP: a driver declares an ability if and only if it has it. What is declared is tried, and so is what is not."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

import pytest

from lamina.conformance.fixtures import Contract
from lamina.conformance.requires import requires
from lamina.diff import changes_of
from lamina.driver import DirectApply, Driver, Encoding, NativeDiff, UnionMount
from lamina.errors import LaminaError
from lamina.host.kernel import KernelHost
from lamina.model import Capability, Limit
from lamina.testing import recipes
from lamina.testing.scenario import append, chmod, link, mkdir, mkfifo, rename, sparse, utime, write
from lamina.testing.trees import assert_same_tree
from lamina.testing.twin import make_layer, mounted, viewed

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.store import Store
    from lamina.testing.scenario import Scenario

MEGABYTE = 2**20
LONG_AGO = 1_000_000_000 * 10**9

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
        size, children = 8 * MEGABYTE, 4
        make_layer(store, "base", [write("f", os.urandom(size))])
        host = KernelHost()

        def taken(attempt: int) -> int:
            host.sync_filesystem(root)
            before = host.filesystem(root).free
            for number in range(children):
                store.graph.prepare(f"child-{attempt}-{number}", "base")
            host.sync_filesystem(root)
            return before - host.filesystem(root).free

        # Others write to the filesystem and remove from it meanwhile.
        usual = median(taken(attempt) for attempt in range(5))

        shares = usual < size * children / 2
        assert shares == (Capability.SHARED_DATA in store.driver.capabilities), f"{children} children take {usual} bytes"

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

    @pytest.mark.parametrize("limit", Limit)
    def test_CP12_what_falls_short_is_declared(self, store: Store, limit: Limit) -> None:
        assert FALLS_SHORT[limit](store) == (limit in store.driver.limits)
        assert store.check() == []


def _loses_directory_times(store: Store) -> bool:
    make_layer(store, "base", [mkdir("d"), write("d/f", "x"), utime("d", LONG_AGO)])
    make_layer(store, "next", [chmod("d/f", 0o600)], parent="base")
    with viewed(store, "next") as tree:
        return (tree / "d").stat().st_mtime_ns != LONG_AGO


def _loses_holes(store: Store) -> bool:
    make_layer(store, "base", [sparse("f", 4 * MEGABYTE, "tail")])
    make_layer(store, "next", [append("f", " and more")], parent="base")
    with viewed(store, "next") as tree:
        return (tree / "f").stat().st_blocks * 512 > MEGABYTE


def _miscounts_links(store: Store) -> bool:
    make_layer(store, "base", [mkdir("a"), mkdir("b"), write("a/f", "x"), link("a/f", "b/f")])
    make_layer(store, "next", [write("g", "y")], parent="base")
    with viewed(store, "next") as tree:
        return (tree / "a/f").stat().st_nlink != 2


def _refuses_long_names(store: Store) -> bool:
    try:
        make_layer(store, "base", [write("n" * 252, "x")])
    except (OSError, LaminaError):
        return True
    return False


def _keeps_node_attributes(store: Store) -> bool:
    make_layer(store, "base", [mkfifo("f", 0o644)])
    store.graph.prepare("work", "base")
    with mounted(store, "work") as tree:
        try:
            chmod("f", 0o600)(tree)
        except OSError as error:
            assert error.errno == errno.EIO
            return True
    return False


FALLS_SHORT = {
    Limit.DIRECTORY_TIMES: _loses_directory_times,
    Limit.HOLES: _loses_holes,
    Limit.LINK_COUNTS: _miscounts_links,
    Limit.LONG_NAMES: _refuses_long_names,
    Limit.NODE_ATTRIBUTES: _keeps_node_attributes,
}


def opened(stack: ExitStack, tree: Path) -> int:
    """Return a handle of a directory that ``stack`` closes."""
    handle = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, handle)
    return handle
