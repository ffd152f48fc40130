"""Layers as content: unpacking OCI layer streams into the graph, and telling what a snapshot changed.

Layers that come through here are named by their chain id, so the same stack of content is stored once however often and under
whatever names it arrives.
"""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from lamina.diff.apply import ApplyOptions, apply
from lamina.diff.compression import decompressed
from lamina.diff.digests import Digester, DigestingWriter
from lamina.diff.pack import pack
from lamina.diff.streams import NullWriter
from lamina.diff.walk import changes_of
from lamina.driver import DirectApply, Encoding, NativeDiff
from lamina.errors import DigestMismatchError, SnapshotExistsError, SnapshotStateError, UnsupportedError
from lamina.model import Kind

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator

    from lamina.diff import Limits
    from lamina.diff.streams import Readable, Writable
    from lamina.driver import Driver, Touched
    from lamina.graph import LayerGraph
    from lamina.host import Host
    from lamina.metadata.database import Database
    from lamina.metadata.journal import Intent, Journal
    from lamina.model import Change, Snapshot

#: Locks of layers being unpacked start here in the lock file, one byte for each 40-bit prefix of a chain id.
_FIRST_CHAIN: Final = 1 << 41


@dataclass(frozen=True, slots=True)
class Diff:
    """What a canonical layer stream that was written holds."""

    #: ``sha256:…`` of the uncompressed stream.
    diff_id: str
    #: Bytes of the uncompressed stream.
    size: int
    entries: int


def chain_id(parent: str, diff_id: str) -> str:
    """Return the name of the layer that ``diff_id`` makes on top of the layer ``parent`` (empty for nothing).

    The chain id of image-spec config.md, "Layer ChainID", where ``parent`` is one; a name of the same form elsewhere.
    """
    return f"sha256:{sha256(f'{parent} {diff_id}'.encode()).hexdigest()}" if parent else diff_id


