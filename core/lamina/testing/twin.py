"""A stack of layers in a store beside a plain directory that went through the same steps: the oracle of the content cases."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from lamina.model import Limit
from lamina.testing.archives import archive
from lamina.testing.trees import assert_same_tree, differences, manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from lamina.model import Snapshot
    from lamina.store import Store
    from lamina.testing.archives import ArchiveEntry
    from lamina.testing.scenario import Scenario, Step
    from lamina.testing.trees import Manifest


@contextmanager
def mounted(store: Store, key: str) -> Iterator[Path]:
    """Mount a snapshot for the time of the block."""
    target = store.mounts.mount(key)
    try:
        yield target
    finally:
        store.mounts.unmount(key, target)


@contextmanager
def viewed(store: Store, key: str) -> Iterator[Path]:
    """Mount a view of a layer for the time of the block."""
    view = f"view of {key}"
    store.graph.view(view, key)
    try:
        with mounted(store, view) as tree:
            yield tree
    finally:
        store.graph.remove(view)


def make_layer(store: Store, name: str, steps: Iterable[Step] = (), *, parent: str = "") -> Snapshot:
    """Commit a layer in which ``steps`` were done on top of ``parent``."""
    work = f"work on {name}"
    store.graph.prepare(work, parent)
    with mounted(store, work) as tree:
        for step in steps:
            step(tree)
    return store.graph.commit(name, work)


def apply_layers(store: Store, *archives: Iterable[ArchiveEntry], on: str = "") -> str:
    """Unpack archives on top of each other and of the layer ``on``, lowest first, and return the name of the last layer."""
    top = on
    for entries in archives:
        top = store.layers.apply(BytesIO(archive(entries)), parent=top).key
    return top


def assert_layer_is(store: Store, key: str, flat: Path, steps: Iterable[Step], *, times: bool = False) -> None:
    """Require the layer ``key`` to be what ``steps`` make of ``flat``, an empty directory, mode 0755."""
    for step in steps:
        step(flat)
    with viewed(store, key) as tree:
        assert_same_tree(tree, flat, mtimes=times)


def settled(store: Store, name: str, written: Manifest) -> Manifest:
    """Return what the layer ``name`` has to be after ``written`` was seen in the mount that it was written through.

    The same; but where directories' times change below a mount, the layer's own count.
    """
    if Limit.DIRECTORY_TIMES not in store.driver.limits:
        return written
    with viewed(store, name) as tree:
        directories = {path: node for path, node in manifest(tree).items() if node.kind == "directory"}
    return _with_times_of(directories, written)


class Twin:
    """Keeps a stack of layers and a directory in step, and compares them wherever they can be looked at.

    Layers are named ``layer-0``, ``layer-1`` … from the bottom.
    """

    def __init__(self, store: Store, flat: Path) -> None:
        """``flat`` is an empty directory, mode 0755."""
        self.store = store
        self.flat = flat
        #: Name of the topmost layer; empty before the first.
        self.top = ""
        self._kept: dict[str, Manifest] = {}

    def check(self, scenario: Scenario, *, times: bool = False) -> None:
        """Play a scenario; require equality after every layer, and that no layer changed once it was made.

        With ``times`` the modification times are compared with the twin's as well: the scenario sets them all in its last step.
        """
        for steps in scenario.layers:
            self.commit(*steps, times=times)
        self.check_layers_unchanged()

    def commit(self, *steps: Step, times: bool = False) -> str:
        """Do ``steps`` in both, compare, commit the layer and look at it through a view. Returns its name."""
        name = f"layer-{len(self._kept)}"
        self.store.graph.prepare("work", self.top)
        with mounted(self.store, "work") as tree:
            if self.top:
                assert differences(manifest(tree), self._kept[self.top]) == [], "a child does not begin as its parent"
            for step in steps:
                step(self.flat)
                step(tree)
            written = manifest(tree)
            expected = manifest(self.flat)
            if not times:
                expected = _with_times_of(written, expected)
            assert differences(written, expected) == [], "a layer differs from its flat twin"
        self.store.graph.commit(name, "work")
        self.top = name
        self._kept[name] = settled(self.store, name, written)
        self._check_unchanged(name)
        return name

    def check_layers_unchanged(self) -> None:
        """Require every layer to be, down to times, what it was when it was committed."""
        for name in self._kept:
            self._check_unchanged(name)

    def _check_unchanged(self, name: str) -> None:
        with viewed(self.store, name) as tree:
            assert differences(manifest(tree), self._kept[name]) == [], f"{name} is not what was committed"


def _with_times_of(timed: Manifest, nodes: Manifest) -> Manifest:
    return {path: replace(node, mtime=timed[path].mtime) if path in timed else node for path, node in nodes.items()}
