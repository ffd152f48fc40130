"""RS: random steps in random layers, against a plain directory; the plainest statement of what a driver is for.

The steps come from :mod:`hypothesis`. Runs are the same each time and a failure is shown as it came; ``--hypothesis-seed`` asks
for other runs, and for the shortest one that still fails, which takes minutes to find.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule, run_state_machine_as_test

from lamina.conformance.fixtures import Contract
from lamina.host.kernel import KernelHost
from lamina.model import Capability
from lamina.testing import scenario
from lamina.testing.trees import assert_same_tree, differences, manifest
from lamina.testing.twin import mounted, settled, viewed

if TYPE_CHECKING:
    import pytest

    from lamina.store import Store
    from lamina.testing.scenario import Step
    from lamina.testing.trees import Manifest

#: Few names, so that steps meet each other.
NAMES = st.sampled_from(["a", "b", "c", "a/a", "a/b", "a/c", "b/a", "a/b/a", "a/b/c", os.fsdecode(b"a/\xff")])
MODES = st.sampled_from([0o755, 0o644, 0o700, 0o1777, 0o4711, 0])
DATA = st.sampled_from([b"", b"x", b"y" * 5000])
TIMES = st.sampled_from([0, 1, 10**18 + 123_456_789])
IDS = st.sampled_from([0, 1, 70_000])
#: A major number that no driver of Linux has (Documentation/admin-guide/devices.txt): nothing answers when a node is opened.
NO_DRIVER = 4000

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(scenario.write, NAMES, DATA),
    st.builds(scenario.replace, NAMES, DATA, MODES),
    st.builds(scenario.append, NAMES, DATA),
    st.builds(scenario.truncate, NAMES, st.sampled_from([0, 3, 4097])),
    st.builds(scenario.mkdir, NAMES, MODES),
    st.builds(scenario.rm, NAMES),
    st.builds(scenario.symlink, st.sampled_from(["a", "b", "nowhere"]), NAMES),
    st.builds(scenario.link, NAMES, NAMES),
    st.builds(scenario.rename, NAMES, NAMES),
    st.builds(scenario.mkfifo, NAMES, MODES),
    st.builds(
        scenario.mknod, NAMES, st.sampled_from([stat.S_IFCHR, stat.S_IFBLK]), st.just(NO_DRIVER), st.sampled_from([3, 300])
    ),
    st.builds(scenario.chmod, NAMES | st.just("."), MODES),
    st.builds(scenario.chown, NAMES | st.just("."), IDS, IDS),
    st.builds(scenario.utime, NAMES, TIMES),
    st.builds(scenario.setxattr, NAMES, st.sampled_from(["user.a", "user.b"]), DATA),
    st.builds(scenario.rmxattr, NAMES, st.just("user.a")),
)

#: What the lowest layer may hold; steps alone would take long to get there.
GROUNDS: dict[str, list[Step]] = {
    "nothing": [],
    "a tree": [
        *(scenario.mkdir("a"), scenario.mkdir("a/b"), scenario.mkdir("b", 0o700), scenario.write("c", "ground")),
        *(scenario.write("a/a", "x" * 5000), scenario.write("a/b/a", "y", 0o4711), scenario.symlink("a", "a/c")),
        *(scenario.setxattr("a/a", "user.a", b"1"), scenario.chown("a/b", 1, 1)),
    ],
    "links": [
        *(scenario.mkdir("a"), scenario.write("a/a", "x"), scenario.link("a/a", "b"), scenario.link("a/a", "a/b")),
        scenario.symlink("nowhere", "c"),
    ],
}

#: Steps that change an inode in place, or give it another name.
IN_PLACE = frozenset(
    {"write", "append", "truncate", "chmod", "chown", "utime", "setxattr", "rmxattr", "link", "rename"},
)


class Layering(RuleBasedStateMachine):
    """A tree of layers, and a plain directory for each."""

    store: Store
    #: Where the plain directories are made.
    root: Path

    layers: Bundle[str] = Bundle("layers")

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(dir=self.root))
        #: What each layer held when it was committed, and the layer that its archive made.
        self.kept: dict[str, Manifest] = {}
        self.copies: dict[str, str] = {}

    @initialize(target=layers, ground=st.sampled_from(list(GROUNDS)))
    def lowest(self, ground: str) -> str:
        """Make a layer on nothing."""
        return self.make("", GROUNDS[ground])

    @rule(target=layers, parent=layers | st.just(""), steps=st.lists(STEPS, min_size=1, max_size=8))
    def layer(self, parent: str, steps: list[Step]) -> str:
        """Make a layer on top of any other, or of nothing."""
        return self.make(parent, steps)

    @rule(layer=consumes(layers))
    def remove(self, layer: str) -> None:
        """Remove a layer, unless something is built on it."""
        if not self.store.graph.children(layer):
            self.store.graph.remove(layer)
            del self.kept[layer]

    def teardown(self) -> None:
        """Look once more at every layer: nothing that came later may have touched it."""
        for name in self.kept:
            self.check_unchanged(name)

    def make(self, parent: str, steps: list[Step]) -> str:
        """Do in a layer what the plain directory takes, and require that the two stay equal."""
        name = f"{self.place.name}-{len(self.copies)}"
        flat = self.place / name
        if parent:
            KernelHost().copy_tree(self.place / parent, flat)
        else:
            flat.mkdir()
            flat.chmod(0o755)
        work = f"work on {name}"
        self.store.graph.prepare(work, parent)
        with mounted(self.store, work) as tree:
            if parent:
                assert differences(manifest(tree), self.kept[parent]) == [], "a child does not begin as its parent"
            for step in steps:
                if done(step, flat, self.store.driver.capabilities):
                    step(tree)
            assert_same_tree(tree, flat, mtimes=False)
            written = manifest(tree)
        self.store.graph.commit(name, work)
        self.kept[name] = settled(self.store, name, written)
        self.check_unchanged(name)
        self.check_archive(name, self.copies.get(parent, ""))
        return name

    def check_unchanged(self, name: str) -> None:
        """Require a layer to be what was committed."""
        with viewed(self.store, name) as tree:
            assert differences(manifest(tree), self.kept[name]) == [], f"{name} is not what was committed"

    def check_archive(self, name: str, parent: str) -> None:
        """Require the archive of the layer to make it again on a copy of its parent, and that to have the same archive."""
        first, second = io.BytesIO(), io.BytesIO()
        self.store.layers.diff(name, first)
        copy = self.store.layers.apply(io.BytesIO(first.getvalue()), parent=parent).key
        with viewed(self.store, copy) as tree:
            assert differences(manifest(tree), self.kept[name]) == [], "the archive makes another layer"
        self.store.layers.diff(copy, second)
        assert second.getvalue() == first.getvalue(), "equal layers have different archives"
        self.copies[name] = copy


def done(step: Step, flat: Path, capabilities: frozenset[Capability]) -> bool:
    """Do a step in a plain directory, unless only some drivers can as it does; CP08 and CP09 are about those."""
    path = flat / str(step.arguments[0])
    if os.path.lexists(path):
        status = os.lstat(path)
        linked = [found for found in (status, os.stat(path) if path.exists() else status) if found.st_nlink > 1]
        if step.verb == "rename" and stat.S_ISDIR(status.st_mode) and Capability.RENAME_DIRECTORY not in capabilities:
            return False
        if (
            step.verb in IN_PLACE
            and any(not stat.S_ISDIR(found.st_mode) for found in linked)
            and Capability.SHARED_HARD_LINKS not in capabilities
        ):
            return False
    try:
        step(flat)
    except OSError:
        return False
    return True


class RandomizedContract(Contract):
    """Whatever is done in whatever layers, the stack is equal to a plain directory."""

    def test_RS01_random_layers_equal_a_plain_directory(self, store: Store, root: Path, pytestconfig: pytest.Config) -> None:
        explore = pytestconfig.getoption("--hypothesis-seed", None) is not None
        budget = settings(
            max_examples=25,
            stateful_step_count=8,
            deadline=None,
            database=None,
            print_blob=explore,
            derandomize=not explore,
            phases=(Phase.generate, Phase.shrink) if explore else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        bound: type[Layering] = type("Layering", (Layering,), {"store": store, "root": root})

        run_state_machine_as_test(bound, settings=budget)