class Layers:
    """The content of the snapshots of one store."""

    def __init__(
        self, database: Database, journal: Journal, graph: LayerGraph, host: Host, driver: Driver, limits: Limits
    ) -> None:
        self._database = database
        self._journal = journal
        self._graph = graph
        self._host = host
        self._driver = driver
        self._limits = limits

    def list(self) -> tuple[Snapshot, ...]:
        """Return all layers, parents before children."""
        return tuple(self._graph.walk("kind==committed"))

    def apply(
        self,
        source: Readable,
        *,
        parent: str = "",
        diff_id: str = "",
        intent: Intent | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Snapshot:
        """Unpack a layer stream, compressed or not, on top of ``parent`` and return the layer it makes.

        ``source`` is read to its end, and is believed only when that was reached without an error. With ``diff_id`` the
        uncompressed stream must have that digest, and a layer that the store has already is returned without reading
        anything. ``intent`` keeps the layer from being collected until it ends. ``progress`` is told the bytes of each piece
        of the uncompressed stream. Nothing becomes visible unless all went well.

        Raises :class:`lamina.errors.ArchiveError` for a bad stream, and what :meth:`LayerGraph.prepare` raises.
        """
        if not diff_id:
            return self._unpack(source, parent, "", intent, progress)
        name = chain_id(parent, diff_id)
        # Two loads of one layer at once: the second waits, and finds it there.
        with self._journal.locks.lock(_FIRST_CHAIN + int(name[7:17], 16)):
            existing = self._lease(name, intent)
            return existing or self._unpack(source, parent, diff_id, intent, progress)

    def changes(self, key: str, *, against: str | None = None) -> Iterator[Change]:
        """Yield what ``key`` changed relative to its parent, or to any other snapshot ``against``, in canonical order.

        Costs what changed, not what exists, where the driver can tell (:class:`lamina.driver.NativeDiff`).
        """
        with self._graph.holding(key, shared=True) as snapshot, ExitStack() as stack:
            yield from self._compare(stack, snapshot, snapshot.parent if against is None else against)[1]

    def diff(self, key: str, sink: Writable, *, against: str | None = None) -> Diff:
        """Write the canonical layer stream, uncompressed, that turns the parent (or ``against``) into ``key``.

        For equal trees the bytes are equal, whichever driver holds them. ``sink`` is not closed.
        Raises :class:`lamina.errors.UnrepresentableError` for a tree that no layer can express.
        """
        with self._graph.holding(key, shared=True) as snapshot:
            return self._diff(snapshot, sink, snapshot.parent if against is None else against)

    def commit(self, key: str, sink: Writable | None = None, *, intent: Intent | None = None) -> tuple[Snapshot, Diff]:
        """Turn the active snapshot ``key`` into a layer named by its chain id, without copying anything; write its stream to
        ``sink``.

        A layer that exists already under this name is returned instead, and ``key`` is gone all the same. The snapshot must
        not be written to meanwhile. ``intent`` keeps the layer from being collected until it ends.
        """
        with self._graph.holding(key) as snapshot, self._journal.intent() as work:
            if snapshot.kind is not Kind.ACTIVE:
                raise SnapshotStateError(key, str(snapshot.kind), "only an active snapshot can be committed")
            diff = self._diff(snapshot, sink or NullWriter(), snapshot.parent)
            name = chain_id(snapshot.parent, diff.diff_id)
            with self._database.writing(durable=False) as tx:
                work.begin(tx, "commit", snapshot=snapshot.id, detail={"name": name})
            try:
                self._graph.publish(work, snapshot, name, diff_id=diff.diff_id, lease=intent)
            except BaseException as error:
                with self._database.writing(durable=False) as tx:
                    work.end(tx)
                if not isinstance(error, SnapshotExistsError) or not self._lease(name, intent):
                    raise
        if self._graph.exists(key):
            self._graph.remove(key)
        return self._graph.stat(name), diff

    def _lease(self, name: str, intent: Intent | None) -> Snapshot | None:
        """Return the layer ``name`` if the store has it, kept from collection in the transaction that found it."""
        with self._database.writing(durable=False) as tx:
            row = tx.row("SELECT id FROM snapshots WHERE key = ? AND state = 'ready'", name)
            if row and intent:
                intent.lease(tx, "snapshot", str(row[0]))
        return self._graph.stat(name) if row else None

    def _unpack(
        self, source: Readable, parent: str, diff_id: str, intent: Intent | None, progress: Callable[[int], None] | None
    ) -> Snapshot:
        with self._journal.intent() as work:
            snapshot = self._graph.begin(work, "apply", f"unpack/{uuid.uuid4().hex}", parent)
            try:
                found = self._fill(snapshot, source, progress, diff_id)
                if diff_id and found != diff_id:
                    raise DigestMismatchError("the uncompressed layer", diff_id, found)
                name = chain_id(parent, found)
                self._graph.publish(work, snapshot, name, diff_id=found, lease=intent)
            except SnapshotExistsError as error:  # made by another since we looked
                self._graph.discard(work, snapshot)
                if existing := self._lease(error.key, intent):
                    return existing
                raise
            except BaseException:
                if work.id:
                    self._graph.discard(work, snapshot)
                raise
        return self._graph.stat(name)

    def _fill(self, snapshot: Snapshot, source: Readable, progress: Callable[[int], None] | None, diff_id: str) -> str:
        """Unpack ``source`` into a snapshot that was just prepared and return its diff id: ``diff_id``, if that is known."""
        chain = self._graph.numbers(snapshot)
        with ExitStack() as stack:
            encoding = Encoding.PLAIN
            below: int | None = None
            if isinstance(self._driver, DirectApply):
                target = self._driver.apply_target(snapshot.id, chain)
                encoding = target.encoding
                tree = os.open(target.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                stack.callback(os.close, tree)
                if chain and encoding is not Encoding.PLAIN:
                    below = self._open(stack, snapshot.parent)
            else:
                tree = self._host.open_mounts(self._driver.mounts(snapshot.id, chain, writable=True))
                stack.callback(os.close, tree)
            digester = Digester()
            label = f"layer {diff_id}" if diff_id else "archive"
            stream = stack.enter_context(decompressed(source, self._limits, digester=digester, label=label))
            options = ApplyOptions(
                encoding=encoding,
                lower=below,
                has_parent=bool(chain),
                limits=self._limits,
                may_lack_end=bool(diff_id),
                progress=progress,
            )
            apply(stream, tree, options)
            return digester.digest

    def _diff(self, snapshot: Snapshot, sink: Writable, base: str) -> Diff:
        with ExitStack() as stack:
            tree, changes = self._compare(stack, snapshot, base)
            writer = DigestingWriter(sink)
            packed = pack(changes, tree, writer)
            return Diff(writer.digest, writer.size, packed.entries)

    def _compare(self, stack: ExitStack, snapshot: Snapshot, base: str) -> tuple[int, Iterator[Change]]:
        """Return the opened tree of ``snapshot`` and how it differs from ``base``; ``stack`` holds what they need."""
        tree = self._open(stack, snapshot.key)
        below = self._open(stack, base) if base else None
        direct = base == snapshot.parent
        touched = self._touched(snapshot) if direct and base else None
        since = self._graph.untouched_before(snapshot.key) if direct else 0
        return tree, changes_of(below, tree, touched, since=since)

    def _touched(self, snapshot: Snapshot) -> builtins.list[Touched] | None:
        """Return the driver's own answer to what may have changed, or None where it has none."""
        if not isinstance(self._driver, NativeDiff) or snapshot.kind is Kind.VIEW:
            return None
        try:
            return [*self._driver.touched(snapshot.id, self._graph.numbers(snapshot))]
        except UnsupportedError:
            return None

    def _open(self, stack: ExitStack, key: str) -> int:
        tree = self._host.open_mounts(self._graph.tree(key))
        stack.callback(os.close, tree)
        return tree
