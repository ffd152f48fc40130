from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lamina.diff import Limits
from lamina.errors import LimitExceededError, ManifestError
from lamina.image.spec import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
    checked_digest,
    checked_ref_name,
    layer_type,
    read_document,
    write_manifest,
)

A = f"sha256:{'a' * 64}"
B = f"sha256:{'b' * 64}"
LIMITS = Limits()

Json = dict[str, object]


def descriptor(media_type: str, digest: str = A, **more: object) -> Json:
    return {"mediaType": media_type, "digest": digest, "size": 1, **more}


def manifest(**more: object) -> Json:
    return {"schemaVersion": 2, "config": descriptor(OCI_CONFIG), "layers": [descriptor(OCI_LAYER, B)], **more}


def read(value: object, media_type: str = "") -> Manifest | Index:
    return read_document(json.dumps(value).encode(), "it", media_type, LIMITS)


def test_a_manifest_is_read() -> None:
    found = read(manifest(mediaType=OCI_MANIFEST, annotations={"a": "b"}), OCI_MANIFEST)

    assert found == Manifest(OCI_MANIFEST, Descriptor(OCI_CONFIG, A, 1), (Descriptor(OCI_LAYER, B, 1),), {"a": "b"})


def test_a_docker_manifest_is_read() -> None:
    layer = descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip")
    found = read(manifest(mediaType=DOCKER_MANIFEST, config=descriptor(DOCKER_CONFIG), layers=[layer]))

    assert found.media_type == DOCKER_MANIFEST


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_INDEX])
def test_an_index_is_read(media_type: str) -> None:
    entry = descriptor(OCI_MANIFEST, platform={"os": "linux", "architecture": "arm", "variant": "v7", "features": ["x"]})
    found = read({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]}, media_type)

    assert isinstance(found, Index)
    assert found.manifests[0].platform == Platform("linux", "arm", "v7")


def test_what_was_written_is_read_again() -> None:
    config, layer = Descriptor(OCI_CONFIG, A, 5), Descriptor(OCI_LAYER, B, 6, {"k": "v"}, urls=("https://x.example",))

    found = read_document(write_manifest(config, [layer], OCI_MANIFEST), "it", OCI_MANIFEST, LIMITS)

    assert found == Manifest(OCI_MANIFEST, config, (layer,), {})


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(manifest(manifests=[]), id="J5-manifest-and-index"),
        pytest.param({"schemaVersion": 2, "manifests": [], "config": descriptor(OCI_CONFIG)}, id="J5-index-with-config"),
        pytest.param(manifest(mediaType=OCI_INDEX), id="J5-manifest-that-says-index"),
        pytest.param({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "manifests": []}, id="J5-index-that-says-manifest"),
        pytest.param(manifest(mediaType="text/html"), id="J5-neither"),
        pytest.param(manifest(Layers=[]), id="J4-layers-in-two-cases"),
        pytest.param(manifest(MediaType=OCI_INDEX), id="J4-media-type-in-another-case"),
        pytest.param(manifest(schemaVersion=1), id="J8-schema-1"),
        pytest.param(manifest(schemaVersion=True), id="J9-version-is-a-boolean"),
        pytest.param(manifest(schemaVersion=None), id="J9-version-is-null"),
        pytest.param(manifest(config=None), id="J9-config-is-null"),
        pytest.param(manifest(config=[]), id="J9-config-is-an-array"),
        pytest.param(manifest(layers={}), id="J9-layers-are-an-object"),
        pytest.param(manifest(layers=[None]), id="J9-layer-is-null"),
        pytest.param(manifest(layers=["x"]), id="J9-layer-is-a-string"),
        pytest.param(manifest(annotations={"a": 1}), id="J9-annotation-is-a-number"),
        pytest.param(manifest(mediaType=7), id="J9-media-type-is-a-number"),
        pytest.param([], id="J9-an-array"),
        pytest.param(manifest(layers=[descriptor("")]), id="J9-media-type-is-empty"),
        pytest.param(manifest(layers=[descriptor(OCI_LAYER, size=-1)]), id="J7-size-negative"),
        pytest.param(manifest(layers=[descriptor(OCI_LAYER, size=2**63)]), id="J7-size-over-int64"),
        pytest.param(manifest(layers=[descriptor(OCI_LAYER, size=1.0)]), id="J7-size-is-a-fraction"),
        pytest.param(manifest(layers=[descriptor(OCI_LAYER, size="1")]), id="J7-size-is-a-string"),
        pytest.param(manifest(layers=[descriptor(OCI_LAYER, size=True)]), id="J7-size-is-a-boolean"),
        pytest.param(manifest(config=descriptor("application/vnd.oci.empty.v1+json")), id="artifact"),
        pytest.param(manifest(layers=[descriptor(OCI_LAYER + "+encrypted")]), id="encrypted-layer"),
        pytest.param({"schemaVersion": 2}, id="J5-nothing-in-it"),
        pytest.param({"schemaVersion": 2, "manifests": None}, id="J9-manifests-are-null"),
    ],
)
def test_what_breaks_the_specification_is_refused(value: object) -> None:
    with pytest.raises(ManifestError):
        read(value)


