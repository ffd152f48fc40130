"""What images are made of in a store, and who still needs it: bringing blobs and layers in, and clearing them away.

Nothing that is brought counts before the one transaction that makes an image visible. Until then the operation's intent leases
it; when the operation fails, or its process dies, exactly what it leased and nobody else needs is taken back.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from lamina.errors import SnapshotInUseError, SnapshotNotFoundError, StoreBusyError
from lamina.image.blobs import Blobs, staged
from lamina.image.spec import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from lamina.graph import LayerGraph
    from lamina.host import Host
    from lamina.image.blobs import Staged
    from lamina.metadata.database import Database, Reader, Writer
    from lamina.metadata.journal import Intent, Journal
    from lamina.model import Snapshot

_log = logging.getLogger("lamina.image")

#: Layers that came with images are named by their chain ids; those that somebody named otherwise are theirs to remove.
_OF_IMAGES: Final = "kind = 'committed' AND state = 'ready' AND key GLOB 'sha256:*'"

_UNNEEDED_LAYERS: Final = f"""
WITH RECURSIVE needed (id) AS (
    SELECT layer FROM images WHERE layer IS NOT NULL
    UNION SELECT snapshot FROM containers
    UNION SELECT CAST(item AS INTEGER) FROM leases WHERE kind = 'snapshot'
    UNION SELECT id FROM snapshots WHERE NOT ({_OF_IMAGES})
    UNION SELECT s.parent FROM needed JOIN snapshots s ON s.id = needed.id WHERE s.parent IS NOT NULL
)
SELECT id, key FROM snapshots WHERE {_OF_IMAGES} AND id NOT IN (SELECT id FROM needed) ORDER BY id DESC
"""

_BLOB_IS_NEEDED: Final = """
SELECT 1 FROM image_blobs WHERE blob = ?1 UNION ALL SELECT 1 FROM images WHERE digest = ?1
UNION ALL SELECT 1 FROM leases WHERE kind = 'blob' AND item = ?1
"""


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

    def __add__(self, other: Collected) -> Collected:
        return Collected(self.images + other.images, self.layers + other.layers, self.blobs + other.blobs, self.size + other.size)


class Shelf:
    """The blobs and layers of one store, as far as images hold them."""

    def __init__(self, root: Path, database: Database, journal: Journal, graph: LayerGraph, host: Host, *, durable: bool) -> None:
        self.blobs = Blobs(root, durable=durable)
        self.database = database
        self._staging = root / "staging"
        self.journal = journal
        self.graph = graph
        self.host = host
        self._durable = durable

    @contextmanager
    def operation(self, name: str, beside: Path | None = None) -> Iterator[Ingest]:
        """Yield the object that brings things in. Unless its block ends in :meth:`Ingest.publish` all of it is taken back.

        Its staging directory is in the store, or hidden in the directory ``beside``, to rename from there; recovery knows it.
        """
        staging = (beside / f".lamina-{uuid4().hex}").absolute() if beside else self._staging / uuid4().hex
        with self.journal.intent() as intent:
            with self.database.writing(durable=False) as tx:
                intent.begin(tx, name, detail={"staging": str(staging)})
            staging.mkdir(mode=0o700)
            try:
                yield Ingest(self, intent, staging)
            finally:
                self.host.remove_tree(staging)
                if intent.id:
                    self.take_back(intent)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Yield a transaction that is as durable as the store promises."""
        with self.database.writing(durable=self._durable) as tx:
            yield tx

    def take_back(self, intent: Intent) -> Collected:
        """Clear away what ``intent`` leased and nobody needs, and end it. For operations that failed, or whose process died."""
        with self.database.reading() as tx:
            leases = tx.rows("SELECT kind, item FROM leases WHERE intent = ?", intent.id)
        numbers = sorted((int(item) for kind, item in leases if kind == "snapshot"), reverse=True)
        taken = self._remove_blobs([item for kind, item in leases if kind == "blob"], intent)
        for number in numbers:  # a child has a higher number than its parent
            with self.database.writing(durable=False) as tx:
                tx.run("DELETE FROM leases WHERE intent = ? AND kind = 'snapshot' AND item = ?", intent.id, str(number))
                row = tx.row(f"SELECT key FROM snapshots WHERE id = ? AND {_OF_IMAGES}", number)
            if row:
                taken += self._remove_layer(row[0])
        with self.database.writing(durable=False) as tx:
            intent.end(tx)
        return taken

    def collect(self) -> Collected:
        """Clear away everything that no name, no container and no running operation leads to.

        That is images whose names went to others, layers named by chain id, blobs, and files that no record explains.
        """
        taken = Collected(self._forget_nameless())
        with self.database.reading() as tx:
            layers = [key for _, key in tx.rows(_UNNEEDED_LAYERS)]
            blobs = {digest for (digest,) in tx.rows("SELECT digest FROM blobs")}
        for key in layers:
            taken += self._remove_layer(key)
        self._sweep_staging()
        return taken + self._remove_blobs(sorted(blobs.union(self.blobs.digests())))

    def forget(self, tx: Writer, image: str, intent: Intent) -> None:
        """Strike the image out, and lease all it was made of for :meth:`take_back` to look at."""
        (layer,) = tx.row("SELECT layer FROM images WHERE digest = ?", image) or (None,)
        while layer is not None:
            intent.lease(tx, "snapshot", str(layer))
            (layer,) = tx.row("SELECT parent FROM snapshots WHERE id = ?", layer) or (None,)
        for (blob,) in tx.rows("SELECT blob FROM image_blobs WHERE image = ? UNION SELECT ?", image, image):
            intent.lease(tx, "blob", blob)
        tx.run("DELETE FROM images WHERE digest = ?", image)

    def _forget_nameless(self) -> tuple[str, ...]:
        nameless = "digest NOT IN (SELECT image FROM tags) AND digest NOT IN (SELECT image FROM containers)"
        with self.writing() as tx:
            found = tuple(digest for (digest,) in tx.rows(f"SELECT digest FROM images WHERE {nameless}"))
            for digest in found:
                tx.run("DELETE FROM images WHERE digest = ?", digest)
        return found

    def _sweep_staging(self) -> None:
        """Remove what a power cut left of operations whose intents it took with it."""
        there = list(self._staging.iterdir())  # before the intents: each is written down before its directory is made
        with self.database.reading() as tx:
            explained = {path for (path,) in tx.rows("SELECT json_extract(detail, '$.staging') FROM intents")}
        for path in there:
            if str(path) not in explained:
                self.host.remove_tree(path)

    def _remove_layer(self, key: str) -> Collected:
        try:
            size = self.graph.usage(key).size
            self.graph.remove(key)
        except (SnapshotInUseError, SnapshotNotFoundError, StoreBusyError):
            return Collected()  # somebody needs it after all, or was faster
        return Collected(layers=(key,), size=size)

    def _remove_blobs(self, digests: Iterable[str], intent: Intent | None = None) -> Collected:
        removed, size = [], 0
        with self.writing() as tx:
            if intent:
                tx.run("DELETE FROM leases WHERE intent = ? AND kind = 'blob'", intent.id)
            for digest in digests:
                if tx.row(_BLOB_IS_NEEDED, digest):
                    continue
                row = tx.row("SELECT size FROM blobs WHERE digest = ?", digest)
                tx.run("DELETE FROM blobs WHERE digest = ?", digest)
                # Inside the transaction: nobody can lease it, and bring its file anew, before the old one has gone.
                self.blobs.remove(digest)
                removed.append(digest)
                size += row[0] if row else 0
        return Collected(blobs=tuple(removed), size=size)


