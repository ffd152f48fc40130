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
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from lamina.conformance.fixtures import Contract
from lamina.model import Capability
from lamina.testing import scenario
from lamina.testing.trees import assert_same_tree, differences, manifest
from lamina.testing.twin import viewed

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
    """A stack of layers of which the topmost is being worked on, beside a plain directory."""

    store: Store
    #: Where the plain directories are made.
    root: Path

    def __init__(self) -> None:
        super().__init__()
        self.flat = Path(tempfile.mkdtemp(dir=self.root))
        self.flat.chmod(0o755)
        self.work = f"work on {self.flat.name}"
        self.tree: Path | None = None
        #: The layers, lowest first, what each held when it was committed, and the layers that their archives made.
        self.layers: list[str] = []
        self.kept: list[Manifest] = []
        self.copies: list[str] = []

    @initialize(ground=st.sampled_from(list(GROUNDS)))
    def begin(self, ground: str) -> None:
        """Make the lowest layer and start to work on top of it."""
        self.start()
        for step in GROUNDS[ground]:
            self.do(step)
        if ground != "nothing":
            self.commit()

    @rule(step=STEPS)
    def do(self, step: Step) -> None:
        """Do a step that the plain directory takes in the layer too: it must work there."""
        assert self.tree
        if self.beyond(step):
            return
        try:
            step(self.flat)
        except OSError:
            return
        step(self.tree)

    @precondition(lambda self: len(self.layers) < 4)
    @rule()
    def commit(self) -> None:
        """End the layer: it is what was written, and its archive makes it again on a copy of its parent."""
        written = manifest(self.finish())
        self.store.mounts.unmount(self.work)
        name = f"{self.flat.name}-{len(self.layers)}"
        self.store.graph.commit(name, self.work)
        with viewed(self.store, name) as tree:
            assert differences(manifest(tree), written) == []
            self.check_archive(name, tree)
        self.layers.append(name)
        self.kept.append(written)
        self.start()

    @invariant()
    def same(self) -> None:
        """The layer shows what the plain directory holds."""
        if self.tree:
            assert_same_tree(self.tree, self.flat, mtimes=False)

    def teardown(self) -> None:
        """Look once more at every layer: nothing that came later may have touched it."""
        if self.tree is None:
            return
        self.finish()
        self.store.mounts.unmount(self.work)
        self.store.graph.remove(self.work)
        for name, written in zip(self.layers, self.kept, strict=True):
            with viewed(self.store, name) as tree:
                assert differences(manifest(tree), written) == [], f"{name} changed after it was committed"

    def start(self) -> None:
        """Mount a new snapshot on top of the last layer."""
        self.store.graph.prepare(self.work, self.layers[-1] if self.layers else "")
        self.tree = self.store.mounts.mount(self.work)

    def finish(self) -> Path:
        """Return the tree that was worked on, which is not to be looked at any more."""
        tree, self.tree = self.tree, None
        assert tree
        return tree

    def check_archive(self, name: str, tree: Path) -> None:
        """Require the archive of the layer to make it again, and the copy to have the same archive."""
        first, second = io.BytesIO(), io.BytesIO()
        self.store.layers.diff(name, first)
        copy = self.store.layers.apply(io.BytesIO(first.getvalue()), parent=self.copies[-1] if self.copies else "").key
        with viewed(self.store, copy) as again:
            assert differences(manifest(again), manifest(tree)) == []
        self.store.layers.diff(copy, second)
        assert second.getvalue() == first.getvalue()
        self.copies.append(copy)

    def beyond(self, step: Step) -> bool:
        """Whether only some drivers can take this step as a plain directory does; CP08 and CP09 are about those."""
        path = self.flat / str(step.arguments[0])
        can = self.store.driver.capabilities
        try:
            found = os.stat(path), os.lstat(path)
        except OSError:
            return False
        if step.verb == "rename" and stat.S_ISDIR(found[1].st_mode):
            return Capability.RENAME_DIRECTORY not in can
        linked = any(status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode) for status in found)
        return step.verb in IN_PLACE and linked and Capability.SHARED_HARD_LINKS not in can


class RandomizedContract(Contract):
    """Whatever is done in whatever layers, the stack is equal to a plain directory."""

    def test_RS01_random_layers_equal_a_plain_directory(self, store: Store, root: Path, pytestconfig: pytest.Config) -> None:
        explore = pytestconfig.getoption("--hypothesis-seed", None) is not None
        budget = settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            database=None,
            print_blob=explore,
            derandomize=not explore,
            phases=(Phase.generate, Phase.shrink) if explore else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        bound: type[Layering] = type("Layering", (Layering,), {"store": store, "root": root})

        run_state_machine_as_test(bound, settings=budget)
