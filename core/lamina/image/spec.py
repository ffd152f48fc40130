"""The documents of the OCI image specification that lead to layers: descriptors, manifests and indexes.

Docker's schema 2 differs in media types only and is read in the same way. What is read is checked down to its last known member;
what is stored and written again are always the bytes as they came, so members unknown here survive.

Sources: https://github.com/opencontainers/image-spec (descriptor.md, manifest.md, image-index.md, media-types.md) v1.1, and
https://distribution.github.io/distribution/spec/manifest-v2-2/.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from lamina.errors import LimitExceededError, ManifestError
from lamina.image.document import Fields, known_names, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lamina.diff.limits import Limits

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"

MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})

#: Layers as tars, by how they are compressed; what the bytes really are is told by their first ones.
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
_OCI_FOREIGN: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER_FOREIGN: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_LAYERS: Final = frozenset(
    [f"{kind}{how}" for kind in (OCI_LAYER, _OCI_FOREIGN) for how in ("", "+gzip", "+zstd")]
    + [f"{kind}{how}" for kind in (DOCKER_LAYER, _DOCKER_FOREIGN) for how in ("", ".gzip", ".zstd")]
)

#: The annotation of an entry of ``index.json`` that holds its tag.
REF_NAME: Final = "org.opencontainers.image.ref.name"

#: The largest size that a descriptor may state: what int64 holds.
_INT64_MAX: Final = 2**63 - 1

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
#: annotations.md, "Pre-Defined Annotation Keys".
_REF_NAME = re.compile(r"[A-Za-z0-9]+(?:(?:[-._:@/+]|--)[A-Za-z0-9]+)*", re.ASCII)
_NOTHING: Mapping[str, str] = MappingProxyType({})

_DOCUMENT = known_names("schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations")
_DESCRIPTOR = known_names("mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform")
_PLATFORM = known_names("architecture", "os", "os.version", "os.features", "variant")

#: Linux's names of machines (uname(2)) in the words of Go, which the specification uses.
_MACHINES: Final = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
}


def digest_of(data: bytes) -> str:
    """Return the digest that names ``data``."""
    return f"sha256:{sha256(data).hexdigest()}"


def is_digest(text: str) -> bool:
    """Whether ``text`` is a sha256 digest in its one canonical form."""
    return _DIGEST.fullmatch(text) is not None


def checked_digest(text: str, where: str) -> str:
    """Return ``text`` if it is a digest; nothing else ever becomes part of a path.

    Raises :class:`ManifestError`, also for other algorithms: sha512 is optional in the specification, and not in use.
    """
    if not is_digest(text):
        raise ManifestError(where, f"{text[:160]!r} is no sha256 digest")
    return text


def checked_ref_name(text: str) -> str:
    """Return ``text``, or ``latest`` for nothing, if it can be the tag of an image in a layout; raises :class:`ManifestError`."""
    if text and not _REF_NAME.fullmatch(text):
        raise ManifestError(text, "is no tag for a layout: letters and digits, with one of '-._:@/+' between them")
    return text or "latest"


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, in Go's words: ``linux/amd64``, ``linux/arm/v7``."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def here(cls) -> Self:
        """Return the platform of this machine."""
        machine = os.uname().machine
        architecture, variant = _MACHINES.get(machine, (machine, ""))
        return cls("linux", architecture, variant)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``os/architecture[/variant]``; raises :class:`ManifestError`."""
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise ManifestError(text, "is no platform: give one as linux/amd64 or linux/arm/v7")
        return cls(*parts)

    @classmethod
    def read(cls, value: object, where: str) -> Self:
        """Read the member ``platform`` of a descriptor; raises :class:`ManifestError`."""
        fields = Fields(value, where, _PLATFORM)
        return cls(fields.text("os"), fields.text("architecture"), fields.text("variant"))

    def runs(self, image: Platform) -> bool:
        """Whether ``image`` is what somebody who asked for this platform wants; without a variant any will do."""
        same = (self.os, self.architecture) == (image.os, image.architecture)
        return same and (not self.variant or self.variant == image._variant())

    def _variant(self) -> str:
        # arm64 has one variant in practice, and most tools leave it out
        return self.variant or ("v8" if self.architecture == "arm64" else "")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What points at a blob: its type, its digest and its size in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    platform: Platform | None = None
    #: Where else the bytes may be had; never fetched from (CVE-2020-15157), kept for those who do.
    urls: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: object, where: str) -> Self:
        """Read a descriptor; raises :class:`ManifestError`."""
        fields = Fields(value, where, _DESCRIPTOR)
        media_type = fields.text("mediaType")
        if not media_type:
            raise ManifestError(where, "has no 'mediaType'")
        return cls(
            media_type,
            checked_digest(fields.text("digest"), where),
            fields.number("size", _INT64_MAX),
            fields.mapping("annotations"),
            Platform.read(fields.raw("platform"), f"{where} platform") if "platform" in fields else None,
            fields.texts("urls"),
        )

    def members(self) -> dict[str, object]:
        """Return the JSON object for a document of our own."""
        found: dict[str, object] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.urls:
            found["urls"] = list(self.urls)
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        return found


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform: a config, and the layers from the base up."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Index:
    """A choice of manifests, by platform or by tag; entries may be indexes again."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


def read_document(data: bytes, where: str, media_type: str, limits: Limits) -> Manifest | Index:
    """Read a manifest or an index.

    ``media_type`` is what the descriptor that led here says; empty where nothing did, as for ``index.json``. A document that says
    something else of itself, or could be read as either (CVE-2021-41190), is refused with :class:`ManifestError`.
    """
    fields = Fields(read_json(data, where, limits), where, _DOCUMENT)
    version = fields.raw("schemaVersion")
    if type(version) is not int or version != 2:
        hint = "; have the image converted by a current tool" if version == 1 else ""
        raise ManifestError(where, f"'schemaVersion' should be 2, not {version!r}{hint}")
    declared = fields.text("mediaType")
    if declared and media_type and declared != media_type:
        raise ManifestError(where, f"says it is {declared}, its descriptor says {media_type}")
    if "manifests" in fields and ("layers" in fields or "config" in fields):
        raise ManifestError(where, "could be read as a manifest and as an index")
    found = declared or media_type or (OCI_INDEX if "manifests" in fields else OCI_MANIFEST)
    if found in INDEXES:
        return _read_index(fields, where, found)
    if found in MANIFESTS:
        return _read_manifest(fields, where, found, limits)
    raise ManifestError(where, f"is {found}, neither a manifest nor an index")


def write_manifest(config: Descriptor, layers: Iterable[Descriptor], media_type: str) -> bytes:
    """Return the bytes of a new manifest; equal arguments give equal bytes."""
    return write_json({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.members(),
        "layers": [layer.members() for layer in layers],
    })  # fmt: skip


def config_type(manifest_type: str) -> str:
    """Return the media type of the config of a manifest of this type."""
    return DOCKER_CONFIG if manifest_type == DOCKER_MANIFEST else OCI_CONFIG


def layer_type(suffix: str, manifest_type: str) -> str:
    """Return the media type of a layer of compression ``suffix`` (empty, ``gzip`` or ``zstd``) for a manifest of this type."""
    if manifest_type == DOCKER_MANIFEST:
        return f"{DOCKER_LAYER}.{suffix}" if suffix else DOCKER_LAYER
    return f"{OCI_LAYER}+{suffix}" if suffix else OCI_LAYER


def _read_index(fields: Fields, where: str, media_type: str) -> Index:
    if "manifests" not in fields:
        raise ManifestError(where, "is an index without 'manifests'")
    entries = enumerate(fields.values("manifests"), 1)
    manifests = tuple(Descriptor.read(value, f"{where} entry {number}") for number, value in entries)
    return Index(media_type, manifests, fields.mapping("annotations"))


def _read_manifest(fields: Fields, where: str, media_type: str, limits: Limits) -> Manifest:
    config = Descriptor.read(fields.raw("config"), f"{where} config")
    if config.media_type not in _CONFIGS:
        raise ManifestError(where, f"is no image: its config is {config.media_type}")
    values = fields.values("layers")
    if len(values) > limits.layers:
        raise LimitExceededError(where, "layers", limits.layers, len(values))
    layers = tuple(Descriptor.read(value, f"{where} layer {number}") for number, value in enumerate(values, 1))
    for number, layer in enumerate(layers, 1):
        if layer.media_type not in _LAYERS:
            raise ManifestError(where, f"layer {number} is {layer.media_type}, which is no layer of files")
    return Manifest(media_type, config, layers, fields.mapping("annotations"))
