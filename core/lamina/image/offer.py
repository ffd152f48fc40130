"""An image as it was found outside of a store: its documents, and where the bytes of its layers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.errors import InvalidReferenceError, ManifestError
from lamina.image.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.image.config import ImageConfig
    from lamina.image.files import Files
    from lamina.image.spec import Descriptor


@dataclass(frozen=True, slots=True)
class OfferedLayer:
    """The bytes of one layer."""

    #: Name of its file among the offer's files.
    file: str
    #: Digest of the uncompressed tar, which the config promises.
    diff_id: str
    #: What the manifest says of the bytes; None where no manifest came with them.
    descriptor: Descriptor | None


@dataclass(frozen=True, slots=True)
class Offer:
    """An image that could be loaded."""

    #: What it is called where it was found, ready to be given to an image here; empty when nothing there can be.
    names: tuple[str, ...]
    files: Files
    config: ImageConfig
    #: The exact bytes of the config, and of the manifest where there is one.
    config_bytes: bytes
    manifest_bytes: bytes | None
    media_type: str
    layers: tuple[OfferedLayer, ...]


def matched_layers(where: str, found: Sequence[tuple[str, Descriptor | None]], config: ImageConfig) -> tuple[OfferedLayer, ...]:
    """Pair layers (file, descriptor) with the diff ids of the config; raises :class:`ManifestError` unless there are as many."""
    if len(found) != len(config.diff_ids):
        raise ManifestError(where, f"has {len(found)} layers, and its config promises {len(config.diff_ids)}")
    return tuple(
        OfferedLayer(file, diff_id, descriptor) for (file, descriptor), diff_id in zip(found, config.diff_ids, strict=True)
    )


def own_name(tag: str, path: Path) -> str:
    """Return the name that an image called ``tag`` at ``path`` has for itself; empty when that is no name for an image.

    A full name (``debian:12``) stands for itself; a mere tag, and nothing at all, follow the file's or directory's name.
    """
    stem = path.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".oci")
    text = tag if ":" in tag or "/" in tag else f"{stem}:{tag}" if tag else stem
    try:
        return str(Reference.for_tag(text))
    except InvalidReferenceError:
        return ""
