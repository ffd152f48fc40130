from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lamina.diff import Limits
from lamina.errors import (
    DigestMismatchError,
    ImageNotFoundError,
    LimitExceededError,
    ManifestError,
    UnsafeEntryError,
)
from lamina.image.files import Directory
from lamina.image.layout import Layout as Reader
from lamina.image.spec import Platform
from tests.unit.image.build import CONFIG, INDEX, MANIFEST, Layout, layout, sha256, tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.image.offer import Offer

LIMITS = Limits()
AMD64 = Platform("linux", "amd64")


@contextmanager
def offers(path: Path, tag: str = "", platform: Platform | None = AMD64) -> Iterator[tuple[Offer, ...]]:
    with Directory(path) as files:
        yield Reader(files, path, LIMITS).offers(tag, platform)


def refuse(
    path: Path, error: type[Exception], match: str | None = None, tag: str = "", platform: Platform | None = AMD64
) -> None:
    with pytest.raises(error, match=match), offers(path, tag, platform):
        pass


def test_an_image_is_offered_with_its_exact_documents_and_layers(tmp_path: Path) -> None:
    lower, upper = tar(("a", b"1")), tar(("b", b"2"))
    made = layout(lower, upper)

    with offers(made.directory(tmp_path)) as (found,):
        assert found.manifest_bytes is not None
        assert sha256(found.manifest_bytes) == made.entries[0]["digest"]
        assert json.loads(found.config_bytes)["config"]["Cmd"] == ["sh"]
        assert [layer.diff_id for layer in found.layers] == [sha256(lower), sha256(upper)]
        with found.files.open(found.layers[1].file) as extent:
            assert extent.size == len(made.files[found.layers[1].file])


@pytest.mark.parametrize(
    ("directory", "tag", "name"),
    [
        ("debian", "12", "debian:12"),
        ("debian", "", "debian:latest"),
        ("debian.oci", "12", "debian:12"),
        ("x", "tools/debian:12", "tools/debian:12"),
        ("x", "localhost:5000/debian", "localhost:5000/debian:latest"),
        ("Not A Name", "12", ""),
        ("x", "not:a:name", ""),
        ("x", "../../etc", ""),
    ],
)
def test_j15_an_image_is_called_by_its_full_name_or_else_after_its_place(
    tmp_path: Path, directory: str, tag: str, name: str
) -> None:
    place = layout(tar(), tag=tag).directory(tmp_path / directory)

    with offers(place) as (found,):
        assert found.names == ((name,) if name else ())


def test_a_tag_chooses_and_without_one_all_are_offered(tmp_path: Path) -> None:
    made = Layout()
    made.tag(made.image(tar(("a", b""))), "a")
    made.tag(made.image(tar(("b", b""))), "b")
    place = made.directory(tmp_path / "x")

    with offers(place, "b") as found:
        assert [offer.names for offer in found] == [("x:b",)]
    with offers(place) as found:
        assert [offer.names for offer in found] == [("x:a",), ("x:b",)]
    refuse(place, ImageNotFoundError, "no image 'c' in .*: it has a, b", tag="c")


