from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from lamina.errors import (
    ArchiveError,
    DigestMismatchError,
    ImageError,
    ImageExistsError,
    ImageNotFoundError,
    LaminaError,
    MalformedArchiveError,
    ManifestError,
)
from lamina.image.progress import LayerState
from tests.unit.image.build import LAYER, MANIFEST, Layout, docker_archive, gz, layout, sha256, tar

if TYPE_CHECKING:
    from pathlib import Path

    from lamina import Store
    from lamina.image.image import Image

pytestmark = pytest.mark.root

LOWER = tar(("etc/", b""), ("etc/motd", b"hello"), ("gone", b""))
UPPER = tar(("etc/", b""), ("etc/motd", b"changed"), (".wh.gone", b""), ("added", b"1"))


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.states: dict[str, list[LayerState]] = {}
        self.sizes: Counter[str] = Counter()
        self.read: Counter[str] = Counter()

    def layer(self, digest: str, size: int, state: LayerState) -> None:
        self.states.setdefault(digest, []).append(state)
        self.sizes[digest] = size

    def advance(self, digest: str, size: int) -> None:
        self.read[digest] += size


def tree(store: Store, image: Image) -> dict[str, bytes]:
    with store.fork(image.digest) as work:
        return {str(path.relative_to(work.path)): path.read_bytes() for path in sorted(work.path.rglob("*")) if path.is_file()}


def nothing_in(store: Store) -> bool:
    return not (store.images.list() or store.layers.list() or list((store.root / "blobs").rglob("sha256/*")))


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("form", ["directory", "archive", "archive of ./", "compressed archive"])
def test_a_layout_in_any_form_becomes_an_image(store: Store, tmp_path: Path, form: str, compress: bool) -> None:  # noqa: FBT001  a table
    made = layout(LOWER, UPPER, tag="debian:12", compress=compress)
    if form == "directory":
        source = f"oci:{made.directory(tmp_path / 'x')}"
    else:
        path = made.archive(tmp_path / "x.tar", prefix="./" if "./" in form else "")
        source = f"oci-archive:{path}"
        if form == "compressed archive":
            path.write_bytes(gz(path.read_bytes()))

    (image,) = store.images.load(source)

    assert image.names == ("debian:12",)
    assert image.digest == made.entries[0]["digest"]
    assert [layer.diff_id for layer in image.layers] == [sha256(LOWER), sha256(UPPER)]
    assert image.layer == image.layers[-1].chain_id
    assert image.config.cmd == ("sh",)
    assert image.config.labels == {"made": "by hand"}
    assert tree(store, image) == {"added": b"1", "etc/motd": b"changed"}


@pytest.mark.parametrize("old", [True, False])
def test_a_docker_archive_becomes_an_image_with_its_config(store: Store, tmp_path: Path, old: bool) -> None:  # noqa: FBT001  both forms
    path = docker_archive(tmp_path / "x.tar", (["debian:12", "debian:latest"], [LOWER, UPPER]), old=old)

    (image,) = store.images.load(f"docker-archive:{path}")

    assert image.names == ("debian:12", "debian:latest")
    assert image.media_type == MANIFEST
    assert [layer.media_type for layer in image.layers] == [LAYER, LAYER]
    assert tree(store, image) == {"added": b"1", "etc/motd": b"changed"}


def test_compressed_layers_of_a_docker_archive_are_known_for_what_they_are(store: Store, tmp_path: Path) -> None:
    config = json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [sha256(LOWER)]}}
    ).encode()
    item = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l"]}]
    path = tmp_path / "x.tar"
    path.write_bytes(tar(("manifest.json", json.dumps(item).encode()), ("c.json", config), ("l", gz(LOWER))))

    (image,) = store.images.load(f"docker-archive:{path}")

    assert [(layer.digest, layer.media_type) for layer in image.layers] == [(sha256(gz(LOWER)), f"{LAYER}+gzip")]


def test_all_images_of_a_place_are_loaded(store: Store, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "x.tar", (["a:1"], [LOWER]), (["b:1"], [LOWER, UPPER]))

    images = store.images.load(f"docker-archive:{path}")

    assert [image.names for image in images] == [("a:1",), ("b:1",)]
    assert len(store.layers.list()) == 2


def test_the_same_layer_twice_in_one_image_is_stored_once(store: Store, tmp_path: Path) -> None:
    made = layout(LOWER, UPPER, LOWER)

    (image,) = store.images.load(f"oci:{made.directory(tmp_path / 'x')}")

    assert tree(store, image) == {"added": b"1", "etc/motd": b"hello", "gone": b""}
    assert len(image.layers) == 3


