"""What is left of operations whose process died, and whether the four truths of a store agree.

The truths are the records, the driver's objects (on disk or in the kernel), the mount table, and the journal. Opening a store
replays the journal; :meth:`Recovery.check` compares all four and changes nothing; :meth:`Recovery.repair` mends what it can.
"""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.errors import LaminaError
from lamina.host.process import boot_id
from lamina.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.driver import Driver
    from lamina.graph import LayerGraph
    from lamina.host import Host
    from lamina.metadata.database import Database
    from lamina.metadata.journal import Abandoned, Intent, Journal
    from lamina.mounting import Mounts

_log = logging.getLogger("lamina.recovery")


class Severity(StrEnum):
    """How bad a finding is."""

    #: Takes space or stands in the way; nothing is lost.
    LEFTOVER = "leftover"
    #: Something that was promised is not there or not what it was.
    DAMAGE = "damage"


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement between the truths of a store."""

    severity: Severity
    #: The thing, as a person would name it: ``layer sha256:…``, ``object /…``.
    subject: str
    problem: str
    cure: str
    #: Whether :meth:`Recovery.repair` mends it by itself.
    mendable: bool


@dataclass(frozen=True, slots=True)
class _Diagnosis:
    finding: Finding
    mend: Callable[[], None] | None = None


class Recovery:
    """Replays, checks and mends one store."""

    def __init__(
        self, root: Path, database: Database, journal: Journal, graph: LayerGraph, mounts: Mounts, driver: Driver, host: Host
    ) -> None:
        self._root = root
        self._database = database
        self._journal = journal
        self._graph = graph
        self._mounts = mounts
        self._driver = driver
        self._host = host
        self._take_back: Callable[[Intent], object] | None = None

    def with_taking_back(self, take_back: Callable[[Intent], object]) -> None:
        """Have ``take_back`` clear away what an operation had in hand (:meth:`Intent.lease`) whose owner died; it ends the
        intent."""
        self._take_back = take_back

    def replay(self) -> None:
        """Bring every operation whose owner died to its end. Never raises because of one that resists: that one is taken out
        of sight, logged, and left for :meth:`repair`. Costs one query where there is nothing to do."""
        with self._journal.abandoned() as abandoned:
            for one in reversed(abandoned):  # what began inside of another operation ends before that
                try:
                    self._replay(one)
                except Exception:  # noqa: BLE001  a driver may raise anything
                    _log.exception("cannot complete %s of snapshot %s left by process %d", one.operation, one.snapshot, one.pid)
                    if one.snapshot is not None and one.operation != "commit":
                        self._graph.condemn(one.snapshot)
        with self._database.reading() as tx:
            row = tx.row("SELECT boot FROM store")
        if row and row[0] != boot_id():
            self._after_boot()

    def check(self) -> list[Finding]:
        """Compare the truths and return where they disagree; nothing is changed."""
        return [diagnosis.finding for diagnosis in self._diagnose()]

    def repair(self, *, dry_run: bool = False) -> list[Finding]:
        """Mend what can be mended and return it; with ``dry_run`` only tell what that would be. Mending twice is fine."""
        mended = []
        for diagnosis in list(self._diagnose()):
            if diagnosis.mend:
                if not dry_run:
                    diagnosis.mend()
                mended.append(diagnosis.finding)
        return mended

    def _replay(self, one: Abandoned) -> None:
        if staging := one.detail.get("staging"):
            self._host.remove_tree(Path(staging))
        intent = self._journal.adopt(one)
        if one.snapshot is not None:
            self._mounts.drop(one.snapshot)
            self._graph.replay(one, intent)
        elif self._take_back:
            self._take_back(intent)

    def _after_boot(self) -> None:
        """A machine that went down may have lost what no transaction promised: compare once for each boot."""
        self._mounts.prune()
        for diagnosis in list(self._diagnose()):
            if diagnosis.mend and diagnosis.finding.severity is Severity.LEFTOVER:
                try:
                    diagnosis.mend()
                except (LaminaError, OSError):
                    _log.exception("cannot clean up %s", diagnosis.finding.subject)
        with self._database.writing() as tx:
            tx.run("UPDATE store SET boot = ?", boot_id())

    def _diagnose(self) -> Iterator[_Diagnosis]:
        for line in self._database.damage():
            yield _Diagnosis(Finding(Severity.DAMAGE, "the records", line, "restore lamina.db from a backup", mendable=False))
        # Objects before records: what was made in between has a record, what was removed is gone, and both are fine.
        objects = list(self._driver.objects())
        with self._database.reading() as tx:
            rows = tx.rows("SELECT id, key, kind, state, parent FROM snapshots")
            busy = {row[0] for row in tx.rows("SELECT snapshot FROM intents WHERE snapshot IS NOT NULL")}
        known = {row[0] for row in rows}
        for thing in objects:
            if thing.id is None:
                problem, cure = "the driver does not know what this is", "remove it by hand if you do not need it"
                yield _Diagnosis(Finding(Severity.LEFTOVER, f"object {thing.location}", problem, cure, mendable=False))
            elif thing.id not in known:
                yield self._leftover(f"object {thing.location}", thing.id, "no record explains it")
        present = {thing.id for thing in objects if thing.whole}
        for number, key, kind, state, parent in rows:
            if number in busy:
                continue
            if state != "ready":
                yield self._leftover(
                    f"snapshot #{number}", number, f"its {'removal' if state == 'removing' else 'making'} never ended"
                )
            elif number not in present and not (kind == Kind.VIEW and parent is not None):
                cure = "remove what is built on it, then it, and load it again"
                yield _Diagnosis(Finding(Severity.DAMAGE, f"{kind} {key}", "its data are gone", cure, mendable=False))
        yield from self._mounts_without_owner(known)
        yield from self._mounts_without_server()

    def _leftover(self, subject: str, number: int, problem: str) -> _Diagnosis:
        def mend() -> None:
            self._mounts.drop(number)
            self._driver.remove(number)
            with self._database.writing(durable=False) as tx:
                tx.run("DELETE FROM snapshots WHERE id = ? AND state <> 'ready'", number)

        return _Diagnosis(Finding(Severity.LEFTOVER, subject, problem, "run `lamina store repair`", mendable=True), mend)

    def _mounts_without_owner(self, known: set[int]) -> Iterator[_Diagnosis]:
        home = str(self._root / "mnt")
        for entry in self._host.mount_table():
            place = Path(entry.target)
            if str(place.parent) == home and not (place.name.isdecimal() and int(place.name) in known):
                finding = Finding(
                    Severity.LEFTOVER, f"mount {place}", "no record explains it", "run `lamina store repair`", mendable=True
                )
                yield _Diagnosis(finding, partial(self._host.unmount, place, detach=True))

    def _mounts_without_server(self) -> Iterator[_Diagnosis]:
        """Find the mounts of the store whose program, if they have one (FUSE), was killed."""
        with self._database.reading() as tx:
            owners: dict[str, int] = dict(tx.rows("SELECT target, snapshot FROM mounts"))
        for entry in self._host.mount_table():
            if entry.target in owners and entry.type.startswith("fuse.") and not _answers(entry.target):
                cure = "run `lamina store repair`, then mount it again"
                finding = Finding(
                    Severity.LEFTOVER, f"mount {entry.target}", "the program that served it has ended", cure, mendable=True
                )
                yield _Diagnosis(finding, partial(self._mounts.drop, owners[entry.target]))


def _answers(place: str) -> bool:
    try:
        os.statvfs(place)  # what stat(2) tells may be remembered by the kernel
    except OSError as error:
        return error.errno != errno.ENOTCONN
    return True