def test_an_index_is_resolved_by_platform(tmp_path: Path) -> None:
    made = Layout()
    entries = []
    for platform in ("linux/arm64/v8", "linux/amd64", "windows/amd64"):
        os_name, architecture, *variant = platform.split("/")
        described = {"os": os_name, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
        entries.append({**made.image(tar((platform.replace("/", "-"), b"")), platform=platform), "platform": described})
    unknown = {**made.image(tar()), "platform": {"os": "unknown", "architecture": "unknown"}}  # what buildkit attests with
    made.tag(made.index(made.index(*entries, unknown)), "1")
    place = made.directory(tmp_path)

    with offers(place, platform=Platform("linux", "arm64")) as (found,):
        assert found.config.platform == Platform("linux", "arm64", "v8")
    with offers(place, platform=AMD64) as (found,):
        assert found.config.platform == AMD64
    refuse(place, ManifestError, "there are linux/arm64/v8, linux/amd64, windows/amd64", platform=Platform("linux", "s390x"))


def test_one_tag_may_stand_at_several_platforms(tmp_path: Path) -> None:
    made = Layout()
    for architecture in ("arm64", "amd64"):
        described = {"os": "linux", "architecture": architecture}
        made.tag({**made.image(tar((architecture, b"")), platform=f"linux/{architecture}"), "platform": described}, "1")

    with offers(made.directory(tmp_path), "1") as (found,):
        assert found.config.platform == AMD64


def test_several_images_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    made = Layout()
    made.tag(made.image(tar(("a", b""))), "1")
    made.tag(made.image(tar(("b", b""))), "1")

    refuse(made.directory(tmp_path), ManifestError, "no name tells apart")


def test_j10_an_image_for_another_platform_than_asked_for_is_refused(tmp_path: Path) -> None:
    refuse(layout(tar()).directory(tmp_path), ManifestError, "is for linux/amd64", platform=Platform("linux", "arm64"))


def nested(path: Path, depth: int) -> Path:
    made = Layout()
    descriptor = made.image(tar())
    for _ in range(depth):
        descriptor = made.index(descriptor)
    made.tag(descriptor)
    return made.directory(path)


def test_j10_indexes_nest_four_deep(tmp_path: Path) -> None:
    with offers(nested(tmp_path / "fits", 4)) as found:
        assert len(found) == 1
    refuse(nested(tmp_path / "deep", 5), ManifestError, "more than 4 indexes")
    refuse(nested(tmp_path / "deeper", 100), ManifestError, "more than 4 indexes")


def test_j10_a_hundred_thousand_entries_are_too_much(tmp_path: Path) -> None:
    made = Layout()
    made.tag(made.image(tar()), "1")
    made.entries *= 100_000

    refuse(made.directory(tmp_path), LimitExceededError, "manifest_bytes")


def test_j1_a_manifest_of_any_size_but_a_small_one_is_not_read(tmp_path: Path) -> None:
    made = Layout()
    made.tag(made.blob(b" " * (LIMITS.manifest_bytes + 1), MANIFEST))

    refuse(made.directory(tmp_path), LimitExceededError, "manifest_bytes")


def test_j6_a_document_that_is_not_what_its_digest_says_is_refused(tmp_path: Path) -> None:
    made = layout(tar())
    place = made.directory(tmp_path)
    manifest = place / "blobs/sha256" / str(made.entries[0]["digest"])[7:]
    manifest.write_bytes(
        manifest.read_bytes().replace(b"history", b"hystori").replace(b'schemaVersion": 2', b'schemaVersion":2 ')
    )

    refuse(place, DigestMismatchError, "get a fresh copy")


@pytest.mark.parametrize("delta", [-1, 1])
def test_j7_a_document_of_another_size_than_said_is_refused(tmp_path: Path, delta: int) -> None:
    made = layout(tar())
    made.entries[0]["size"] = int(str(made.entries[0]["size"])) + delta

    refuse(made.directory(tmp_path), DigestMismatchError)


def test_j8_layers_without_a_diff_id_are_refused(tmp_path: Path) -> None:
    made = layout(
        tar(("a", b"")), tar(("b", b"")), config={"rootfs": {"type": "layers", "diff_ids": [sha256(tar())]}, "history": []}
    )

    refuse(made.directory(tmp_path), ManifestError, "has 2 layers, and its config promises 1")


def test_j5_an_index_behind_the_descriptor_of_a_manifest_is_refused(tmp_path: Path) -> None:
    made = Layout()
    index = made.index()
    made.tag({**index, "mediaType": MANIFEST})

    refuse(made.directory(tmp_path), ManifestError)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    made = Layout()
    made.tag(made.blob(b"{}", CONFIG))

    refuse(made.directory(tmp_path), ManifestError, "which is no image")


@pytest.mark.parametrize(
    ("file", "data", "match"),
    [
        ("oci-layout", b'{"imageLayoutVersion":"2.0.0"}', "version '2.0.0'"),
        ("oci-layout", b"[]", "should be an object"),
        ("index.json", b'{"schemaVersion":2,"manifests":[]}', "holds no image"),
        ("index.json", b'{"schemaVersion":2,"config":{},"layers":[]}', "'mediaType'"),
        ("index.json", f'{{"schemaVersion":2,"mediaType":"{MANIFEST}","manifests":[]}}'.encode(), "config: should be an object"),
        ("index.json", f'{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[1]}}'.encode(), "should be an object"),
    ],
)
def test_a_broken_layout_is_refused(tmp_path: Path, file: str, data: bytes, match: str) -> None:
    place = layout(tar()).directory(tmp_path)
    (place / file).write_bytes(data)

    refuse(place, ManifestError, match)


@pytest.mark.parametrize("file", ["oci-layout", "index.json", "blobs"])
def test_a_layout_that_lacks_a_part_is_refused(tmp_path: Path, file: str) -> None:
    place = layout(tar()).directory(tmp_path)
    (place / file).rename(tmp_path / "elsewhere")

    refuse(place, ManifestError, "has no file")


def test_a_file_is_no_layout_directory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")

    refuse(tmp_path / "x", ManifestError, "no directory")
    refuse(tmp_path / "y", ManifestError, "no directory")


@pytest.mark.parametrize("file", ["oci-layout", "index.json", "manifest", "blobs", "blobs/sha256"])
def test_p20_a_symbolic_link_in_a_layout_is_refused(tmp_path: Path, file: str) -> None:
    made = layout(tar())
    place = made.directory(tmp_path / "x")
    path = place / (f"blobs/sha256/{str(made.entries[0]['digest'])[7:]}" if file == "manifest" else file)
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")

    refuse(place, UnsafeEntryError, "no regular file")


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "device"])
def test_p20_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = layout(tar()).directory(tmp_path / "x")
    index = place / "index.json"
    index.unlink()
    if kind == "fifo":
        os.mkfifo(index)
    elif kind == "directory":
        index.mkdir()
    elif kind == "device":
        if os.geteuid():
            pytest.skip("making a device node needs root")
        os.mknod(index, 0o20600, os.makedev(1, 5))
    else:
        monkeypatch.chdir(place)  # the name of a socket is short
        with socket.socket(socket.AF_UNIX) as end:
            end.bind("index.json")

    refuse(place, UnsafeEntryError, "no regular file")