class Ingest:
    """One operation that brings blobs and layers into a store; made by :meth:`Shelf.operation`."""

    def __init__(self, shelf: Shelf, intent: Intent, staging: Path) -> None:
        self.intent = intent
        #: A directory for files that should not outlive the operation.
        self.staging = staging
        self._shelf = shelf
        self._sizes: dict[str, int] = {}

    def lease(self, sizes: Mapping[str, int]) -> frozenset[str]:
        """Have the collector keep away from these blobs (digest to size); return those that the store has already."""
        self._sizes.update(sizes)
        with self._shelf.database.writing(durable=False) as tx:
            for digest in sizes:
                self.intent.lease(tx, "blob", digest)
            recorded = [digest for digest, size in sizes.items() if _is_recorded(tx, digest, size)]
        return frozenset(digest for digest in recorded if self._shelf.blobs.has(digest, sizes[digest]))

    @contextmanager
    def staged(self) -> Iterator[Staged]:
        """Yield a new blob to write; without :meth:`keep` it is gone when the block ends."""
        with staged(self.staging) as file:
            yield file

    def hold_image(self, image: str) -> bool:
        """Have the collector keep away from the blobs of an image; False when there is no such image any more."""
        with self._shelf.database.writing(durable=False) as tx:
            for (blob,) in tx.rows("SELECT blob FROM image_blobs WHERE image = ? UNION SELECT ?", image, image):
                self.intent.lease(tx, "blob", blob)
            return tx.row("SELECT 1 FROM images WHERE digest = ?", image) is not None

    def hold(self, layer: Snapshot) -> None:
        """Have the collector keep away from a layer."""
        with self._shelf.database.writing(durable=False) as tx:
            self.intent.lease(tx, "snapshot", str(layer.id))

    def keep(self, file: Staged, digest: str) -> int:
        """Make a staged blob, which the caller has verified, the blob ``digest``; return its size."""
        size = file.written().size
        if digest not in self._sizes:
            self.lease({digest: size})
        self._shelf.blobs.keep(file, digest)
        return size

    def document(self, data: bytes) -> str:
        """Store the bytes of a document and return their digest."""
        digest = digest_of(data)
        if digest not in self.lease({digest: len(data)}):
            with self.staged() as file:
                file.write(data)
                self.keep(file, digest)
        return digest

    @contextmanager
    def publish(self) -> Iterator[Writer]:
        """Yield the transaction that makes all of it count; the records of the blobs are in it already. Ends the operation."""
        self._shelf.host.remove_tree(self.staging)  # before the intent that explains it ends
        with self._shelf.writing() as tx:
            now = time.time_ns()
            for digest, size in self._sizes.items():
                tx.run("INSERT OR IGNORE INTO blobs (digest, size, created) VALUES (?, ?, ?)", digest, size, now)
            yield tx
            self.intent.end(tx)


def _is_recorded(tx: Reader, digest: str, size: int) -> bool:
    return tx.row("SELECT 1 FROM blobs WHERE digest = ? AND size = ?", digest, size) is not None
