"""Laws that hold for all trees: what is packed unpacks to the same, on every kind of target, and however changes are found."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.diff import ApplyOptions, apply, compare, pack
from lamina.diff.links import IncompleteError
from lamina.diff.walk import changes_of, narrow
from lamina.driver import Encoding, Touched
from lamina.errors import ArchiveError
from lamina.host.kernel import KernelHost
from lamina.testing.archives import archive
from lamina.testing.trees import assert_same_tree, manifest
from tests.unit.diff.targets import opened, union
from tests.unit.diff.worlds import GROW, change, entries, grow, growth, make, ops

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from lamina.model import Change
    from lamina.testing.archives import ArchiveEntry
    from tests.unit.diff.worlds import Op

pytestmark = pytest.mark.root
HOST = KernelHost()

world = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def scratch(place: Path) -> Iterator[Path]:
    """A directory for one example."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


def copy(source: Path, name: str) -> Path:
    target = source.parent / name
    HOST.copy_tree(source, target)
    return target


def changes(parent: Path | None, child: Path, *, since: int = 0) -> list[Change]:
    with opened(child) as here:
        if parent is None:
            return list(compare(None, here, since=since))
        with opened(parent) as below:
            return list(compare(below, here, since=since))


def packed(parent: Path | None, child: Path) -> bytes:
    sink = io.BytesIO()
    with opened(child) as here:
        pack(changes(parent, child), here, sink)
    return sink.getvalue()


def unpack(layer: bytes, target: Path, options: ApplyOptions) -> None:
    with opened(target) as fd:
        apply(io.BytesIO(layer), fd, options)


@given(growth, change)
@world
def test_layer_turns_parent_into_child(tmp_path: Path, before: list[Op], after: list[Op]) -> None:
    with scratch(tmp_path) as place:
        parent = grow(place / "parent", before)
        child = copy(parent, "child")
        for step in after:
            step(os.fsencode(child))
        layer = packed(parent, child)

        unpack(layer, parent, ApplyOptions(has_parent=True))

        assert_same_tree(parent, child)


@given(growth, growth)
@world
def test_layer_turns_any_tree_into_any_other(tmp_path: Path, one: list[Op], other: list[Op]) -> None:
    with scratch(tmp_path) as place:
        parent = make(place / "parent", one)
        child = make(place / "child", other)
        layer = packed(parent, child)

        unpack(layer, parent, ApplyOptions(has_parent=True))

        assert_same_tree(parent, child)


@given(change)
@world
def test_first_layer_holds_the_whole_tree(tmp_path: Path, steps: list[Op]) -> None:
    with scratch(tmp_path) as place:
        tree = grow(place / "tree", steps)
        empty = make(place / "empty")

        unpack(packed(None, tree), empty, ApplyOptions())

        assert_same_tree(tree, empty)


@given(change)
@world
def test_copy_differs_in_nothing(tmp_path: Path, steps: list[Op]) -> None:
    with scratch(tmp_path) as place:
        tree = grow(place / "tree", steps)
        other = copy(tree, "copy")

        assert changes(tree, tree) == []
        assert packed(tree, other) == bytes(1024)


@given(
    growth,
    change,
    st.lists(st.sampled_from(range(100)), max_size=5),
)
@world
def test_looking_at_touched_paths_finds_what_looking_at_all_finds(
    tmp_path: Path, before: list[Op], after: list[Op], others: list[int]
) -> None:
    with scratch(tmp_path) as place:
        parent = grow(place / "parent", before)
        child = copy(parent, "child")
        for step in after:
            step(os.fsencode(child))
        paths = list(manifest(parent) | manifest(child))
        expected = changes(parent, child)
        more = [paths[number % len(paths)] for number in others]

        with opened(parent) as below, opened(child) as here:
            assert list(narrow(below, here, [Touched(b".", subtree=True)])) == expected
            for touched in (paths, [*(change.path for change in expected), *more]):
                assert list(changes_of(below, here, map(Touched, touched))) == expected
                try:
                    assert list(narrow(below, here, map(Touched, touched))) == expected
                except IncompleteError:
                    assert any(node.links for tree in (parent, child) for node in manifest(tree).values())


@given(growth, change)
@world
def test_knowing_when_the_parent_was_copied_changes_no_answer(tmp_path: Path, before: list[Op], after: list[Op]) -> None:
    with scratch(tmp_path) as place:
        parent = grow(place / "parent", before)
        child = copy(parent, "child")
        since = make(place / "clock").stat().st_ctime_ns
        for step in after:
            step(os.fsencode(child))

        assert changes(parent, child, since=since) == changes(parent, child)


LAYER = ("file", "file", "directory", "directory", "symlink", "hardlink", "whiteout", "whiteout", "opaque")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", [Encoding.OVERLAY, Encoding.AUFS])
@given(st.lists(ops(*GROW), max_size=12), st.lists(entries(*LAYER), max_size=8))
@settings(world, max_examples=150)
def test_union_shows_what_a_complete_tree_holds(
    tmp_path: Path, encoding: Encoding, before: list[Op], layer: list[ArchiveEntry]
) -> None:
    with scratch(tmp_path) as place:
        parent = grow(place / "parent", before, hard_links=False)
        plain = copy(parent, "plain")
        upper = make(place / "upper")
        data = archive(layer)

        with opened(parent) as lower:
            options = ApplyOptions(encoding=encoding, lower=lower)
            error = failure(data, plain, ApplyOptions(has_parent=True))
            assert failure(data, upper, options) == error

        if error is None:
            with union(encoding, place, upper, [parent]) as merged:
                # fuse-overlayfs gives a name of the upper layer the inode number that it has in the lower one.
                assert_same_tree(merged, plain, hard_links=encoding is not Encoding.AUFS)


def failure(layer: bytes, target: Path, options: ApplyOptions) -> type[ArchiveError] | None:
    try:
        unpack(layer, target, options)
    except ArchiveError as error:
        return type(error)
    return None


@given(
    st.lists(ops("mkdir", "write", "describe", "remove"), max_size=6),
    st.lists(entries("file", "directory", "whiteout", "opaque"), max_size=10),
    st.randoms(use_true_random=False),
)
@world
def test_order_of_a_layer_does_not_matter(tmp_path: Path, before: list[Op], layer: list[ArchiveEntry], chance: Random) -> None:
    """WH24. A layer that has two entries for a path, or a file for a directory, contradicts itself, and links lead elsewhere."""
    consistent = {entry.name: entry for entry in layer if not entry.name.startswith("s/")}
    for name, entry in list(consistent.items()):
        if entry.type == tarfile.REGTYPE and any(other.startswith(f"{name}/") for other in consistent):
            del consistent[name]
    shuffled = chance.sample(list(consistent.values()), len(consistent))
    with scratch(tmp_path) as place:
        parent = grow(place / "parent", before)
        one, other = copy(parent, "one"), copy(parent, "other")

        unpack(archive(consistent.values()), one, ApplyOptions(has_parent=True))
        unpack(archive(shuffled), other, ApplyOptions(has_parent=True))

        assert_same_tree(one, other)