def test_an_image_without_layers_is_an_image(store: Store, tmp_path: Path) -> None:
    (image,) = store.images.load(f"oci:{layout().directory(tmp_path / 'x')}", name="scratch")

    assert (image.layers, image.layer) == ((), "")
    assert tree(store, image) == {}


def test_an_empty_blob_is_an_empty_layer(store: Store, tmp_path: Path) -> None:
    (image,) = store.images.load(f"oci:{layout(LOWER, b'', compress=False).directory(tmp_path / 'x')}")

    assert tree(store, image) == {"etc/motd": b"hello", "gone": b""}


def test_shared_layers_are_stored_and_unpacked_once(store: Store, tmp_path: Path) -> None:
    store.images.load(f"oci:{layout(LOWER).directory(tmp_path / 'a')}")
    told = Told()

    (image,) = store.images.load(f"oci:{layout(LOWER, UPPER).directory(tmp_path / 'b')}", progress=told)

    lower, upper = image.layers
    assert told.states[lower.digest] == [LayerState.WAITING, LayerState.HERE, LayerState.DONE]
    assert told.states[upper.digest] == [LayerState.WAITING, LayerState.UNPACKING, LayerState.DONE]
    assert told.read == {upper.digest: upper.size}
    assert len(store.layers.list()) == 2
    assert len(list((store.root / "blobs").rglob("sha256/*"))) == 2 + 2 + 2  # two layers, configs, manifests


def test_a_layer_that_is_there_under_another_compression_is_read_and_not_unpacked(store: Store, tmp_path: Path) -> None:
    store.images.load(f"oci:{layout(LOWER).directory(tmp_path / 'a')}")
    told = Told()

    (image,) = store.images.load(f"oci:{layout(LOWER, compress=False).directory(tmp_path / 'b')}", progress=told)

    assert told.states[image.layers[0].digest] == [LayerState.WAITING, LayerState.READING, LayerState.DONE]
    assert told.read == {image.layers[0].digest: len(LOWER)}


def test_loading_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    source = f"oci:{layout(LOWER, UPPER).directory(tmp_path / 'x')}"

    assert store.images.load(source) == store.images.load(source)


def test_a_given_name_replaces_that_of_the_place(store: Store, tmp_path: Path) -> None:
    (image,) = store.images.load(f"oci:{layout(LOWER, tag='evil/debian:12').directory(tmp_path / 'x')}", name="mine")

    assert image.names == ("mine:latest",)


def test_j15_a_name_of_another_image_is_not_taken_over(store: Store, tmp_path: Path) -> None:
    (first,) = store.images.load(f"oci:{layout(LOWER, tag='debian:12').directory(tmp_path / 'a')}")

    with pytest.raises(ImageExistsError, match="'debian:12' exists already"):
        store.images.load(f"oci:{layout(UPPER, tag='debian:12').directory(tmp_path / 'b')}")
    with pytest.raises(ImageExistsError):
        store.images.load(f"oci:{layout(UPPER).directory(tmp_path / 'c')}", name="debian:12")
    with pytest.raises(ImageExistsError):
        store.images.load(f"docker-archive:{docker_archive(tmp_path / 'd', (['debian:12'], [UPPER]))}")

    assert store.images.list() == (first,)
    assert len(store.layers.list()) == 1


def test_one_name_does_not_fit_several_images(store: Store, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "x.tar", (["a:1"], [LOWER]), (["b:1"], [UPPER]))

    with pytest.raises(ImageError, match=r"holds 2 images.*choose from a:1, b:1"):
        store.images.load(f"docker-archive:{path}", name="c")

    assert nothing_in(store)
    assert store.images.load(f"docker-archive:{path}:b:1", name="c")[0].names == ("c:latest",)


def test_an_image_without_any_name_needs_one(store: Store, tmp_path: Path) -> None:
    path = layout(LOWER, tag="").directory(tmp_path / "No Name")

    with pytest.raises(ImageError, match="--tag"):
        store.images.load(f"oci:{path}")

    assert store.images.load(f"oci:{path}", name="x")[0].names == ("x:latest",)


def test_what_is_not_there_is_not_loaded(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError):
        store.images.load(f"oci:{layout(LOWER).directory(tmp_path / 'x')}:other")
    with pytest.raises(ManifestError):
        store.images.load(f"oci-archive:{tmp_path / 'nothing'}")

    assert nothing_in(store)


