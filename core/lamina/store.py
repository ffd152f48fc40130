"""The door: opening a store, and the objects that it consists of."""

from __future__ import annotations

import json
import os
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self, cast

from lamina import plugins as plugin_loading
from lamina.backing import Backing
from lamina.config import default_root, parse_options
from lamina.diff import Limits
from lamina.driver import LoopBacked
from lamina.errors import (
    ConfigError,
    DriverUnavailableError,
    ImageNotFoundError,
    StoreBusyError,
    StoreDriverError,
    StoreNotFoundError,
    UnsupportedError,
)
from lamina.graph import LayerGraph
from lamina.host.kernel import KernelHost
from lamina.host.locks import LockFile
from lamina.host.process import boot_id
from lamina.image.containers import Containers
from lamina.image.images import Images
from lamina.layers import Layers
from lamina.metadata.database import Database
from lamina.metadata.journal import Journal
from lamina.model import Capability, Durability
from lamina.mounting import Mounts
from lamina.recovery import Recovery
from lamina.usage import account
from lamina.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from _typeshed import DataclassInstance

    from lamina.driver import Driver
    from lamina.host import Host
    from lamina.image.clearing import Collected
    from lamina.image.image import Image
    from lamina.model import Snapshot
    from lamina.plugins import Plugins
    from lamina.recovery import Finding
    from lamina.usage import StoreUsage

