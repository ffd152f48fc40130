from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lamina.diff import Limits
from lamina.errors import DigestMismatchError, ImageNotFoundError, InvalidReferenceError, ManifestError
from lamina.image.docker_archive import DockerArchive
from lamina.image.files import Archive
from tests.unit.image.build import docker_archive, sha256, tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.image.offer import Offer

LIMITS = Limits()
LOWER, UPPER = tar(("a", b"1")), tar(("b", b"2"))


@contextmanager
def offers(path: Path, name: str = "") -> Iterator[tuple[Offer, ...]]:
    with Archive(path, path.parent, LIMITS) as files:
        yield DockerArchive(files, path, LIMITS).offers(name)


def write(path: Path, item: object, **files: bytes) -> Path:
    path.write_bytes(
        tar(("manifest.json", json.dumps(item).encode()), *((name.replace("_", "."), data) for name, data in files.items()))
    )
    return path


def config(*layers: bytes) -> bytes:
    return json.dumps({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
    }).encode()  # fmt: skip


@pytest.mark.parametrize("old", [True, False])
def test_an_image_is_offered_with_its_config_and_layers(tmp_path: Path, old: bool) -> None:  # noqa: FBT001  both forms
    path = docker_archive(tmp_path / "x.tar", (["debian:12", "debian"], [LOWER, UPPER]), old=old)

    with offers(path) as (found,):
        assert found.names == ("debian:12", "debian:latest")
        assert found.manifest_bytes is None
        assert found.config.cmd == ("sh",)
        assert [layer.diff_id for layer in found.layers] == [sha256(LOWER), sha256(UPPER)]
        with found.files.open(found.layers[1].file) as extent:
            assert extent.read(1 << 20) == UPPER


def test_a_name_chooses_and_without_one_all_are_offered(tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "x.tar", (["a:1"], [LOWER]), (["b:1"], [LOWER, UPPER]))

    with offers(path, "b:1") as found:
        assert [offer.names for offer in found] == [("b:1",)]
    with offers(path) as found:
        assert [offer.names for offer in found] == [("a:1",), ("b:1",)]
    with pytest.raises(ImageNotFoundError, match=r"no image 'c' in .*: it has a:1, b:1"), offers(path, "c"):
        pass
    with pytest.raises(InvalidReferenceError), offers(path, "../c"):
        pass


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("docker.io/library/debian:12", "debian:12"),
        ("docker.io/tools/x:1", "tools/x:1"),
        ("debian:12", "docker.io/library/debian:12"),
    ],
)
def test_a_name_is_found_with_and_without_what_docker_puts_in_front(tmp_path: Path, there: str, wanted: str) -> None:
    with offers(docker_archive(tmp_path / "x.tar", ([there], [LOWER])), wanted) as (found,):
        assert found.names == (wanted,)


def test_an_image_without_a_name_is_called_after_its_file(tmp_path: Path) -> None:
    with offers(docker_archive(tmp_path / "debian.tar", ([], [LOWER]))) as (found,):
        assert found.names == ("debian:latest",)


@pytest.mark.parametrize(
    "item",
    [
        pytest.param([{"Config": "/etc/passwd", "RepoTags": ["a:1"], "Layers": []}], id="P21-config-outside"),
        pytest.param([{"Config": "../../x", "RepoTags": ["a:1"], "Layers": []}], id="P21-config-above"),
        pytest.param([{"Config": "c.json", "RepoTags": ["../../a"], "Layers": ["l.tar"]}], id="P18-name-outside"),
        pytest.param([{"Config": "c.json", "RepoTags": "a:1", "Layers": ["l.tar"]}], id="J9-names-are-a-string"),
        pytest.param([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": "l.tar"}], id="J9-layers-are-a-string"),
        pytest.param([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": None}], id="J8-no-layers"),
        pytest.param([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l.tar", "l.tar"]}], id="J8-too-many-layers"),
        pytest.param([{"config": "c.json", "Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l.tar"]}], id="J4-config-twice"),
        pytest.param([{"RepoTags": ["a:1"], "Layers": ["l.tar"]}], id="J9-no-config"),
        pytest.param([], id="J9-no-image"),
        pytest.param({}, id="J9-an-object"),
        pytest.param([None], id="J9-null"),
    ],
)
def test_a_manifest_that_is_hostile_or_broken_is_refused(tmp_path: Path, item: object) -> None:
    path = write(tmp_path / "x.tar", item, c_json=config(LOWER), l_tar=LOWER)

    with pytest.raises(ManifestError), offers(path):
        pass


def test_p21_a_layer_outside_the_archive_is_not_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar", [{"Config": "c.json", "RepoTags": None, "Layers": ["../../x"]}], c_json=config(LOWER))

    with offers(path) as (found,), pytest.raises(ManifestError, match="has no file"), found.files.open(found.layers[0].file):
        pass


def test_j6_a_config_is_what_its_name_says(tmp_path: Path) -> None:
    name = sha256(config(UPPER))[7:]
    path = tmp_path / "x.tar"
    item = [{"Config": f"{name}.json", "RepoTags": None, "Layers": ["l.tar"]}]
    path.write_bytes(tar(("manifest.json", json.dumps(item).encode()), (f"{name}.json", config(LOWER)), ("l.tar", LOWER)))

    with pytest.raises(DigestMismatchError), offers(path):
        pass


def test_an_archive_without_a_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(LOWER)

    with pytest.raises(ManifestError, match=r"has no file 'manifest\.json'"), offers(tmp_path / "x.tar"):
        pass
