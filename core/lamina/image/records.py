"""The records of images: names, manifests and what they are made of, inside the transactions of others."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from lamina.errors import ImageExistsError, ImageNotFoundError, InvalidReferenceError
from lamina.image.reference import Reference
from lamina.image.spec import is_digest

if TYPE_CHECKING:
    from lamina.image.transfer import Brought
    from lamina.metadata.database import Reader, Writer

#: The beginning of a digest, as ``image list`` shows it, or more or less of it.
_PREFIX: Final = re.compile(r"(?:sha256:)?([0-9a-f]{6,64})", re.ASCII)

#: An image's manifest and the media type of that, its config, the key of its top layer, and the bytes of its blobs.
IMAGES: Final = """
SELECT i.digest, i.media_type, i.config, coalesce(s.key, ''), (
    SELECT sum(size) FROM blobs WHERE digest = i.digest OR digest IN (SELECT blob FROM image_blobs WHERE image = i.digest)
) FROM images i LEFT JOIN snapshots s ON s.id = i.layer
"""


def resolve(tx: Reader, text: str) -> str:
    """Return the manifest digest of the image that ``text`` means.

    That is its name, with or without a digest, or a digest, its manifest's or its config's, or a beginning of one that no other
    image shares. Names come first: who calls an image ``cafe00`` gets it by that. Raises :class:`ImageNotFoundError` and
    :class:`InvalidReferenceError`.
    """
    digest = text if text.startswith("sha256:") else f"sha256:{text}"
    found = _by_digest(tx, digest, digest) if is_digest(digest) else _by_name(tx, text) or _by_prefix(tx, text)
    if len(found) > 1:
        raise InvalidReferenceError(text, "several images have a digest that begins so, write more of it")
    if not found:
        raise ImageNotFoundError(text)
    return found[0]


def names_of(tx: Reader, image: str) -> tuple[str, ...]:
    """Return the names of an image, sorted."""
    return tuple(name for (name,) in tx.rows("SELECT name FROM tags WHERE image = ? ORDER BY name", image))


def containers_of(tx: Reader, image: str) -> tuple[str, ...]:
    """Return the names of the containers made from an image, oldest first."""
    return tuple(name for (name,) in tx.rows("SELECT name FROM containers WHERE image = ? ORDER BY created", image))


def add_image(tx: Writer, brought: Brought) -> None:
    """Record an image whose blobs are recorded already; fine when it is there."""
    if tx.row("SELECT 1 FROM images WHERE digest = ?", brought.manifest):
        return
    layer = tx.row("SELECT id FROM snapshots WHERE key = ?", brought.layer)
    tx.run(
        "INSERT INTO images (digest, media_type, config, layer, created) VALUES (?, ?, ?, ?, ?)",
        *(brought.manifest, brought.media_type, brought.config, layer[0] if layer else None, time.time_ns()),
    )
    for position, blob in enumerate(brought.blobs):
        tx.run("INSERT INTO image_blobs (image, position, blob) VALUES (?, ?, ?)", brought.manifest, position, blob)


def set_name(tx: Writer, name: str, image: str) -> None:
    """Let ``name`` mean ``image``, whatever it meant before."""
    tx.run("INSERT OR REPLACE INTO tags (name, image, updated) VALUES (?, ?, ?)", name, image, time.time_ns())


def check_free(tx: Reader, name: str, image: str = "") -> None:
    """Raise :class:`ImageExistsError` when ``name`` means an image other than ``image``."""
    row = tx.row("SELECT image FROM tags WHERE name = ?", name)
    if row and row[0] != image:
        raise ImageExistsError(name)


def _by_name(tx: Reader, text: str) -> list[str]:
    reference = Reference.parse(text)
    if reference.tag:
        rows = tx.rows("SELECT image FROM tags WHERE name = ?", f"{reference.name}:{reference.tag}")
    else:
        start = f"{reference.name}:"
        rows = tx.rows(
            "SELECT DISTINCT image FROM tags WHERE image = ? AND substr(name, 1, ?) = ?", reference.digest, len(start), start
        )
    return [image for (image,) in rows if reference.digest in ("", image)]


def _by_prefix(tx: Reader, text: str) -> list[str]:
    match = _PREFIX.fullmatch(text)
    return _by_digest(tx, f"sha256:{match[1]}", f"sha256:{match[1]}g") if match else []


def _by_digest(tx: Reader, first: str, last: str) -> list[str]:
    """Return the images whose manifest, or else whose config, has a digest from ``first`` to ``last``."""
    for column in ("digest", "config"):
        if rows := tx.rows(f"SELECT digest FROM images WHERE {column} BETWEEN ? AND ? LIMIT 3", first, last):
            return [digest for (digest,) in rows]
    return []
