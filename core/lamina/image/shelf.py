"""What images are made of in a store, and how more of it is brought in.

Nothing that is brought counts before the one transaction that makes an image visible. Until then the operation's intent leases
it; when the operation fails, or its process dies, exactly what it leased and nobody else needs is taken back.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from lamina.image.blobs import Blobs, staged
from lamina.image.clearing import Clearing
from lamina.image.spec import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lamina.graph import LayerGraph
    from lamina.host import Host
    from lamina.image.blobs import Staged
    from lamina.metadata.database import Database, Reader, Writer
    from lamina.metadata.journal import Intent, Journal


#: What the names of directories of unfinished files begin with that are outside of a store.
STAGING: Final = ".lamina-"


class Shelf:
    """The blobs and layers of one store, as far as images hold them."""

    def __init__(self, root: Path, database: Database, journal: Journal, graph: LayerGraph, host: Host, *, durable: bool) -> None:
        self.blobs = Blobs(root, durable=durable)
        self.clearing = Clearing(root / "staging", database, journal, graph, host, self.blobs, durable=durable)
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
        staging = (beside / f"{STAGING}{uuid4().hex}").absolute() if beside else self._staging / uuid4().hex
        with self.journal.intent() as intent:
            with self.database.writing(durable=False) as tx:
                intent.begin(tx, name, detail={"staging": str(staging)})
            staging.mkdir(mode=0o700)
            try:
                yield Ingest(self, intent, staging)
            finally:
                self.host.remove_tree(staging)
                if intent.id:
                    self.clearing.take_back(intent)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Yield a transaction that is as durable as the store promises."""
        with self.database.writing(durable=self._durable) as tx:
            yield tx


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
