from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.errors import (
    ContainerExistsError,
    ContainerNotFoundError,
    ContainerStateError,
    ImageExistsError,
    ImageNotFoundError,
    InvalidReferenceError,
    ManifestError,
    MountBusyError,
    UnrepresentableError,
)
from lamina.model import Change, ChangeKind
from tests.unit.image.build import layout, sha256, tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina import Store
    from lamina.image.image import Image

pytestmark = pytest.mark.root

LOWER = tar(("etc/", b""), ("etc/motd", b"hello"), ("gone", b""))
UPPER = tar(("added", b"1"))


@pytest.fixture(params=["vfs", "overlay"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store with an image of two layers, ``debian``."""
    with lamina.open(tmp_path / "store", driver=request.param) as opened:
        opened.images.load(f"oci:{layout(LOWER, UPPER).directory(tmp_path / 'source')}", name="debian")
        yield opened
        assert opened.check(deep=True) == []


def change(store: Store, name: str) -> None:
    path = store.containers.mount(name)
    (path / "etc/motd").write_bytes(b"changed")
    (path / "gone").unlink()
    (path / "new").mkdir()
    store.containers.unmount(name)


def content(store: Store, image: Image) -> dict[str, bytes]:
    with store.fork(image.digest) as work:
        return {str(path.relative_to(work.path)): path.read_bytes() for path in work.path.rglob("*") if path.is_file()}


def test_a_container_is_made_from_an_image(store: Store) -> None:
    image = store.images.get("debian")

    made = store.containers.create("debian")

    assert (made.image, made.image_name) == (image.digest, "debian")
    assert made.name == made.id[:12]
    assert made.snapshot == f"container/{made.id}"
    assert store.graph.stat(made.snapshot).parent == image.layer
    assert store.containers.list() == (made,)


@pytest.mark.parametrize("name", ["", "Web_1.x-y", "0"])
def test_a_container_is_found_by_name_and_by_the_beginning_of_its_id(store: Store, name: str) -> None:
    made = store.containers.create("debian", name=name)

    for text in (made.name, made.id, made.id[:12], made.id[:4]):
        assert store.containers.get(text) == made


def test_what_no_container_is_called_is_not_found(store: Store) -> None:
    made = store.containers.create("debian", name="web")

    for text in ("other", made.id[:3], "", "we", made.id + "0"):
        with pytest.raises(ContainerNotFoundError, match="lamina container list"):
            store.containers.get(text)


def test_names_of_containers_are_unique(store: Store) -> None:
    store.containers.create("debian", name="web")

    with pytest.raises(ContainerExistsError, match="choose another --name"):
        store.containers.create("debian", name="web")

    assert [snapshot.key for snapshot in store.graph.walk("kind==active")] == [store.containers.get("web").snapshot]


@pytest.mark.parametrize("name", ["../x", "a/b", "-a", ".a", "a b", "a" * 129, "a\n", "\u00e4"])
def test_r13_a_container_has_a_name_that_could_be_a_file_name(store: Store, name: str) -> None:
    with pytest.raises(InvalidReferenceError):
        store.containers.create("debian", name=name)


def test_a_container_is_made_of_images_only(store: Store) -> None:
    store.graph.prepare("draft")
    store.graph.commit("layer", "draft")

    with pytest.raises(ImageNotFoundError):
        store.containers.create("layer")

    assert store.containers.list() == ()


def test_only_the_container_itself_changes(store: Store) -> None:
    store.containers.create("debian", name="one")
    store.containers.create("debian", name="two")

    change(store, "one")

    assert list(store.containers.changes("one")) == [
        Change(b".", ChangeKind.MODIFIED),  # the time of the root
        Change(b"etc/motd", ChangeKind.MODIFIED),
        Change(b"gone", ChangeKind.DELETED),
        Change(b"new", ChangeKind.ADDED),
    ]
    assert list(store.containers.changes("two")) == []
    assert content(store, store.images.get("debian")) == {"etc/motd": b"hello", "gone": b"", "added": b"1"}


def test_a_container_is_mounted_where_asked_and_shows_it(store: Store, tmp_path: Path) -> None:
    store.containers.create("debian", name="web")
    (tmp_path / "here").mkdir()

    place = store.containers.mount("web", tmp_path / "here")

    assert place == tmp_path / "here"
    assert store.containers.get("web").mounted_at == (place,)
    assert (place / "etc/motd").read_bytes() == b"hello"
    store.containers.unmount("web")
    assert store.containers.get("web").mounted_at == ()
    with pytest.raises(ContainerStateError, match="not mounted"):
        store.containers.unmount("web")


def test_a_diff_is_the_layer_that_a_commit_adds(store: Store) -> None:
    store.containers.create("debian", name="web")
    change(store, "web")
    sink = io.BytesIO()

    diff = store.containers.diff("web", sink)
    image = store.containers.commit("web", "mine")

    assert diff.diff_id == sha256(sink.getvalue()) == image.layers[-1].diff_id


def test_a_commit_shares_all_layers_and_settings_and_keeps_the_container(store: Store) -> None:
    base = store.images.get("debian")
    container = store.containers.create("debian", name="web")
    change(store, "web")

    image = store.containers.commit("web", "mine:1", message="why", author="me", changes={"Cmd": ["run"], "Env": ["A=1"]})

    assert image.names == ("mine:1",)
    assert image.layers[:-1] == base.layers
    assert image.config.cmd == ("run",)
    assert image.config.env == ("PATH=/bin", "A=1")
    assert image.config.labels == base.config.labels
    assert image.config.history[:-1] == base.config.history
    last = image.config.history[-1]
    assert (last.created_by, last.comment, last.author, last.empty_layer) == ("lamina container commit", "why", "me", False)
    assert content(store, image) == {"etc/motd": b"changed", "added": b"1"}
    assert store.containers.get("web") == container
    assert Change(b"gone", ChangeKind.DELETED) in store.containers.changes("web")


def test_a_commit_of_a_mounted_container_works(store: Store) -> None:
    store.containers.create("debian", name="web")
    (store.containers.mount("web") / "new").write_bytes(b"x")

    image = store.containers.commit("web", "mine")

    assert content(store, image)["new"] == b"x"
    store.containers.unmount("web")


def test_a_commit_without_changes_adds_no_layer(store: Store) -> None:
    store.containers.create("debian", name="web")

    image = store.containers.commit("web", "mine", changes={"User": "me"})

    assert image.layers == store.images.get("debian").layers
    assert image.config.history[-1].empty_layer
    assert image.config.user == "me"


def test_committing_over_a_name_is_an_error_and_changes_nothing(store: Store) -> None:
    store.containers.create("debian", name="web")
    change(store, "web")
    before = store.images.list()

    with pytest.raises(ImageExistsError, match="'debian:latest' exists already: choose another name, or remove it first"):
        store.containers.commit("web", "debian")

    assert store.images.list() == before
    assert len(store.layers.list()) == 2


def test_a_commit_with_settings_that_cannot_be_changes_nothing(store: Store) -> None:
    store.containers.create("debian", name="web")
    change(store, "web")

    with pytest.raises(ManifestError, match="'Env'"):
        store.containers.commit("web", "mine", changes={"Env": "A=1"})

    assert store.images.find("mine") is None
    assert len(store.layers.list()) == 2


def test_a_commit_of_what_no_layer_can_express_changes_nothing(store: Store) -> None:
    store.containers.create("debian", name="web")
    (store.containers.mount("web") / ".wh.x").touch()
    store.containers.unmount("web")

    with pytest.raises(UnrepresentableError):
        store.containers.commit("web", "mine")

    assert store.images.find("mine") is None


def test_a_commit_of_a_commit_stacks(store: Store) -> None:
    store.containers.create("debian", name="one")
    change(store, "one")
    store.containers.commit("one", "first")
    store.containers.create("first", name="two")
    (store.containers.mount("two") / "more").write_bytes(b"2")
    store.containers.unmount("two")

    image = store.containers.commit("two", "second")

    assert len(image.layers) == 4
    assert content(store, image) == {"etc/motd": b"changed", "added": b"1", "more": b"2"}


def test_a_container_goes_with_what_was_written_and_its_image_stays(store: Store) -> None:
    container = store.containers.create("debian", name="web")
    change(store, "web")

    store.containers.remove(container.id)

    assert store.containers.list() == ()
    assert not store.graph.exists(container.snapshot)
    assert len(store.images.list()) == 1
    store.containers.create("debian", name="web")


def test_a_mounted_container_is_not_removed_unless_forced(store: Store) -> None:
    store.containers.create("debian", name="web")
    place = store.containers.mount("web")

    with pytest.raises(ContainerStateError, match=f"mounted at {place}: unmount it first, or use --force"):
        store.containers.remove("web")
    assert store.containers.get("web").mounted_at == (place,)

    store.containers.remove("web", force=True)
    assert not place.exists()


def test_a_container_in_use_is_not_removed_even_by_force(store: Store) -> None:
    store.containers.create("debian", name="web")
    held = os.open(store.containers.mount("web"), os.O_RDONLY)

    try:
        with pytest.raises(MountBusyError):
            store.containers.remove("web", force=True)
    finally:
        os.close(held)

    assert store.containers.get("web").mounted_at
    store.containers.unmount("web")


def test_an_image_of_a_fork_inherits_and_one_of_nothing_does_not(store: Store) -> None:
    with store.fork("debian") as work:
        (work.path / "new").touch()
        work.commit("forked")
    with store.fork() as work:
        (work.path / "first").touch()
        work.commit("scratch")

    assert store.images.get("forked").config.cmd == ("sh",)
    assert len(store.images.get("forked").layers) == 3
    assert store.images.get("scratch").config.cmd == ()
    assert content(store, store.images.get("scratch")) == {"first": b""}


def test_an_image_can_stand_on_layers_that_came_without_one(store: Store, tmp_path: Path) -> None:
    store.graph.prepare("draft")
    (store.mounts.mount("draft") / "base").write_bytes(b"0")
    store.mounts.unmount("draft")
    store.graph.commit("mine", "draft")

    with store.fork("mine") as work:
        (work.path / "top").write_bytes(b"1")
        work.commit("made")

    image = store.images.get("made")
    assert content(store, image) == {"base": b"0", "top": b"1"}
    store.images.save("made", f"oci:{tmp_path / 'out'}")
    with lamina.open(tmp_path / "other", driver="vfs") as other:
        assert content(other, other.images.load(f"oci:{tmp_path / 'out'}")[0]) == {"base": b"0", "top": b"1"}
    store.images.remove("made")
    assert store.graph.exists("mine")
