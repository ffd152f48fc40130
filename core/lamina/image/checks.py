"""Whether the records of images, their blobs and the files on disk agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.diff.digests import DigestingReader
from lamina.diff.streams import CHUNK
from lamina.errors import DigestMismatchError, StoreCorruptError
from lamina.recovery import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lamina.image.blobs import Blobs
    from lamina.image.image import Image
    from lamina.metadata.database import Database


def check_images(images: Iterable[Image]) -> Iterator[Finding]:
    """Yield the images that cannot be read."""
    for image in images:
        if image.damage:
            cure = "remove it, by name or digest, and load it again"
            yield Finding(Severity.DAMAGE, f"image {next(iter(image.names), image.digest)}", image.damage, cure, mendable=False)


def check_blobs(database: Database, blobs: Blobs, *, deep: bool) -> Iterator[Finding]:
    """Yield the blobs whose file is not what the record says, and the files that no record explains.

    ``deep`` reads every blob; otherwise being there with the right size is enough.
    """
    files = set(blobs.digests())  # before the records: what comes meanwhile has a lease, what goes meanwhile has no record
    with database.reading() as tx:
        rows: dict[str, int] = dict(tx.rows("SELECT digest, size FROM blobs"))
        leased = {item for (item,) in tx.rows("SELECT item FROM leases WHERE kind = 'blob'")}
        users: dict[str, set[str]] = {}
        for blob, image, name in tx.rows(
            "SELECT b.blob, b.image, t.name FROM image_blobs b LEFT JOIN tags t ON t.image = b.image"
            " UNION ALL SELECT i.digest, i.digest, t.name FROM images i LEFT JOIN tags t ON t.image = i.digest"
        ):
            users.setdefault(blob, set()).add(name or image)
    for digest, size in rows.items():
        if problem := _problem(blobs, digest, size, deep=deep):
            who = ", ".join(sorted(users.get(digest, ()))) or "what uses it"
            cure = f"remove {who} and load that again"
            yield Finding(Severity.DAMAGE, f"blob {digest}", problem, cure, mendable=False)
    for digest in sorted(files - rows.keys() - leased):
        cure = "run `lamina store gc`"
        yield Finding(Severity.LEFTOVER, f"blob {digest}", "no record explains its file", cure, mendable=False)


def _problem(blobs: Blobs, digest: str, size: int, *, deep: bool) -> str:
    if not blobs.has(digest, size):
        return f"there is no file of {size} bytes"
    if deep:
        try:
            with blobs.open(digest) as extent:
                reader = DigestingReader(extent, digest, size, label="its file")
                while reader.read(CHUNK):
                    pass
        except (DigestMismatchError, StoreCorruptError, OSError) as error:
            return str(error)
    return ""
