"""What an image in a store is, as values read from its blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.errors import LaminaError, ManifestError
from lamina.image.config import ImageConfig
from lamina.image.spec import Manifest, Platform, read_document
from lamina.layers import chain_id

if TYPE_CHECKING:
    from datetime import datetime

    from lamina.diff.limits import Limits
    from lamina.image.blobs import Blobs


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """One layer of an image."""

    #: Digest of the uncompressed tar.
    diff_id: str
    #: Name of the stack that ends here; the key of the layer in the graph, if it came with an image.
    chain_id: str
    #: Digest, bytes and media type of the blob, which is mostly compressed.
    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in a store."""

    #: Of the manifest; what identifies the image.
    digest: str
    media_type: str
    config_digest: str
    #: All its names with their tags, sorted.
    names: tuple[str, ...]
    #: As its config says, which may be nothing.
    created: datetime | None
    platform: Platform
    #: From the base up.
    layers: tuple[ImageLayer, ...]
    config: ImageConfig
    #: Bytes of all its blobs, those that it shares with other images too.
    size: int
    #: Key of the top layer in the graph; empty for an image without layers.
    layer: str
    #: What is wrong with it; there are no layers and no config then. Only lists show such images, so that they can be removed.
    damage: str = ""


def read_manifest(digest: str, media_type: str, blobs: Blobs, limits: Limits) -> Manifest:
    """Return the manifest of an image. Raises :class:`lamina.errors.StoreCorruptError` when its blob is gone."""
    found = read_document(blobs.read(digest, limits), digest, media_type, limits)
    if not isinstance(found, Manifest):
        raise ManifestError(digest, "is an index, the records say a manifest")
    return found


def read_image(row: tuple[str, str, str, str, int], names: tuple[str, ...], blobs: Blobs, limits: Limits) -> Image:
    """Return the image of a row of :data:`lamina.image.records.IMAGES`. Raises like :func:`read_manifest`."""
    digest, media_type, config_digest, layer, size = row
    manifest = read_manifest(digest, media_type, blobs, limits)
    config = ImageConfig.read(blobs.read(config_digest, limits), config_digest, limits)
    layers, chain = [], ""
    for diff_id, blob in zip(config.diff_ids, manifest.layers, strict=True):
        chain = chain_id(chain, diff_id)
        layers.append(ImageLayer(diff_id, chain, blob.digest, blob.size, blob.media_type))
    return Image(
        digest=digest,
        media_type=media_type,
        config_digest=config_digest,
        names=names,
        created=config.created,
        platform=config.platform,
        layers=tuple(layers),
        config=config,
        size=size,
        layer=layer,
    )


def read_or_excuse(row: tuple[str, str, str, str, int], names: tuple[str, ...], blobs: Blobs, limits: Limits) -> Image:
    """Return the image of a row, or what is left of a damaged one."""
    try:
        return read_image(row, names, blobs, limits)
    except (LaminaError, ValueError) as error:
        return Image(
            digest=row[0],
            media_type=row[1],
            config_digest=row[2],
            names=names,
            created=None,
            platform=Platform("", ""),
            layers=(),
            config=ImageConfig(Platform("", "")),
            size=row[4],
            layer=row[3],
            damage=str(error),
        )
