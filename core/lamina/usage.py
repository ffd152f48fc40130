"""Where the space of a store goes, each byte counted once: under the snapshot that holds it, or as a blob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.model import Kind, Usage

if TYPE_CHECKING:
    from lamina.graph import LayerGraph
    from lamina.metadata.database import Database

#: For each layer the images and containers whose chain it is part of.
_DEPENDENTS = """
WITH RECURSIVE needs (dependent, id) AS (
    SELECT 'image ' || digest, layer FROM images WHERE layer IS NOT NULL
    UNION SELECT 'container ' || id, snapshot FROM containers
    UNION SELECT dependent, s.parent FROM needs JOIN snapshots s ON s.id = needs.id WHERE s.parent IS NOT NULL
)
SELECT s.key, count(*) FROM needs JOIN snapshots s ON s.id = needs.id GROUP BY needs.id
"""


@dataclass(frozen=True, slots=True)
class SnapshotUsage:
    """What one snapshot takes for itself."""

    key: str
    kind: Kind
    usage: Usage
    #: How many images and containers show this content: what each saves by not having it to itself. 0: nothing needs it.
    dependents: int


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """The space of a store."""

    snapshots: tuple[SnapshotUsage, ...]
    #: Bytes of the images' manifests, configs and compressed layers.
    blobs: int
    #: Whether a snapshot takes only what it changes; else it is a copy of all that it shows.
    shares_data: bool

    @property
    def layers(self) -> Usage:
        """What all layers take together."""
        return sum((row.usage for row in self.snapshots if row.kind is Kind.COMMITTED), Usage(0, 0))

    @property
    def writable(self) -> Usage:
        """What containers and other active snapshots take on top."""
        return sum((row.usage for row in self.snapshots if row.kind is Kind.ACTIVE), Usage(0, 0))

    @property
    def unneeded(self) -> int:
        """Bytes of layers that no image and no container needs."""
        return sum(row.usage.size for row in self.snapshots if row.kind is Kind.COMMITTED and not row.dependents)

    @property
    def saved(self) -> int:
        """Bytes more that the same images and containers would take if each kept its own copy."""
        if not self.shares_data:
            return 0
        return sum(row.usage.size * (row.dependents - 1) for row in self.snapshots if row.dependents > 1)


def account(database: Database, graph: LayerGraph, *, shares_data: bool) -> StoreUsage:
    """Return the space of a store. Layers were measured when they were committed; active snapshots are measured now."""
    with database.reading() as tx:
        dependents: dict[str, int] = dict(tx.rows(_DEPENDENTS))
        blobs = tx.row("SELECT coalesce(sum(size), 0) FROM blobs")
    rows = tuple(
        SnapshotUsage(snapshot.key, snapshot.kind, graph.usage(snapshot.key), dependents.get(snapshot.key, 0))
        for snapshot in graph.walk()
    )
    return StoreUsage(rows, blobs[0] if blobs else 0, shares_data)
