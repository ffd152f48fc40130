"""Clearing away what images no longer need: their layers, their blobs, and what operations that failed had brought.

One way leads there: an intent leases what might go, then all of it goes that nobody needs, then the intent ends. Wherever that is
cut short, recovery does it again. The lease of an intent that is clearing away protects nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lamina.errors import SnapshotInUseError, SnapshotNotFoundError, StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lamina.graph import LayerGraph
    from lamina.host import Host
    from lamina.image.blobs import Blobs
    from lamina.metadata.database import Database, Reader, Writer
    from lamina.metadata.journal import Intent, Journal

#: The operation of an intent that clears away.
_CLEARING: Final = "clear away"
_LEASED: Final = f"leases JOIN intents ON intents.id = intent AND operation <> '{_CLEARING}'"

#: Layers that came with images are named by their chain ids; those that somebody named otherwise are theirs to remove.
_OF_IMAGES: Final = "snapshots.kind = 'committed' AND state = 'ready' AND key GLOB 'sha256:*'"

#: What is leased is among them: removing it asks :func:`users`.
_UNNEEDED_LAYERS: Final = f"""
WITH RECURSIVE needed (id) AS (
    SELECT layer FROM images WHERE layer IS NOT NULL
    UNION SELECT snapshot FROM containers
    UNION SELECT id FROM snapshots WHERE NOT ({_OF_IMAGES})
    UNION SELECT s.parent FROM needed JOIN snapshots s ON s.id = needed.id WHERE s.parent IS NOT NULL
)
SELECT id FROM snapshots WHERE {_OF_IMAGES} AND id NOT IN (SELECT id FROM needed)
"""

#: The layers of an image.
_CHAIN: Final = """
WITH RECURSIVE chain (id) AS (
    SELECT layer FROM images WHERE digest = ? AND layer IS NOT NULL
    UNION SELECT s.parent FROM chain JOIN snapshots s ON s.id = chain.id WHERE s.parent IS NOT NULL
)
SELECT id FROM chain
"""

_BLOB_IS_NEEDED: Final = f"""
SELECT 1 FROM image_blobs WHERE blob = ?1 UNION ALL SELECT 1 FROM images WHERE digest = ?1
UNION ALL SELECT 1 FROM {_LEASED} WHERE kind = 'blob' AND item = ?1
"""

_NAMELESS: Final = "digest NOT IN (SELECT image FROM tags) AND digest NOT IN (SELECT image FROM containers)"


@dataclass(frozen=True, slots=True)
class Collected:
    """What was cleared away."""

    #: Manifest digests of images without a name or a container.
    images: tuple[str, ...] = ()
    #: Keys of layers.
    layers: tuple[str, ...] = ()
    #: Digests of blobs.
    blobs: tuple[str, ...] = ()
    #: Bytes that this gave back, as the records had them.
    size: int = 0


def users(tx: Reader, number: int) -> list[str]:
    """Name the images, containers and running operations that need a snapshot, by its number."""
    images = tx.rows(
        "SELECT coalesce(min(name), digest) FROM images LEFT JOIN tags ON image = digest WHERE layer = ? GROUP BY digest", number
    )
    containers = tx.rows("SELECT name FROM containers WHERE snapshot = ?", number)
    leases = tx.rows(f"SELECT operation, pid FROM {_LEASED} WHERE kind = 'snapshot' AND item = ?", str(number))
    return [
        *(f"image {name}" for (name,) in images),
        *(f"container {name}" for (name,) in containers),
        *(f"{operation} of process {pid}" for operation, pid in leases),
    ]


class Clearing:
    """Clears away in one store. ``staging`` is the directory in which operations keep unfinished files."""

    def __init__(
        self, staging: Path, database: Database, journal: Journal, graph: LayerGraph, host: Host, blobs: Blobs, *, durable: bool
    ) -> None:
        self._staging = staging
        self._database = database
        self._journal = journal
        self._graph = graph
        self._host = host
        self._blobs = blobs
        self._durable = durable

    def forget(self, tx: Writer, image: str, intent: Intent) -> None:
        """Strike an image out of the records, and have ``intent`` lease all that it was made of."""
        for (layer,) in tx.rows(_CHAIN, image):
            intent.lease(tx, "snapshot", str(layer))
        for (blob,) in tx.rows("SELECT blob FROM image_blobs WHERE image = ? UNION SELECT ?", image, image):
            intent.lease(tx, "blob", blob)
        tx.run("DELETE FROM images WHERE digest = ?", image)

    def collect(self) -> Collected:
        """Clear away everything that no name, no container and no running operation leads to.

        That is images whose names went to others, layers named by chain id, blobs, and files that no record explains.
        """
        self._sweep_staging()
        files = list(self._blobs.digests())
        with self._journal.intent() as intent:
            with self._writing() as tx:
                intent.begin(tx, _CLEARING)
                images = tuple(digest for (digest,) in tx.rows(f"SELECT digest FROM images WHERE {_NAMELESS}"))
                for image in images:
                    tx.run("DELETE FROM images WHERE digest = ?", image)
                for (layer,) in tx.rows(_UNNEEDED_LAYERS):
                    intent.lease(tx, "snapshot", str(layer))
                for digest in {*files, *(digest for (digest,) in tx.rows("SELECT digest FROM blobs"))}:
                    if not tx.row(_BLOB_IS_NEEDED, digest):
                        intent.lease(tx, "blob", digest)
            taken = self.take_back(intent)
        return Collected(images, taken.layers, taken.blobs, taken.size)

    def take_back(self, intent: Intent) -> Collected:
        """Clear away what ``intent`` leased and nobody needs, and end it.

        For what was to be removed, and for operations that failed or whose process died.
        """
        with self._database.writing(durable=False) as tx:
            tx.run("UPDATE intents SET operation = ? WHERE id = ?", _CLEARING, intent.id)
            blobs = [item for (item,) in tx.rows("SELECT item FROM leases WHERE intent = ? AND kind = 'blob'", intent.id)]
            layers = tx.rows(
                f"SELECT snapshots.id, key, size FROM leases JOIN snapshots ON snapshots.id = CAST(item AS INTEGER)"
                f" WHERE intent = ? AND leases.kind = 'snapshot' AND {_OF_IMAGES}"
                " ORDER BY snapshots.id DESC",  # a child has a higher number than its parent
                intent.id,
            )
        removed = [(key, size or 0) for _, key, size in layers if self._remove_layer(key)]
        gone, size = self._remove_blobs(blobs)
        with self._database.writing(durable=False) as tx:
            intent.end(tx)
        return Collected(layers=tuple(key for key, _ in removed), blobs=gone, size=size + sum(size for _, size in removed))

    def _remove_layer(self, key: str) -> bool:
        try:
            self._graph.remove(key)
        except (SnapshotInUseError, SnapshotNotFoundError, StoreBusyError):
            return False  # somebody needs it, or was faster
        return True

    def _remove_blobs(self, digests: Iterable[str]) -> tuple[tuple[str, ...], int]:
        """Remove records, then files, of those that nobody needs; return these, and their bytes."""
        size = 0
        with self._writing() as tx:
            for digest in self._unneeded(tx, digests):
                size += sum(size for (size,) in tx.rows("SELECT size FROM blobs WHERE digest = ?", digest))
                tx.run("DELETE FROM blobs WHERE digest = ?", digest)
        # Somebody may bring the same blob from here on, whose lease then keeps the file. Inside a transaction nobody can lease.
        with self._database.writing(durable=False) as tx:
            gone = tuple(self._unneeded(tx, digests))
            for digest in gone:
                self._blobs.remove(digest)
        return gone, size

    def _sweep_staging(self) -> None:
        """Remove what a power cut left of operations whose intents it took with it."""
        there = list(self._staging.iterdir())  # before the intents: each is written down before its directory is made
        with self._database.reading() as tx:
            explained = {path for (path,) in tx.rows("SELECT json_extract(detail, '$.staging') FROM intents")}
        for path in there:
            if str(path) not in explained:
                self._host.remove_tree(path)

    @staticmethod
    def _unneeded(tx: Reader, digests: Iterable[str]) -> Iterator[str]:
        return (digest for digest in digests if not tx.row(_BLOB_IS_NEEDED, digest))

    def _writing(self) -> AbstractContextManager[Writer]:
        return self._database.writing(durable=self._durable)
