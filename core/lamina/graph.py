"""The layer graph: snapshots, their states, and the operations that lead from one to the next.

The words are containerd's (core/snapshots): a snapshot is *committed* (a layer: immutable, may be a parent), *active*
(writable, never a parent) or a *view* (read-only, never a parent). The life of an image and a container::

    prepare("unpack", "")  →  write  →  commit("base", "unpack")        a layer from nothing
    prepare("c1", "base")  →  run …  →  remove("c1")                    a container, thrown away
    prepare("c2", "base")  →  run …  →  commit("mine", "c2")            a container that became the next layer

What holds throughout: a snapshot is visible only when it is complete; every change of the graph writes an intent first and
completes in one transaction, so a crash leaves the state before or after, never between; a layer is never touched again; the
cost of an operation does not grow with the number of snapshots.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from lamina.errors import (
    SnapshotExistsError,
    SnapshotInUseError,
    SnapshotNotFoundError,
    SnapshotStateError,
    StoreBusyError,
)
from lamina.filters import compile_filters
from lamina.host.clock import Clock, Mark
from lamina.metadata import snapshots
from lamina.model import Kind, Snapshot, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from lamina.driver import Chain, Driver
    from lamina.metadata.database import Database, Reader, Writer
    from lamina.metadata.journal import Abandoned, Intent, Journal
    from lamina.model import Mount
    from lamina.plugins import Operations

    #: Names those who need a snapshot, by its number, as a person would: ``image debian:latest``.
    Users = Callable[[Reader, int], Iterable[str]]

#: Longest key and label (name and value together), bytes; containerd's limit for labels.
MAX_KEY: Final = 255
MAX_LABEL: Final = 4096

#: How long an operation waits for another one that has the same snapshot in hand, seconds.
_PATIENCE: Final = 10.0


class LayerGraph:
    """The snapshots of one store. Safe to use from several threads and processes at once."""

    def __init__(
        self, root: Path, database: Database, journal: Journal, driver: Driver, operations: Operations, *, durable: bool = True
    ) -> None:
        self._root = root
        self._database = database
        self._journal = journal
        self._driver = driver
        self._operations = operations
        self._durable = durable
        self._users: list[Users] = [snapshots.children]
        self._writers: list[Users] = []
        self._clock = Clock(root / "clock")

    def add_users(self, users: Users, *, may_write: bool = False) -> None:
        """Have :meth:`remove` ask ``users`` too who needs a snapshot, and :meth:`commit` as well if they may write to it."""
        self._users.append(users)
        if may_write:
            self._writers.append(users)

    # making -----------------------------------------------------------------------------------------------------------

    def prepare(self, key: str, parent: str = "", *, labels: Mapping[str, str] | None = None) -> Snapshot:
        """Make an active snapshot ``key`` on top of the layer ``parent``, or of nothing.

        Raises :class:`SnapshotExistsError`, :class:`SnapshotNotFoundError` (the parent), :class:`SnapshotStateError` (a
        parent that is no layer) and ``ValueError`` (a key or label that cannot be one).
        """
        with self._journal.intent() as intent:
            snapshot = self.begin(intent, "prepare", key, parent, labels=labels)
            self.show(snapshot, intent)
        self._operations.prepared(snapshot)
        return snapshot

    def begin(
        self, intent: Intent, operation: str, key: str, parent: str = "", *, labels: Mapping[str, str] | None = None
    ) -> Snapshot:
        """Make an active snapshot that stays invisible until :meth:`show`, or :meth:`publish`, and goes if ``intent`` is
        abandoned.

        An exception after this must be answered with :meth:`discard`, unless the intent is left for recovery.
        """
        _check_key(key)
        _check_labels(labels)
        with self._database.writing(durable=False) as tx:
            snapshot = self._insert(tx, key, Kind.ACTIVE, "preparing", parent, labels)
            chain = snapshots.chain(tx, snapshot.id)
            intent.begin(tx, operation, snapshot=snapshot.id)
        try:
            self._operations.prepare(snapshot, chain)
        except BaseException:
            self.discard(intent, snapshot)
            raise
        return snapshot

    def show(self, snapshot: Snapshot, intent: Intent | None = None) -> None:
        """Make visible, as active, what :meth:`begin` made; ends ``intent``, or leaves the snapshot in the care of its intent.

        Not durable by itself: an active snapshot survives the death of its maker, and a power cut once something later was
        committed.
        """
        mark = self._clock.read()
        with self._database.writing(durable=False) as tx:
            tx.run(
                "UPDATE snapshots SET state = 'ready', prepared = ?, boot = ?, clock_offset = ? WHERE id = ?",
                *(mark.time, mark.boot, mark.offset, snapshot.id),
            )
            if intent:
                intent.end(tx)

    def discard(self, intent: Intent, snapshot: Snapshot) -> None:
        """Take back what :meth:`begin` made; ends ``intent``."""
        self._operations.remove(snapshot)
        with self._database.writing(durable=False) as tx:
            tx.run("DELETE FROM snapshots WHERE id = ?", snapshot.id)
            intent.end(tx)

    def view(self, key: str, parent: str = "", *, labels: Mapping[str, str] | None = None) -> Snapshot:
        """Make a read-only snapshot ``key`` of the layer ``parent``. Raises like :meth:`prepare`.

        A view of a layer is a record that keeps the layer from going; the driver is not involved.
        """
        if not parent:  # an empty tree to look at must exist somewhere
            with self._journal.intent() as intent:
                snapshot = self.begin(intent, "prepare", key, labels=labels)
                with self._database.writing(durable=self._durable) as tx:
                    tx.run("UPDATE snapshots SET state = 'ready', kind = 'view' WHERE id = ?", snapshot.id)
                    intent.end(tx)
        else:
            _check_key(key)
            _check_labels(labels)
            with self._database.writing(durable=self._durable) as tx:
                self._insert(tx, key, Kind.VIEW, "ready", parent, labels)
        snapshot = self.stat(key)
        self._operations.prepared(snapshot)
        return snapshot

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """Return the mounts that show an active snapshot (writable) or a view (read-only). Nothing is mounted by this.

        Raises :class:`SnapshotNotFoundError`, and :class:`SnapshotStateError` for a layer: make a view of it, or prepare on it.
        """
        with self._database.reading() as tx:
            snapshot = snapshots.find(tx, key)
            chain = snapshots.chain(tx, snapshot.id)
        if snapshot.kind is Kind.COMMITTED:
            raise SnapshotStateError(key, "committed", "make a view of it, or prepare a snapshot on top, and mount that")
        return self._mounts(snapshot, chain, writable=snapshot.kind is Kind.ACTIVE)

    def tree(self, key: str) -> tuple[Mount, ...]:
        """Return the mounts that show any snapshot read-only, also an active one that is mounted writable elsewhere."""
        with self._database.reading() as tx:
            snapshot = snapshots.find(tx, key)
            chain = snapshots.chain(tx, snapshot.id)
        return self._mounts(snapshot, chain, writable=False)

    def _mounts(self, snapshot: Snapshot, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        if snapshot.kind is Kind.VIEW and chain:
            with self._database.reading() as tx:
                snapshot, chain = snapshots.find(tx, snapshot.parent), chain[1:]
        return self._operations.mounts(snapshot, chain, writable=writable)

    def commit(self, name: str, key: str, *, labels: Mapping[str, str] | None = None, diff_id: str = "") -> Snapshot:
        """Turn the active snapshot ``key`` into the layer ``name``, whose labels are ``labels`` alone.

        When it returns, the layer's data and then its record are on stable storage (unless the store is relaxed). Raises
        :class:`SnapshotExistsError` (the name), :class:`SnapshotNotFoundError`, and :class:`SnapshotStateError` for what is
        not active.
        """
        _check_key(name)
        _check_labels(labels)
        with self.holding(key) as snapshot, self._journal.intent() as intent:
            if snapshot.kind is not Kind.ACTIVE:
                raise SnapshotStateError(key, str(snapshot.kind), "only an active snapshot can be committed")
            with self._database.writing(durable=False) as tx:
                if tx.row("SELECT 1 FROM snapshots WHERE key = ?", name):
                    raise SnapshotExistsError(name)
                intent.begin(tx, "commit", snapshot=snapshot.id, detail={"name": name})
            try:
                self.publish(intent, snapshot, name, labels=labels, diff_id=diff_id)
            except BaseException:
                if intent.id:  # it stays active
                    with self._database.writing(durable=False) as tx:
                        intent.end(tx)
                raise
        return self.stat(name)

    def publish(
        self,
        intent: Intent,
        snapshot: Snapshot,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        diff_id: str = "",
        lease: Intent | None = None,
    ) -> None:
        """Turn what ``intent`` holds into the layer ``name``: data first, then the record; ends ``intent``. ``lease`` keeps
        the layer from being collected from then on.

        Raises :class:`SnapshotExistsError`, and :class:`SnapshotInUseError` for what is mounted writable, since a layer must
        not change any more; everything is as it was then.
        """
        with self._database.reading() as tx:
            chain = snapshots.chain(tx, snapshot.id)
            if writers := [user for query in self._writers for user in query(tx, snapshot.id)]:
                raise SnapshotInUseError(snapshot.key, writers, verb="commit")
        self._operations.commit(snapshot, chain, durable=self._durable)
        usage = self._driver.usage(snapshot.id, chain)
        with self._database.writing(durable=self._durable) as tx:
            if tx.row("SELECT 1 FROM snapshots WHERE key = ? AND id <> ?", name, snapshot.id):
                raise SnapshotExistsError(name)
            tx.run(
                "UPDATE snapshots SET key = ?, kind = 'committed', state = 'ready', diff_id = ?, size = ?, inodes = ?,"
                " updated = ? WHERE id = ?",
                *(name, diff_id, usage.size, usage.inodes, time.time_ns(), snapshot.id),
            )
            snapshots.set_labels(tx, snapshot.id, labels)
            if lease:
                lease.lease(tx, "snapshot", str(snapshot.id))
            intent.end(tx)
        self._operations.committed(self.stat(name))

    def remove(self, key: str) -> None:
        """Remove a snapshot that nothing needs; its key is free at once.

        Raises :class:`SnapshotNotFoundError`, and :class:`SnapshotInUseError` naming children, images, containers and mounts.
        """
        with self.holding(key) as snapshot, self._journal.intent() as intent:
            with self._database.writing(durable=self._durable) as tx:
                users = [user for query in self._users for user in query(tx, snapshot.id)]
                if users:
                    raise SnapshotInUseError(key, users)
                tx.run("UPDATE snapshots SET key = NULL, parent = NULL, state = 'removing' WHERE id = ?", snapshot.id)
                intent.begin(tx, "remove", snapshot=snapshot.id)
            self.finish_removal(intent, snapshot)
        self._operations.removed(snapshot)

    def finish_removal(self, intent: Intent, snapshot: Snapshot) -> None:
        """Remove the data, then the record, of a snapshot that no name leads to any more; ends ``intent``."""
        if not (snapshot.kind is Kind.VIEW and snapshot.parent):
            self._operations.remove(snapshot)
        with self._database.writing(durable=False) as tx:
            tx.run("DELETE FROM snapshots WHERE id = ?", snapshot.id)
            intent.end(tx)

    def finish(self, intent: Intent, snapshot: Snapshot) -> None:
        """End an intent that had an active snapshot in its care: the snapshot goes, unless it became a layer meanwhile."""
        with self._database.writing(durable=False) as tx:
            if not tx.row("SELECT 1 FROM snapshots WHERE id = ? AND kind = 'active'", snapshot.id):
                intent.end(tx)
        if intent.id:
            self.finish_removal(intent, snapshot)

    # looking ----------------------------------------------------------------------------------------------------------

    def stat(self, key: str) -> Snapshot:
        """Return the snapshot ``key``. Raises :class:`SnapshotNotFoundError`."""
        with self._database.reading() as tx:
            return snapshots.find(tx, key)

    def exists(self, key: str) -> bool:
        """Whether a visible snapshot has this key."""
        with self._database.reading() as tx:
            return tx.row("SELECT 1 FROM snapshots WHERE key = ? AND state = 'ready'", key) is not None

    def walk(self, *filters: str) -> Iterator[Snapshot]:
        """Yield the snapshots that satisfy any of ``filters`` (:mod:`lamina.filters`), parents before children; all without a
        filter.

        What is yielded is the state when the walk began; operations are allowed meanwhile.
        """
        wanted = compile_filters(filters)
        with self._database.reading() as tx:
            rows = tx.rows(f"SELECT {snapshots.COLUMNS} FROM {snapshots.TABLE} WHERE s.state = 'ready' ORDER BY s.id")
            labels: dict[int, dict[str, str]] = {}
            for number, name, value in tx.rows("SELECT snapshot, name, value FROM labels"):
                labels.setdefault(number, {})[name] = value
        for row in rows:
            snapshot = snapshots.read(row, labels.get(row[0], {}))
            if wanted(snapshot):
                yield snapshot

    def chain(self, key: str) -> tuple[Snapshot, ...]:
        """Return the ancestors of ``key``, nearest first, without itself."""
        with self._database.reading() as tx:
            snapshot = snapshots.find(tx, key)
            return tuple(snapshots.by_id(tx, number) for number in snapshots.chain(tx, snapshot.id))

    def numbers(self, snapshot: Snapshot) -> Chain:
        """Return the numbers of the ancestors of ``snapshot``, nearest first: what a driver is told."""
        with self._database.reading() as tx:
            return snapshots.chain(tx, snapshot.id)

    def children(self, key: str) -> tuple[Snapshot, ...]:
        """Return the snapshots whose parent ``key`` is, oldest first."""
        with self._database.reading() as tx:
            snapshot = snapshots.find(tx, key)
            rows = tx.rows("SELECT id FROM snapshots WHERE parent = ? AND state = 'ready' ORDER BY id", snapshot.id)
            return tuple(snapshots.by_id(tx, row[0]) for row in rows)

    def usage(self, key: str) -> Usage:
        """Return the space that ``key`` itself takes, its parents apart; nothing for a view of a layer."""
        with self._database.reading() as tx:
            snapshot = snapshots.find(tx, key)
            measured = tx.row("SELECT size, inodes FROM snapshots WHERE id = ? AND size IS NOT NULL", snapshot.id)
            chain = snapshots.chain(tx, snapshot.id)
        if measured:
            return Usage(measured[0], measured[1])
        if snapshot.kind is Kind.VIEW and chain:
            return Usage(0, 0)
        return self._driver.usage(snapshot.id, chain)

    def update(self, key: str, labels: Mapping[str, str], *, fieldpaths: Iterable[str] = ()) -> Snapshot:
        """Replace the labels of ``key``; with ``fieldpaths`` only what they name: ``labels`` for all, ``labels.NAME`` for one
        (deleted when ``labels`` lacks it). Raises ``ValueError`` for any other path: nothing else of a snapshot can be
        changed.
        """
        _check_labels(labels)
        paths = tuple(fieldpaths) or ("labels",)
        for path in paths:
            if path != "labels" and not (path.startswith("labels.") and len(path) > len("labels.")):
                raise ValueError(f"cannot update {path!r} of a snapshot: only labels and labels.NAME")
        with self._database.writing(durable=self._durable) as tx:
            snapshot = snapshots.find(tx, key)
            merged = dict(snapshot.labels)
            for path in paths:
                if path == "labels":
                    merged = dict(labels)
                else:
                    name = path.removeprefix("labels.")
                    merged.pop(name, None)
                    if name in labels:
                        merged[name] = labels[name]
            snapshots.set_labels(tx, snapshot.id, merged)
            tx.run("UPDATE snapshots SET updated = max(?, created + 1) WHERE id = ?", time.time_ns(), snapshot.id)
        return self.stat(key)

    def untouched_before(self, key: str) -> int:
        """Return the ctime, ns, below which whatever is in the tree of ``key`` came untouched from its parent; 0 where that
        is unknown."""
        with self._database.reading() as tx:
            row = tx.row("SELECT prepared, boot, clock_offset FROM snapshots WHERE key = ?", key)
        return self._clock.since(Mark(*row)) if row else 0

    # several operations at once ---------------------------------------------------------------------------------------

    @contextmanager
    def holding(self, key: str, *, shared: bool = False) -> Iterator[Snapshot]:
        """Yield the snapshot ``key`` while no other thread or process commits or removes it; several ``shared`` holders get on.

        Raises :class:`SnapshotNotFoundError`, and :class:`StoreBusyError` when another holder does not end in time.
        """
        snapshot = self.stat(key)
        try:
            with self._journal.locks.lock(snapshot.id, shared=shared, timeout=_PATIENCE):
                # It may have gone, or changed its kind, while we waited.
                with self._database.reading() as tx:
                    yielded = snapshots.by_id(tx, snapshot.id)
                if yielded.key != key:
                    raise SnapshotNotFoundError(key)
                yield yielded
        except TimeoutError as error:
            raise StoreBusyError(self._root, f"snapshot {key!r}", "another operation") from error

    # after a crash ----------------------------------------------------------------------------------------------------

    def replay(self, abandoned: Abandoned, intent: Intent) -> None:
        """Bring an operation whose owner died to its end: a removal forwards, everything else back. Idempotent; ends
        ``intent``."""
        with self._database.reading() as tx:
            row = tx.row(f"SELECT {snapshots.COLUMNS} FROM {snapshots.TABLE} WHERE s.id = ?", abandoned.snapshot)
        if row and (row[3] in ("preparing", "removing") or (abandoned.operation == "fork" and row[2] == Kind.ACTIVE)):
            self.finish_removal(intent, snapshots.read(row, {}))
        else:  # a commit, which is complete or never happened; or all of it is gone already
            with self._database.writing(durable=False) as tx:
                intent.end(tx)

    def condemn(self, number: int) -> None:
        """Take a snapshot out of sight that can neither be completed nor removed now; its key is free again."""
        with self._database.writing(durable=False) as tx:
            tx.run("UPDATE snapshots SET key = NULL, parent = NULL, state = 'removing' WHERE id = ?", number)
            tx.run("DELETE FROM intents WHERE snapshot = ?", number)

    def _insert(self, tx: Writer, key: str, kind: Kind, state: str, parent: str, labels: Mapping[str, str] | None) -> Snapshot:
        if tx.row("SELECT 1 FROM snapshots WHERE key = ?", key):
            raise SnapshotExistsError(key)
        above = None
        if parent:
            layer = snapshots.find(tx, parent, role="parent")
            if layer.kind is not Kind.COMMITTED:
                raise SnapshotStateError(parent, str(layer.kind), "only a committed layer can be a parent")
            above = layer.id
        now = time.time_ns()
        number = tx.insert(
            "INSERT INTO snapshots (key, kind, state, parent, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
            key,
            kind,
            state,
            above,
            now,
            now,
        )
        snapshots.set_labels(tx, number, labels)
        return snapshots.by_id(tx, number)


def _check_key(key: str) -> None:
    if not key or len(key.encode(errors="surrogateescape")) > MAX_KEY or "\0" in key:
        raise ValueError(f"a key has 1 to {MAX_KEY} bytes and no NUL: {key[:40]!r}")


def _check_labels(labels: Mapping[str, str] | None) -> None:
    for name, value in (labels or {}).items():
        if not name or len(name.encode()) + len(value.encode()) > MAX_LABEL:
            raise ValueError(
                f"label {name[:40]!r}: name and value have at most {MAX_LABEL} bytes together, and the name at least one"
            )
