"""A process that is killed in the middle of work on images leaves the state before or after it, and nothing else."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.graph import LayerGraph
from lamina.image.blobs import Blobs, Staged
from lamina.image.clearing import Clearing, Collected
from lamina.image.shelf import Ingest
from lamina.layers import Layers
from tests.unit.image.build import layout, tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamina import Store

    Action = Callable[[Store, Path], object]

pytestmark = [pytest.mark.root, pytest.mark.slow]

LOWER = tar(("etc/", b""), ("etc/motd", b"hello"))
UPPER = tar(("added", b"1"))


def load(store: Store, path: Path) -> None:
    store.images.load(f"oci:{path / 'source'}", name="new")


def import_directory(store: Store, path: Path) -> None:
    store.images.import_tree(path / "source" / "blobs", "new")


def commit(store: Store, path: Path) -> None:
    store.containers.commit("web", "new")


def remove(store: Store, path: Path) -> None:
    store.images.remove("other")


def create(store: Store, path: Path) -> None:
    store.containers.create("debian", name="new")


def remove_container(store: Store, path: Path) -> None:
    store.containers.remove("web")


def collect(store: Store, path: Path) -> None:
    store.images.tag("debian", "other")
    store.gc()


def save(store: Store, path: Path) -> None:
    store.images.save("debian", f"oci:{path / 'saved' / 'layout'}:1")
    store.images.save("debian", f"docker-archive:{path / 'saved' / 'archive'}")


#: Where each operation is killed: the method, and at which of its calls.
MOMENTS: list[tuple[Action, type, str, int]] = [
    (load, Staged, "copy", 1),
    (load, Staged, "copy", 2),
    (load, Blobs, "keep", 1),
    (load, Blobs, "keep", 2),
    (load, Blobs, "keep", 4),
    (load, Layers, "apply", 1),
    (load, Layers, "apply", 2),
    (load, LayerGraph, "publish", 2),
    (load, Ingest, "lease", 1),
    (load, Ingest, "publish", 1),
    (import_directory, Blobs, "keep", 1),
    (import_directory, Layers, "apply", 1),
    (import_directory, Blobs, "keep", 3),
    (commit, Layers, "diff", 1),
    (commit, Blobs, "keep", 1),
    (commit, Layers, "apply", 1),
    (commit, Ingest, "publish", 1),
    (remove, Clearing, "forget", 1),
    (remove, Clearing, "take_back", 1),
    (remove, Blobs, "remove", 1),
    (remove, Blobs, "remove", 2),
    (remove, LayerGraph, "remove", 1),
    (remove, LayerGraph, "finish_removal", 1),
    (create, LayerGraph, "begin", 1),
    (create, LayerGraph, "show", 1),
    (remove_container, LayerGraph, "finish", 1),
    (remove_container, LayerGraph, "finish_removal", 1),
    (collect, Blobs, "remove", 1),
    (collect, Clearing, "take_back", 1),
    (collect, LayerGraph, "remove", 1),
    (save, Staged, "copy", 1),
    (save, Staged, "move", 1),
    (save, Staged, "move", 3),
    (save, Staged, "move", 4),
    (save, Staged, "move", 5),
]


def killed(root: Path, action: Action, kind: type, method: str, call: int, when: str) -> None:
    """Run ``action`` in another process, which is killed before or after that call did its work."""
    child = os.fork()
    if child == 0:
        try:
            calls = 0
            original = getattr(kind, method)

            def dying(*args: object, **kwargs: object) -> object:
                nonlocal calls
                calls += 1
                if calls == call and when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                result = original(*args, **kwargs)
                if calls == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            with lamina.open(root / "store") as store:
                setattr(kind, method, dying)
                action(store, root)
        finally:
            os._exit(1)  # reached only if there was no such call
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "that call is never made"


def state(store: Store) -> tuple[object, ...]:
    images = {name: image.digest for image in store.images.list() for name in image.names if name != "new:latest"}
    return images, [container.name for container in store.containers.list() if container.name != "new"]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A store with two images, ``debian`` and ``other``, and a changed container of the first, ``web``; a layout to load."""
    layout(LOWER, UPPER, tar(("third", b""))).directory(tmp_path / "source")
    (tmp_path / "saved").mkdir()
    with lamina.open(tmp_path / "store", driver="vfs") as store:
        store.images.load(f"oci:{layout(LOWER).directory(tmp_path / 'debian')}", name="debian")
        store.images.load(f"oci:{layout(LOWER, tar(('x', b''))).directory(tmp_path / 'other')}", name="other")
        store.containers.create("debian", name="web")
        (store.containers.mount("web") / "new").write_bytes(b"x")
        store.containers.unmount("web")
    return tmp_path


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("action", "kind", "method", "call"),
    [pytest.param(*moment, id=f"{moment[0].__name__}-{moment[1].__name__}.{moment[2]}-{moment[3]}") for moment in MOMENTS],
)
def test_what_was_cut_short_happened_or_not(world: Path, action: Action, kind: type, method: str, call: int, when: str) -> None:
    with lamina.open(world / "store") as store:
        before = state(store)
        action(store, world)
        after = state(store)
    with lamina.open(world / "store") as store:
        undo(store, world, action)
        assert state(store) == before

    killed(world, action, kind, method, call, when)

    with lamina.open(world / "store") as store:
        assert state(store) in (before, after)
        assert store.check(deep=True) == []
        assert list((world / "store" / "staging").iterdir()) == []
        assert [path.name for path in (world / "saved").rglob(".lamina-*")] == []
        assert action is collect or store.gc() == Collected()
        if state(store) == before and not (store.images.find("new") or "new" in [one.name for one in store.containers.list()]):
            action(store, world)
        assert state(store) == after
        assert store.check(deep=True) == []


def undo(store: Store, path: Path, action: Action) -> None:
    """Bring the world back to where it was."""
    if action in (load, import_directory, commit):
        store.images.remove("new")
    elif action in (remove, collect):
        if store.images.find("other"):
            store.images.tag("debian", "old")
            store.images.remove("other")
            store.images.remove("old")
        store.images.load(f"oci:{path / 'other'}", name="other")
    elif action is create:
        store.containers.remove("new")
    elif action is remove_container:
        store.containers.create("debian", name="web")
        (store.containers.mount("web") / "new").write_bytes(b"x")
        store.containers.unmount("web")
    else:
        for name in ("layout", "archive"):
            os.rename(path / "saved" / name, path / f"old-{name}")
