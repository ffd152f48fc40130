"""RB: what holds when something is in use, happens at once, is repeated, or is cut short."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lamina.conformance.fixtures import Contract
from lamina.errors import (
    CommandFailedError,
    MountBusyError,
    SnapshotExistsError,
    SnapshotInUseError,
    SnapshotStateError,
    ToolMissingError,
)
from lamina.host.kernel import KernelHost
from lamina.testing import recipes
from lamina.testing.archives import archive, directory, file
from lamina.testing.scenario import mkdir, write
from lamina.testing.trees import differences, manifest
from lamina.testing.twin import make_layer, mounted, viewed

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from lamina.conformance.subject import Subject
    from lamina.store import Store

#: A number that no snapshot of a small store has.
STRANGER = 1_000_000

#: Processes are started afresh: forking one that has threads and open databases would test something else.
SPAWN = multiprocessing.get_context("spawn")


def try_to_prepare(root: Path, subject: Subject, number: int) -> bool:
    """In a process of its own: prepare the one key that everybody wants, and say whether it was us."""
    with Contract.open(root, subject) as store:
        try:
            store.graph.prepare("wanted", labels={"winner": str(number)})
        except SnapshotExistsError:
            return False
    return True


def apply_half(root: Path, subject: Subject, data: bytes, told: Connection) -> None:
    """In a process of its own: unpack the first half of a layer, say so, and wait for the end."""

    class Stalling(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= len(data) // 2:
                told.send("half way")
                signal.pause()
            return super().read(min(size or 0, 4096))

    with Contract.open(root, subject) as store:
        store.layers.apply(Stalling(data))


class RecoveryContract(Contract):
    """Nothing is lost, doubled, left behind, or removed through a mount."""

    # the driver alone: every method may be repeated

    def test_RB01_prepare_over_what_a_crash_left(self, store: Store, root: Path) -> None:
        place = root / "place"
        place.mkdir()
        for _ in range(2):
            store.driver.prepare(STRANGER, ())
            KernelHost().mount(store.driver.mounts(STRANGER, (), writable=True), place)
            try:
                assert [name for name in os.listdir(place) if name != "lost+found"] == []
                (place / "left by a crash").touch()
            finally:
                KernelHost().unmount(place)

        store.driver.remove(STRANGER)
        assert list(store.driver.objects()) == []

    def test_RB02_remove_what_is_not_there(self, store: Store) -> None:
        store.driver.remove(STRANGER)
        store.driver.prepare(STRANGER, ())
        store.driver.remove(STRANGER)
        store.driver.remove(STRANGER)

        assert list(store.driver.objects()) == []

    def test_RB03_objects_are_what_the_records_say(self, store: Store) -> None:
        make_layer(store, "base", recipes.BASE)
        make_layer(store, "next", [write("f", "x")], parent="base")
        store.graph.prepare("active", "next")

        recorded = {store.graph.stat(key).id for key in ("base", "next", "active")}

        assert {thing.id for thing in store.driver.objects()} == recorded
        assert store.check() == []

    def test_RB04_commit_twice(self, store: Store) -> None:
        layer = make_layer(store, "base", recipes.BASE)
        with viewed(store, "base") as tree:
            before = manifest(tree)

        store.driver.commit(layer.id, (), durable=True)

        with viewed(store, "base") as tree:
            assert differences(manifest(tree), before) == []

    def test_RB05_an_object_without_a_record_is_found_and_removed(self, store: Store) -> None:
        make_layer(store, "base", recipes.BASE)
        store.driver.prepare(STRANGER, ())

        (finding,) = store.check()
        store.repair()

        assert finding.mendable
        assert store.check() == []
        assert [thing.id for thing in store.driver.objects()] == [store.graph.stat("base").id]

    # in use

    def test_RB06_what_is_mounted_is_not_removed(self, store: Store) -> None:
        store.graph.prepare("work")
        with mounted(store, "work") as tree:
            write("f", "precious")(tree)
            with pytest.raises(SnapshotInUseError, match="mount"):
                store.graph.remove("work")
            assert (tree / "f").read_text() == "precious"

        store.graph.remove("work")
        assert list(store.driver.objects()) == []

    def test_RB06b_a_layer_is_not_removed_under_a_view(self, store: Store) -> None:
        make_layer(store, "base", [write("f", "precious")])
        with viewed(store, "base") as tree:
            with pytest.raises(SnapshotInUseError, match="view of base"):
                store.graph.remove("base")
            assert (tree / "f").read_text() == "precious"

    def test_RB07_a_busy_mount_is_not_unmounted(self, store: Store) -> None:
        store.graph.prepare("work")
        with mounted(store, "work") as tree:
            with (tree / "open").open("w") as file, pytest.raises(MountBusyError):
                store.mounts.unmount("work")
                file.write("still there")
            assert store.mounts.mounted("work") == (tree,)

        assert store.mounts.mounted("work") == ()

    def test_RB08_a_mount_is_known_to_whoever_opens_the_store(self, store: Store, subject: Subject, root: Path) -> None:
        store.graph.prepare("work")
        target = store.mounts.mount("work")
        store.close()

        with self.open(root, subject) as reopened:
            assert reopened.mounts.mounted("work") == (target,)
            assert reopened.mounts.mount("work") == target
            reopened.mounts.unmount("work")
            assert reopened.mounts.mounted("work") == ()
            with pytest.raises(SnapshotStateError, match="not mounted"):
                reopened.mounts.unmount("work")

    # at once

    def test_RB09_of_many_threads_one_gets_the_key(self, store: Store) -> None:
        def attempt(_: int) -> bool:
            try:
                store.graph.prepare("wanted")
            except SnapshotExistsError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = sum(pool.map(attempt, range(8)))

        assert won == 1
        assert len(list(store.driver.objects())) == 1

    def test_RB09b_of_several_processes_one_gets_the_key(self, store: Store, subject: Subject, root: Path) -> None:
        with ProcessPoolExecutor(3, mp_context=SPAWN) as pool:
            won = [job.result() for job in [pool.submit(try_to_prepare, root, subject, number) for number in range(3)]]

        assert won.count(True) == 1
        assert store.graph.stat("wanted").labels == {"winner": str(won.index(True))}
        assert store.check() == []

    def test_RB09c_making_and_removing_at_once(self, store: Store) -> None:
        make_layer(store, "base", recipes.BASE)

        def churn(number: int) -> None:
            for turn in range(8):
                make_layer(store, f"{number}-{turn}", [write(f"of-{number}", "x")], parent="base")
                store.graph.remove(f"{number}-{turn}")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(churn, range(4)))

        assert [snapshot.key for snapshot in store.graph.walk()] == ["base"]
        assert store.check() == []

    # cut short

    def test_RB10_a_killed_process_leaves_nothing_half_made(self, store: Store, subject: Subject, root: Path) -> None:
        data = archive([directory("d"), *(file(f"d/{number}", bytes(4096)) for number in range(200))])
        listening, told = SPAWN.Pipe(duplex=False)
        process = SPAWN.Process(target=apply_half, args=(root, subject, data, told))
        process.start()
        told.close()
        try:
            assert listening.recv() == "half way"
            assert store.layers.list() == ()
        finally:
            process.kill()
            process.join()
            listening.close()
        store.close()

        with self.open(root, subject) as reopened:
            assert reopened.layers.list() == ()
            assert list(reopened.driver.objects()) == []
            assert reopened.check() == []
            layer = reopened.layers.apply(io.BytesIO(data))
            with viewed(reopened, layer.key) as tree:
                assert len(list((tree / "d").iterdir())) == 200

    def test_RB14_an_immutable_file_does_not_keep_its_layer(self, store: Store) -> None:
        store.graph.prepare("work")
        with mounted(store, "work") as tree:
            mkdir("d")(tree)
            write("d/f", "x")(tree)
            try:
                KernelHost().run(["chattr", "+i", f"{tree}/d/f"])
            except (CommandFailedError, ToolMissingError) as error:
                pytest.skip(f"no immutable files here: {error}")

        store.graph.remove("work")

        assert list(store.driver.objects()) == []

    def test_RB20_an_exception_takes_the_fork_with_it(self, store: Store) -> None:
        make_layer(store, "base", [write("f", "x")])

        with contextlib.suppress(RuntimeError), store.fork("base") as work:
            write("f", "changed")(work.path)
            raise RuntimeError("the user's own")

        assert [snapshot.key for snapshot in store.graph.walk()] == ["base"]
        assert len(list(store.driver.objects())) == 1
        with viewed(store, "base") as tree:
            assert (tree / "f").read_text() == "x"
