from __future__ import annotations

import json
import os
import subprocess
import tarfile
from shutil import which
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.errors import DigestMismatchError, ImageError, ImageNotFoundError, ManifestError
from tests.unit.image.build import docker_archive, layout, sha256, tar

if TYPE_CHECKING:
    from pathlib import Path

    from lamina import Store
    from lamina.image.image import Image

pytestmark = pytest.mark.root

LOWER = tar(("etc/", b""), ("etc/motd", b"hello"), ("gone", b""))
UPPER = tar(("etc/", b""), ("etc/motd", b"changed"), (".wh.gone", b""), ("added", b"1"))
FORMS = ["oci", "oci-archive", "docker-archive"]


def loaded(store: Store, path: Path, **options: object) -> Image:
    return store.images.load(f"oci:{layout(LOWER, UPPER, tag='debian:12', **options).directory(path / 'source')}")[0]


def files(path: Path) -> dict[str, bytes]:
    return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {info.name: file.read() for info in archive if (file := archive.extractfile(info))}


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("form", ["oci", "oci-archive"])
def test_what_was_loaded_is_saved_byte_for_byte(store: Store, tmp_path: Path, form: str, compress: bool) -> None:  # noqa: FBT001  a table
    image = loaded(store, tmp_path, compress=compress)

    assert store.images.save("debian:12", f"{form}:{tmp_path / 'out'}") == image.digest

    saved = files(tmp_path / "out") if form == "oci" else members(tmp_path / "out")
    source = files(tmp_path / "source")
    assert {name: data for name, data in saved.items() if name != "index.json"} == {
        name: data for name, data in source.items() if name != "index.json"
    }
    assert json.loads(saved["index.json"])["manifests"] == json.loads(source["index.json"])["manifests"]


@pytest.mark.parametrize("form", FORMS)
def test_what_was_saved_is_loaded_with_its_name_and_digests(store: Store, tmp_path: Path, form: str) -> None:
    image = loaded(store, tmp_path)
    store.images.save("debian:12", f"{form}:{tmp_path / 'out'}")

    with lamina.open(tmp_path / "other", driver="vfs") as other:
        (again,) = other.images.load(f"{form}:{tmp_path / 'out'}")

    assert again.names == ("debian:12",)
    assert again.config_digest == image.config_digest
    assert [layer.chain_id for layer in again.layers] == [layer.chain_id for layer in image.layers]
    if form != "docker-archive":
        assert again.digest == image.digest


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_an_archive_has_the_same_bytes_whenever_and_wherever_it_is_written(
    store: Store, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(store, tmp_path)
    store.images.save("debian:12", f"{form}:{tmp_path / 'first'}")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.chdir(tmp_path)

    store.images.save("debian:12", f"{form}:second")

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    with tarfile.open(tmp_path / "first") as archive:
        names = archive.getnames()
        assert names == sorted(names)
        assert {(info.mtime, info.uid, info.gid, info.uname) for info in archive} == {(0, 0, 0, "")}


def test_layers_in_a_docker_archive_are_uncompressed(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path)

    store.images.save("debian:12", f"docker-archive:{tmp_path / 'out'}:other:1")

    content = members(tmp_path / "out")
    (item,) = json.loads(content["manifest.json"])
    assert item["RepoTags"] == ["other:1"]
    assert sha256(content[item["Config"]]) == image.config_digest
    assert [content[name] for name in item["Layers"]] == [LOWER, UPPER]


def test_a_docker_archive_holds_the_same_layer_once(store: Store, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "x.tar", (["a:1"], [LOWER, UPPER, LOWER]))
    store.images.load(f"docker-archive:{path}")

    store.images.save("a:1", f"docker-archive:{tmp_path / 'out'}")

    with tarfile.open(tmp_path / "out") as archive:
        assert len(archive.getnames()) == 4


def test_a_layout_gains_an_image_and_keeps_what_it_has(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path)
    place = layout(UPPER, tag="old").directory(tmp_path / "out")
    index = json.loads((place / "index.json").read_bytes())
    index["annotations"] = {"kept": "yes"}
    index["manifests"][0]["unknown"] = ["kept"]
    (place / "index.json").write_text(json.dumps(index))

    store.images.save("debian:12", f"oci:{place}:new")

    after = json.loads((place / "index.json").read_bytes())
    assert after["annotations"] == {"kept": "yes"}
    assert after["manifests"][0] == index["manifests"][0]
    assert after["manifests"][1]["digest"] == image.digest
    assert [name for name in os.listdir(place) if name.startswith(".")] == []


def test_a_tag_of_a_layout_moves_to_what_is_saved_under_it(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path)
    place = layout(UPPER, tag="12").directory(tmp_path / "out")

    store.images.save("debian:12", f"oci:{place}:12")

    (entry,) = json.loads((place / "index.json").read_bytes())["manifests"]
    assert entry["digest"] == image.digest


def test_an_archive_replaces_a_file_only_when_complete(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path)
    out = tmp_path / "out" / "x.tar"
    out.parent.mkdir()
    out.write_bytes(b"before")
    blob = store.root / "blobs/sha256" / image.layers[1].digest[7:]
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + b"x")

    with pytest.raises(DigestMismatchError, match=f"blob {image.layers[1].digest}"):
        store.images.save("debian:12", f"oci-archive:{out}")
    assert out.read_bytes() == b"before"
    assert os.listdir(out.parent) == ["x.tar"]

    blob.write_bytes(good)
    store.images.save("debian:12", f"oci-archive:{out}")
    assert os.listdir(out.parent) == ["x.tar"]
    assert tarfile.is_tarfile(out)


