"""Snapshots as the records hold them: rows read into values, labels, chains of ancestors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lamina.errors import SnapshotNotFoundError
from lamina.model import Kind, Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.driver import Chain
    from lamina.metadata.database import Reader, Row, Writer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: What :func:`read` reads, to be selected from :data:`TABLE`, where the snapshot is ``s`` and its parent ``p``.
COLUMNS = "s.id, s.key, s.kind, s.state, coalesce(p.key, ''), s.diff_id, s.created, s.updated"
TABLE = "snapshots s LEFT JOIN snapshots p ON p.id = s.parent"


def find(tx: Reader, key: str, *, role: str = "snapshot") -> Snapshot:
    """Return the visible snapshot of this key. Raises :class:`SnapshotNotFoundError`, which names it by its ``role``."""
    row = tx.row(f"SELECT {COLUMNS} FROM {TABLE} WHERE s.key = ? AND s.state = 'ready'", key)
    if row is None:
        raise SnapshotNotFoundError(key, role=role)
    return read(row, labels(tx, row[0]))


def by_id(tx: Reader, number: int) -> Snapshot:
    """Return the snapshot of this number, visible or not. Raises :class:`SnapshotNotFoundError`."""
    row = tx.row(f"SELECT {COLUMNS} FROM {TABLE} WHERE s.id = ?", number)
    if row is None:
        raise SnapshotNotFoundError(f"#{number}")
    return read(row, labels(tx, number))


def labels(tx: Reader, number: int) -> dict[str, str]:
    """Return the labels of a snapshot."""
    return dict(tx.rows("SELECT name, value FROM labels WHERE snapshot = ?", number))


def set_labels(tx: Writer, number: int, labels: Mapping[str, str] | None) -> None:
    """Replace the labels of a snapshot."""
    tx.run("DELETE FROM labels WHERE snapshot = ?", number)
    for name, value in (labels or {}).items():
        tx.run("INSERT INTO labels (snapshot, name, value) VALUES (?, ?, ?)", number, name, value)


def chain(tx: Reader, number: int) -> Chain:
    """Return the numbers of the ancestors of a snapshot, nearest first."""
    rows = tx.rows(
        "WITH RECURSIVE above (id, parent, distance) AS (SELECT id, parent, 0 FROM snapshots WHERE id = ?"
        " UNION ALL SELECT s.id, s.parent, distance + 1 FROM above JOIN snapshots s ON s.id = above.parent)"
        " SELECT id FROM above WHERE distance > 0 ORDER BY distance",
        number,
    )
    return tuple(row[0] for row in rows)


def children(tx: Reader, number: int) -> list[str]:
    """Name the first few snapshots whose parent this is, as a person would."""
    rows = tx.rows("SELECT kind, key FROM snapshots WHERE parent = ? AND key IS NOT NULL ORDER BY id LIMIT 10", number)
    return [f"{'layer' if kind == Kind.COMMITTED else kind} {key}" for kind, key in rows]


def read(row: Row, labels: Mapping[str, str]) -> Snapshot:
    """Make a value of a row of :data:`COLUMNS`."""
    number, key, kind, _, parent, diff_id, created, updated = row
    return Snapshot(
        id=number,
        key=key or "",
        kind=Kind(kind),
        parent=parent,
        labels=labels,
        created=_time(created),
        updated=_time(updated),
        diff_id=diff_id,
    )


def _time(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
