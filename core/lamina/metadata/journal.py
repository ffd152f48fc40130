"""Intents: what is under way, written down before it begins and struck out in the transaction that completes it.

While an operation runs its process holds a lock on the byte of its intent (:data:`FIRST_INTENT` plus the intent's number).
The kernel lets go of that lock when the process ends, however it ends; so whoever gets the lock knows that the owner is dead,
in any process namespace and without trusting process numbers. Those are recorded too, for people to read.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lamina.host.process import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lamina.host.locks import HeldLock, LockFile
    from lamina.metadata.database import Database, Writer

#: Bytes of the lock file below this belong to snapshots, by their number; those from here on to intents.
FIRST_INTENT: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Abandoned:
    """An intent whose owner died before it was struck out. It is ours to replay: we hold its lock."""

    id: int
    operation: str
    snapshot: int | None
    detail: Mapping[str, str]
    pid: int


class Intent:
    """One operation under way; made by :meth:`Journal.intent`."""

    __slots__ = ("_journal", "_lock", "id")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock: HeldLock | None = None
        #: Number in the journal; 0 before :meth:`begin` and after :meth:`end`.
        self.id = 0

    def begin(self, tx: Writer, operation: str, *, snapshot: int | None = None, detail: Mapping[str, str] | None = None) -> None:
        """Write the intent down as part of ``tx``."""
        row = (operation, snapshot, json.dumps(dict(detail or {})), os.getpid(), time.time_ns(), boot_id())
        self.id = tx.insert(
            "INSERT INTO intents (operation, snapshot, detail, pid, started, boot) VALUES (?, ?, ?, ?, ?, ?)", *row
        )
        # Taken before the transaction makes the row visible: no opener ever sees it unlocked while we live.
        self._lock = self._journal.locks.try_lock(FIRST_INTENT + self.id)

    def lease(self, tx: Writer, kind: str, item: str) -> None:
        """Keep a ``snapshot`` (by number) or a ``blob`` (by digest) from being collected until the intent ends."""
        tx.run("INSERT OR IGNORE INTO leases (intent, kind, item) VALUES (?, ?, ?)", self.id, kind, item)

    def end(self, tx: Writer) -> None:
        """Strike the intent out as part of ``tx``, with its leases."""
        tx.run("DELETE FROM intents WHERE id = ?", self.id)
        self.id = 0

    def release(self) -> None:
        """Let go of the lock: a row that is still there is from now on anybody's to replay."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class Journal:
    """The intents of one store."""

    def __init__(self, database: Database, locks: LockFile) -> None:
        self._database = database
        self.locks = locks

    @contextmanager
    def intent(self) -> Iterator[Intent]:
        """Yield an intent to begin and to end inside transactions. A block that is left without ending it leaves it for
        replay."""
        intent = Intent(self)
        try:
            yield intent
        finally:
            intent.release()

    def adopt(self, abandoned: Abandoned) -> Intent:
        """Return a dead owner's intent, to be ended by whoever replays it inside :meth:`abandoned`."""
        intent = Intent(self)
        intent.id = abandoned.id
        return intent

    @contextmanager
    def abandoned(self) -> Iterator[list[Abandoned]]:
        """Yield the intents of dead owners, oldest first; nobody else replays them inside the block."""
        with self._database.reading() as tx:
            rows = tx.rows("SELECT id, operation, snapshot, detail, pid FROM intents ORDER BY id")
        held: list[HeldLock] = []
        found: list[Abandoned] = []
        try:
            for number, operation, snapshot, detail, pid in rows:
                if lock := self.locks.try_lock(FIRST_INTENT + number):
                    held.append(lock)
                    found.append(Abandoned(number, operation, snapshot, json.loads(detail), pid))
            yield found
        finally:
            for lock in held:
                lock.release()
