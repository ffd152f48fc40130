"""What an image in a store is, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from lamina.image.config import ImageConfig
    from lamina.image.spec import Platform


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
