"""Where snapshots are mounted: performed by the host, remembered in the records, believed from the kernel's mount table alone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.errors import MountBusyError, SnapshotStateError
from lamina.host.process import boot_id
from lamina.model import Kind, Mount

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.graph import LayerGraph
    from lamina.host import Host
    from lamina.metadata.database import Database, Reader


class Mounts:
    """The mounts of one store."""

    def __init__(self, root: Path, database: Database, graph: LayerGraph, host: Host) -> None:
        self._home = root / "mnt"
        self._database = database
        self._graph = graph
        self._host = host
        graph.add_users(self._users, may_write=True)

    def mount(self, key: str, target: Path | None = None) -> Path:
        """Mount an active snapshot (writable), a view or a layer (read-only) and return where.

        Without ``target``, an existing directory, the place is the store's own; asking again there is fine and returns the
        same path. A snapshot that is mounted already is shown at further targets by binding: the same tree, not a second look
        at its parts.

        Raises :class:`lamina.errors.SnapshotNotFoundError`, :class:`MountBusyError` (something else is mounted at ``target``) and
        :class:`lamina.errors.MountFailedError`.
        """
        with self._graph.holding(key) as snapshot:
            place = self._home / str(snapshot.id) if target is None else Path(os.path.realpath(target))
            present = self._targets(snapshot.id)
            if place in present:
                return place
            if any(entry.target == str(place) for entry in self._host.mount_table()):
                raise MountBusyError(str(place), ("another mount",))
            if target is None:
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if snapshot.kind is Kind.COMMITTED:
                mounts = self._graph.tree(key)
            elif present:
                mounts = (Mount("bind", str(present[0])),)
            else:
                mounts = self._graph.mounts(key)
            with self._database.writing(durable=False) as tx:  # before the mount: none without a record that explains it
                tx.run("INSERT OR REPLACE INTO mounts VALUES (?, ?, ?, ?)", str(place), snapshot.id, boot_id(), time.time_ns())
            try:
                self._host.mount(mounts, place)
            except BaseException:
                self._forget(place)
                raise
        return place

    def unmount(self, key: str, target: Path | None = None) -> None:
        """Unmount ``key`` at ``target``, or everywhere.

        Raises :class:`lamina.errors.SnapshotNotFoundError`, :class:`SnapshotStateError` (not mounted, there), and
        :class:`MountBusyError` naming the processes that use it.
        """
        with self._graph.holding(key) as snapshot:
            present = self._targets(snapshot.id)
            places = present if target is None else [Path(os.path.realpath(target))]
            if not places or any(place not in present for place in places):
                where = "" if target is None else f" at {target}"
                raise SnapshotStateError(key, str(snapshot.kind), f"it is not mounted{where}")
            for place in reversed(places):  # what was bound goes before what it was bound from
                self._host.unmount(place)
                self._forget(place)

    def mounted(self, key: str) -> tuple[Path, ...]:
        """Return where ``key`` is mounted now, oldest first."""
        return tuple(self._targets(self._graph.stat(key).id))

    def drop(self, number: int) -> None:
        """Unmount a snapshot, by number, from everywhere, also while in use: for what a dead process left."""
        for place in reversed(self._targets(number)):
            self._host.unmount(place, detach=True)
        with self._database.reading() as tx:
            remembered = [Path(row[0]) for row in tx.rows("SELECT target FROM mounts WHERE snapshot = ?", number)]
        for place in remembered:
            self._forget(place)

    def prune(self) -> None:
        """Forget the mounts that the kernel no longer has."""
        there = {entry.target for entry in self._host.mount_table()}
        with self._database.reading() as tx:
            gone = [Path(row[0]) for row in tx.rows("SELECT target FROM mounts") if row[0] not in there]
        for place in gone:
            self._forget(place)

    def _forget(self, place: Path) -> None:
        with self._database.writing(durable=False) as tx:
            tx.run("DELETE FROM mounts WHERE target = ?", str(place))
        if place.parent == self._home and place.exists():
            place.rmdir()  # never more than rmdir: had the unmount failed, it would be somebody's data

    def _targets(self, number: int) -> list[Path]:
        with self._database.reading() as tx:
            return self._mounted(tx, number)

    def _mounted(self, tx: Reader, number: int) -> list[Path]:
        remembered = tx.rows("SELECT target FROM mounts WHERE snapshot = ? ORDER BY created", number)
        if not remembered:
            return []
        there = {entry.target for entry in self._host.mount_table()}
        return [Path(target) for (target,) in remembered if target in there]

    def _users(self, tx: Reader, number: int) -> Iterable[str]:
        return [f"mount {place}" for place in self._mounted(tx, number)]