def test_a_damaged_blob_does_not_get_into_a_layout(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path)
    blob = store.root / "blobs/sha256" / image.layers[1].digest[7:]
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + b"x")

    with pytest.raises(DigestMismatchError):
        store.images.save("debian:12", f"oci:{tmp_path / 'out'}")

    assert not (tmp_path / "out" / "index.json").exists()
    assert not (tmp_path / "out" / "blobs/sha256" / blob.name).exists()
    blob.write_bytes(good)


def test_a_directory_of_something_else_is_not_written_to(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "file").touch()

    with pytest.raises(ManifestError, match="no image layout"):
        store.images.save("debian:12", f"oci:{tmp_path / 'home'}")
    with pytest.raises(ManifestError, match="no image layout"):
        store.images.save("debian:12", f"oci:{tmp_path / 'home' / 'file'}")
    with pytest.raises(ImageError, match="is a directory"):
        store.images.save("debian:12", f"oci-archive:{tmp_path / 'home'}")

    assert os.listdir(tmp_path / "home") == ["file"]


def test_what_is_not_there_is_not_saved(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError):
        store.images.save("debian:12", f"oci:{tmp_path / 'out'}")

    assert not (tmp_path / "out").exists()


def test_an_image_called_by_its_digest_is_saved_under_its_name(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path)

    store.images.save(image.digest, f"docker-archive:{tmp_path / 'out'}")

    (item,) = json.loads(members(tmp_path / "out")["manifest.json"])
    assert item["RepoTags"] == ["debian:12"]


@pytest.mark.skipif(which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("form", FORMS)
def test_skopeo_accepts_what_was_saved(store: Store, tmp_path: Path, form: str) -> None:
    image = loaded(store, tmp_path)
    store.images.save("debian:12", f"{form}:{tmp_path / 'out'}:debian:12")

    source = f"{form}:{tmp_path / 'out'}:debian:12"
    subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", source, f"dir:{tmp_path / 'copy'}"], check=True)

    manifest = (tmp_path / "copy" / "manifest.json").read_bytes()
    assert f"sha256:{json.loads(manifest)['config']['digest'][7:]}" == image.config_digest
    if form != "docker-archive":
        assert sha256(manifest) == image.digest


@pytest.mark.skipif(which("umoci") is None, reason="umoci is not installed")
def test_umoci_unpacks_what_was_saved(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path)
    store.images.save("debian:12", f"oci:{tmp_path / 'out'}:12")

    subprocess.run(["umoci", "unpack", "--image", f"{tmp_path / 'out'}:12", tmp_path / "bundle"], check=True, capture_output=True)

    assert files(tmp_path / "bundle" / "rootfs") == {"added": b"1", "etc/motd": b"changed"}