#: The byte of the lock file that is held while a store is being made.
_CREATION: Final = 0


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What ``lamina store info`` shows."""

    root: Path
    driver: str
    options: Mapping[str, object]
    durability: Durability
    #: The one that the layers are on.
    filesystem: str
    #: Bytes that may still be allocated.
    free: int
    snapshots: Mapping[str, int]
    images: int
    containers: int


def open(
    root: Path | str | None = None,
    *,
    driver: str = "auto",
    options: Mapping[str, str] = MappingProxyType({}),
    durability: Durability | str | None = None,
    loop: int = 0,
    limits: Limits | None = None,
    create: bool = True,
    plugins: Plugins | None = None,
) -> Store:
    """Open the store in the directory ``root``, or make one there.

    ``driver`` is that of a new store: ``auto`` takes the best that its probe proves to work there. A store keeps its driver;
    opening it with another name raises :class:`StoreDriverError`. ``options`` are the driver's, as text. ``durability`` is
    that of a new store, ``full`` unless said otherwise. ``loop`` is the size in bytes of a sparse file in which a new store's
    storage is made, for drivers that need a filesystem of their own. Without ``root`` it is ``/var/lib/lamina``, or below
    ``$XDG_DATA_HOME`` for a user who is not root.

    What dead processes left half done is completed or taken back. Raises :class:`StoreNotFoundError` (with ``create=False``),
    :class:`DriverUnavailableError` naming what is missing, :class:`lamina.errors.DriverNotFoundError`, and the other store
    errors.
    """
    home = Path(os.path.abspath(root if root is not None else default_root()))
    if not create and not (home / "lamina.db").exists():
        raise StoreNotFoundError(home)
    found = plugins or plugin_loading.load()
    host = KernelHost()
    with ExitStack() as undo:
        for directory in (home, *(home / name for name in ("driver", "blobs", "staging", "mnt"))):
            _make_directory(directory, undo)
        database = Database(home / "lamina.db")
        undo.callback(database.close)
        locks = LockFile(home / "lock")
        backing = Backing(home, host)
        record = _record(database, home)
        if record is None:
            if loop:
                if driver == "auto":
                    raise ConfigError("--loop", "storage is made for one driver: name it with --driver")
                kind = _loop_backed(found.driver(driver))
                undo.callback(_take_back, database, home, locks, backing, kind)
                with locks.lock(_CREATION):
                    backing.make(kind, loop)
            name = _choose_driver(host, home / "driver", found, driver, options)
            wanted = _Record(name, dict(options), Durability(durability or Durability.FULL))
            with locks.lock(_CREATION):
                record = _record(database, home) or _create(home, wanted)
        if driver not in ("auto", record.driver):
            found.driver(driver)  # a name that nobody knows is another mistake
            raise StoreDriverError(home, record.driver, driver)
        if backing.exists:
            with locks.lock(_CREATION):
                backing.attach(_loop_backed(found.driver(record.driver)))
        store = Store(home, host, found, database, Journal(database, locks), record, options, limits or Limits())
        store.recovery.replay()
        undo.pop_all()
    return store


def _loop_backed(kind: type[Driver]) -> type[LoopBacked]:
    """Return ``kind`` if its storage can be in a file. Raises :class:`UnsupportedError`."""
    if not issubclass(kind, LoopBacked):
        raise UnsupportedError(kind.name, "storage in a file: leave --loop out")
    return kind


def _take_back(database: Database, home: Path, locks: LockFile, backing: Backing, kind: type[LoopBacked]) -> None:
    """Remove storage that no store came to use."""
    with locks.lock(_CREATION):
        if backing.exists and _record(database, home) is None:
            backing.remove(kind)


def _make_directory(directory: Path, undo: ExitStack) -> None:
    """Make a private directory, and those above it, where there is none; ``undo`` takes back what was made here."""
    if directory.is_dir():
        return
    _make_directory(directory.parent, undo)
    directory.mkdir(mode=0o700, exist_ok=True)
    undo.callback(_remove_if_empty, directory)


def _remove_if_empty(directory: Path) -> None:
    with suppress(OSError):  # another process may be making its store there
        directory.rmdir()


@dataclass(frozen=True, slots=True)
class _Record:
    driver: str
    options: Mapping[str, str]
    durability: Durability


def _record(database: Database, home: Path) -> _Record | None:
    """Return what the store says of itself, or None where there is no store yet."""
    if not (home / "lamina.db").exists():
        return None
    database.verify()
    with database.reading() as tx:
        row = tx.row("SELECT driver, options, durability FROM store")
    return _Record(row[0], json.loads(row[1]), Durability(row[2])) if row else None


def _choose_driver(host: Host, place: Path, plugins: Plugins, name: str, options: Mapping[str, str]) -> str:
    """Return the driver for a new store: the best that works at ``place``, or the one that was asked for, if it works."""
    if name == "auto":
        if options:
            raise ConfigError("options", f"{', '.join(options)} belong to one driver: name it with --driver")
        return plugins.choose(host, place, {each: parse_options(kind, {}) for each, kind in plugins.drivers.items()}).driver
    kind = plugins.driver(name)
    report = kind.probe(host, place, parse_options(kind, options))
    for failure in report.failures:
        raise DriverUnavailableError(name, f"{failure.name}: {failure.evidence}", failure.remedy)
    return name


def _create(home: Path, record: _Record) -> _Record:
    """Make the records of a new store: under another name first, so that ``lamina.db`` is whole whenever somebody sees it."""
    new = home / "lamina.db.new"
    for left in home.glob("lamina.db.new*"):
        left.unlink()
    database = Database(new)
    try:
        database.create()
        with database.writing() as tx:
            values = (record.driver, json.dumps(dict(record.options)), record.durability, boot_id(), time.time_ns())
            tx.run("INSERT INTO store VALUES (1, ?, ?, ?, ?, ?)", *values)
    finally:
        database.close()
    new.rename(home / "lamina.db")
    directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return record


class Store:
    """Layers, images and containers in one directory, on one driver. A context manager; safe to use from several threads."""

    def __init__(
        self,
        root: Path,
        host: Host,
        plugins: Plugins,
        database: Database,
        journal: Journal,
        record: _Record,
        options: Mapping[str, str],
        limits: Limits,
    ) -> None:
        kind = plugins.driver(record.driver)
        home = root / "driver" / record.driver
        home.mkdir(mode=0o700, exist_ok=True)
        self.root = root
        self.driver: Driver = kind(host, home, parse_options(kind, {**record.options, **options}))
        self.durability = record.durability
        durable = record.durability is Durability.FULL
        #: The layer graph, for those who want containerd's operations themselves.
        self.graph = LayerGraph(root, database, journal, self.driver, plugins.bind(self.driver, root), durable=durable)
        self.mounts = Mounts(root, database, self.graph, host)
        self.layers = Layers(database, journal, self.graph, host, self.driver, limits)
        self.recovery = Recovery(root, database, journal, self.graph, self.mounts, self.driver, host)
        self.images = Images(root, database, journal, self.graph, self.layers, host, limits, durable=durable)
        self.containers = Containers(database, journal, self.graph, self.layers, self.mounts, self.images, durable=durable)
        self.recovery.with_taking_back(self.images.take_back)
        self._host = host
        self._database = database
        self._journal = journal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything held in this process; mounts and snapshots stay. Closing twice is fine."""
        self.driver.close()
        self._database.close()

    @contextmanager
    def fork(self, base: str = "") -> Iterator[Work]:
        """Yield a writable, mounted directory that shows an image (name or digest) or a layer (key), or nothing yet. When the
        block ends it is gone, with all that was written, unless :meth:`Work.commit` was called; also when this process is
        killed, from the next opening of the store on.

        Raises :class:`ImageNotFoundError` for what is neither.
        """
        image = self.images.find(base) if base else None
        if base and not image and not self.graph.exists(base):
            raise ImageNotFoundError(base)
        parent = image.layer if image else base
        key = f"fork/{uuid.uuid4().hex}"
        with self._journal.intent() as intent:
            snapshot = self.graph.begin(intent, "fork", key, parent)
            try:
                self.graph.show(snapshot)
                path = self.mounts.mount(key)
                yield Work(key, path, self.layers, lambda tag: self._commit(key, tag, image))
            finally:
                self.mounts.drop(snapshot.id)
                self.graph.finish(intent, snapshot)

    def check(self, *, deep: bool = False) -> list[Finding]:
        """Compare records, objects on disk, mount table and blobs, and return where they disagree. ``deep`` reads every blob."""
        return self.recovery.check() + self.images.check(deep=deep)

    def repair(self, *, dry_run: bool = False) -> list[Finding]:
        """Mend what can be mended and return it; with ``dry_run`` only tell."""
        return self.recovery.repair(dry_run=dry_run)

    def gc(self) -> Collected:
        """Clear away images without a name, and the layers and blobs that nothing leads to."""
        return self.images.collect()

    def usage(self) -> StoreUsage:
        """Return where the space goes."""
        return account(self._database, self.graph, shares_data=Capability.SHARED_DATA in self.driver.capabilities)

    def destroy(self, *, force: bool = False) -> None:
        """Close the store and remove it with all that is in it, the storage in a file included.

        Raises :class:`StoreBusyError`, naming the mount, while a snapshot is mounted, unless ``force`` is given: those mounts
        are taken away from under whoever uses them.
        """
        for snapshot in self.graph.walk():
            if force:
                self.mounts.drop(snapshot.id)
            elif mounted := self.mounts.mounted(snapshot.key):
                raise StoreBusyError(self.root, f"the store {self.root}", f"the mount {mounted[0]}")
        # Children have higher numbers than their parents.
        for number in sorted({thing.id for thing in self.driver.objects() if thing.id is not None}, reverse=True):
            self.driver.remove(number)
        self.close()
        backing = Backing(self.root, self._host)
        if backing.exists:
            backing.remove(_loop_backed(type(self.driver)))
        # The records go last: until then it is a store, and can be destroyed again.
        for name in ("driver", "blobs", "staging", "mnt", "clock", "lamina.db-wal", "lamina.db-shm", "lamina.db", "lock"):
            self._host.remove_tree(self.root / name)
        _remove_if_empty(self.root)

    def info(self) -> StoreInfo:
        """Return what this store is and holds, at a cost that does not grow with it by more than a count."""
        with self._database.reading() as tx:
            kinds: dict[str, int] = dict(tx.rows("SELECT kind, count(*) FROM snapshots WHERE state = 'ready' GROUP BY kind"))
            images, containers = tx.rows("SELECT count(*) FROM images UNION ALL SELECT count(*) FROM containers")
        filesystem = self._host.filesystem(self.driver.root)
        return StoreInfo(
            root=self.root,
            driver=self.driver.name,
            options=asdict(cast("DataclassInstance", self.driver.options)),
            durability=self.durability,
            filesystem=filesystem.type,
            free=filesystem.free,
            snapshots=kinds,
            images=images[0],
            containers=containers[0],
        )

    def _commit(self, key: str, tag: str, base: Image | None) -> Snapshot:
        if tag:
            self.images.check_free(tag)
        self.mounts.unmount(key)
        if not tag:
            return self.layers.commit(key)[0]
        return self.graph.stat(self.images.commit(key, tag, base=base).layer)