def test_j5_a_document_is_what_its_descriptor_says() -> None:
    with pytest.raises(ManifestError, match="its descriptor says"):
        read(manifest(mediaType=OCI_MANIFEST), OCI_INDEX)
    with pytest.raises(ManifestError):
        read(manifest(), OCI_INDEX)


@pytest.mark.parametrize(
    "digest",
    [
        pytest.param("sha256:../../x", id="P18-dots"),
        pytest.param(f"sha256:{'a' * 63}", id="P18-63-digits"),
        pytest.param(f"sha256:{'a' * 65}", id="P18-65-digits"),
        pytest.param(f"sha256:{'A' * 64}", id="P18-upper-case"),
        pytest.param(f"SHA256:{'a' * 64}", id="P18-upper-case-algorithm"),
        pytest.param(f"sha256:{'a' * 64}\n", id="P18-newline"),
        pytest.param(f"sha256:{'a' * 63}\0", id="P18-nul"),
        pytest.param("a" * 64, id="P18-no-algorithm"),
        pytest.param(f"sha512:{'a' * 128}", id="P18-sha512"),
        pytest.param("sha256:" + "\u0661" * 64, id="P18-other-digits"),
        pytest.param("", id="P18-nothing"),
    ],
)
def test_a_digest_has_one_form(digest: str) -> None:
    with pytest.raises(ManifestError, match="no sha256 digest"):
        checked_digest(digest, "it")
    with pytest.raises(ManifestError):
        read(manifest(layers=[descriptor(OCI_LAYER, digest)]))


def test_the_number_of_layers_is_limited() -> None:
    document = json.dumps(manifest(layers=[descriptor(OCI_LAYER)] * 4)).encode()

    assert isinstance(read_document(document, "it", "", replace(LIMITS, layers=4)), Manifest)
    with pytest.raises(LimitExceededError, match="layers"):
        read_document(document, "it", "", replace(LIMITS, layers=3))


@pytest.mark.parametrize(
    ("wanted", "image", "runs"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm", "linux/arm/v6", True),
    ],
)
def test_a_platform_runs_what_is_made_for_it(wanted: str, image: str, runs: bool) -> None:  # noqa: FBT001  a table
    assert Platform.parse(wanted).runs(Platform.parse(image)) is runs


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d"])
def test_a_platform_has_two_parts_or_three(text: str) -> None:
    with pytest.raises(ManifestError, match="no platform"):
        Platform.parse(text)


def test_a_platform_is_printed_as_it_is_read() -> None:
    assert str(Platform.parse("linux/arm/v7")) == "linux/arm/v7"
    assert Platform.here().os == "linux"


def test_layers_of_a_docker_manifest_have_docker_types() -> None:
    assert layer_type("gzip", DOCKER_MANIFEST) == "application/vnd.docker.image.rootfs.diff.tar.gzip"
    assert layer_type("zstd", OCI_MANIFEST) == f"{OCI_LAYER}+zstd"
    assert layer_type("", OCI_MANIFEST) == OCI_LAYER


@pytest.mark.parametrize("text", [" ", "a b", "-a", "a/", "a::b", "ü"])
def test_j11_a_tag_of_a_layout_is_no_path(text: str) -> None:
    with pytest.raises(ManifestError):
        checked_ref_name(text)


def test_a_full_name_can_be_the_tag_of_a_layout() -> None:
    assert checked_ref_name("registry.example:5000/tools/debian:12") == "registry.example:5000/tools/debian:12"
    assert checked_ref_name("") == "latest"
