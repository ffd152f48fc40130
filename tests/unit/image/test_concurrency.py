"""Several threads and processes at work on the same images."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.errors import ImageExistsError, ImageNotFoundError, LaminaError
from lamina.image.clearing import Collected
from tests.unit.image.build import layout, tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.slow]

LAYERS = [tar((f"file{number}", os.urandom(200_000))) for number in range(4)]


def together(*actions: Callable[[], object]) -> list[BaseException]:
    """Run all at once, each in a thread; return what they raised."""
    raised: list[BaseException] = []
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        barrier.wait()
        try:
            action()
        except BaseException as error:  # noqa: BLE001  handed to the caller
            raised.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_the_same_image_loaded_by_many_at_once_is_stored_once(tmp_path: Path) -> None:
    source = f"oci:{layout(*LAYERS).directory(tmp_path / 'source')}"
    with lamina.open(tmp_path / "store", driver="vfs") as store:
        raised = together(*[lambda name=name: store.images.load(source, name=name) for name in ("a", "b", "c", "d")])

        assert raised == []
        (image,) = store.images.list()
        assert image.names == ("a:latest", "b:latest", "c:latest", "d:latest")
        assert len(store.layers.list()) == len(LAYERS)
        assert store.check(deep=True) == []
        assert store.gc() == Collected()


def test_one_name_goes_to_one_image(tmp_path: Path) -> None:
    sources = [f"oci:{layout(LAYERS[0], layer).directory(tmp_path / str(number))}" for number, layer in enumerate(LAYERS[1:])]
    with lamina.open(tmp_path / "store", driver="vfs") as store:
        raised = together(*[lambda source=source: store.images.load(source, name="x") for source in sources])

        assert [type(error) for error in raised] == [ImageExistsError] * 2
        (image,) = store.images.list()
        assert len(store.layers.list()) == len(image.layers)
        assert store.check(deep=True) == []
        assert store.gc() == Collected()


def test_a_layout_keeps_every_image_that_is_saved_to_it_at_once(tmp_path: Path) -> None:
    with lamina.open(tmp_path / "store", driver="vfs") as store:
        for number, layer in enumerate(LAYERS):
            store.images.load(f"oci:{layout(layer).directory(tmp_path / str(number))}", name=f"x:{number}")

        raised = together(*[lambda n=n: store.images.save(f"x:{n}", f"oci:{tmp_path / 'out'}") for n in range(len(LAYERS))])

        assert raised == []
    with lamina.open(tmp_path / "other", driver="vfs") as other:
        assert len(other.images.load(f"oci:{tmp_path / 'out'}")) == len(LAYERS)


def test_loading_removing_and_collecting_in_several_processes_agree(tmp_path: Path) -> None:
    root = tmp_path / "store"
    sources = [f"oci:{layout(*LAYERS[: number + 1]).directory(tmp_path / str(number))}" for number in range(len(LAYERS))]
    lamina.open(root, driver="vfs").close()
    seed = random.randrange(2**32)
    children = []
    for worker in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = work(root, sources, random.Random(seed + worker))
            finally:
                os._exit(code)
        children.append(child)

    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    assert codes == [0, 0, 0], f"seed {seed}"
    with lamina.open(root) as store:
        assert store.check(deep=True) == []
        for image in store.images.list():
            with store.fork(image.digest) as mounted:
                assert len(list(mounted.path.iterdir())) == len(image.layers)
        for image in store.images.list():
            for name in image.names:
                store.images.remove(name)
        store.gc()
        assert store.layers.list() == ()
        assert list((root / "blobs" / "sha256").iterdir()) == []


def work(root: Path, sources: list[str], chance: random.Random) -> int:
    """Do this and that for a while; only what the others' work explains may fail."""
    end = time.monotonic() + 3
    with lamina.open(root) as store:
        while time.monotonic() < end:
            number = chance.randrange(len(sources))
            try:
                match chance.randrange(4):
                    case 0 | 1:
                        store.images.load(sources[number], name=f"x:{number}")
                    case 2:
                        store.images.remove(f"x:{number}")
                    case _:
                        store.gc()
            except ImageNotFoundError:
                pass
            except LaminaError as error:
                print(f"{type(error).__name__}: {error}")
                return 2
    return 0