def broken(path: Path, kind: str) -> str:
    """Return a source with two layers, the second of which is broken."""
    made = Layout()
    good, bad = gz(LOWER), gz(UPPER)
    diff_ids = [sha256(LOWER), sha256(UPPER)]
    if kind == "J6-other-bytes":
        bad = gz(LOWER)
    if kind == "J8-other-diff-id":
        diff_ids[1] = sha256(b"other")
    layers = [made.blob(good, f"{LAYER}+gzip"), made.blob(bad, f"{LAYER}+gzip")]
    if kind.startswith("J7"):
        layers[1]["size"] = len(bad) + {"J7-size-too-small": -1, "J7-size-too-large": 1, "J7-size-zero": -len(bad)}[kind]
    if kind == "J7-two-sizes":
        layers = [layers[0], {**layers[0], "size": 7}]
    if kind == "no-tar":
        layers[1] = made.blob(b"this is no tar" * 100, LAYER)
    if kind == "truncated":
        layers[1] = made.blob(gz(UPPER)[:-9], f"{LAYER}+gzip")
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = {
        "schemaVersion": 2,
        "config": made.blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": layers,
    }
    made.tag(made.blob(json.dumps(manifest).encode(), MANIFEST), "1")
    name = f"blobs/sha256/{str(layers[1]['digest'])[7:]}"
    if kind == "J6-other-bytes":
        made.files[name] = gz(UPPER)[:-1] + b"x"
    if kind == "missing":
        del made.files[name]
    if kind == "flipped-bit":
        made.files[name] = made.files[name][:-10] + bytes([made.files[name][-10] ^ 1]) + made.files[name][-9:]
    return f"oci:{made.directory(path)}"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("J6-other-bytes", ArchiveError),
        ("J7-size-too-small", DigestMismatchError),
        ("J7-size-too-large", DigestMismatchError),
        ("J7-size-zero", DigestMismatchError),
        ("J8-other-diff-id", DigestMismatchError),
        ("no-tar", MalformedArchiveError),
        ("truncated", MalformedArchiveError),
        ("flipped-bit", ArchiveError),
        ("missing", ManifestError),
    ],
)
def test_a_broken_layer_leaves_nothing_and_what_was_there_stays(
    store: Store, tmp_path: Path, kind: str, error: type[LaminaError]
) -> None:
    source = broken(tmp_path / "broken", kind)

    with pytest.raises(error):
        store.images.load(source, name="x")
    assert nothing_in(store)

    (image,) = store.images.load(f"oci:{layout(LOWER).directory(tmp_path / 'good')}")
    with pytest.raises(error):
        store.images.load(source, name="x")
    assert store.images.list() == (image,)
    assert [layer.key for layer in store.layers.list()] == [image.layer]


@pytest.mark.parametrize("kind", ["J6-other-bytes", "J7-size-too-small", "J7-size-too-large", "J7-size-zero", "flipped-bit"])
def test_j6_bytes_of_a_layer_that_is_there_are_verified_too(store: Store, tmp_path: Path, kind: str) -> None:
    (image,) = store.images.load(f"oci:{layout(LOWER, UPPER, compress=False).directory(tmp_path / 'good')}")

    with pytest.raises(DigestMismatchError):
        store.images.load(broken(tmp_path / "broken", kind), name="x")

    assert store.images.list() == (image,)


def test_j7_one_blob_has_one_size(store: Store, tmp_path: Path) -> None:
    made = Layout()
    layer = made.blob(gz(LOWER), f"{LAYER}+gzip")
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [sha256(LOWER)] * 2}}
    manifest = {
        "schemaVersion": 2,
        "config": made.blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [layer, {**layer, "size": 7}],
    }
    made.tag(made.blob(json.dumps(manifest).encode(), MANIFEST), "1")

    with pytest.raises(ManifestError, match="two sizes"):
        store.images.load(f"oci:{made.directory(tmp_path / 'x')}")


def test_a_blob_whose_file_was_lost_is_brought_again(store: Store, tmp_path: Path) -> None:
    source = f"oci:{layout(LOWER).directory(tmp_path / 'x')}"
    (image,) = store.images.load(source)
    (store.root / "blobs/sha256" / image.layers[0].digest[7:]).unlink()
    assert [finding.subject for finding in store.check()] == [f"blob {image.layers[0].digest}"]

    store.images.load(source)

    assert store.check() == []
