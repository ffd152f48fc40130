"""The containers of a store: what ``lamina container`` does. A container is a writable snapshot on top of an image."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from lamina.errors import (
    ContainerExistsError,
    ContainerNotFoundError,
    ContainerStateError,
    ImageNotFoundError,
    InvalidReferenceError,
)
from lamina.image.commit import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lamina.diff.streams import Writable
    from lamina.graph import LayerGraph
    from lamina.image.image import Image
    from lamina.image.images import Images
    from lamina.layers import Diff, Layers
    from lamina.metadata.database import Database
    from lamina.metadata.journal import Journal
    from lamina.model import Change
    from lamina.mounting import Mounts

#: As Docker has it; no slash, no dot in front, so that it could be a file name anywhere.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_ID_START: Final = re.compile(r"[0-9a-f]{4,32}", re.ASCII)
_ROW: Final = (
    "SELECT c.id, c.name, c.image, c.image_name, s.key, c.created FROM containers c JOIN snapshots s ON s.id = c.snapshot"
)


@dataclass(frozen=True, slots=True)
class Container:
    """A container."""

    #: 32 hexadecimal digits, of which people see 12.
    id: str
    name: str
    #: Manifest digest of its image, and what the user called that.
    image: str
    image_name: str
    #: Key of its snapshot in the graph.
    snapshot: str
    created: datetime
    #: Where it is mounted now, oldest first.
    mounted_at: tuple[Path, ...]


class Containers:
    """The containers of one store. Wherever a ``name`` is asked for, the id or a beginning of it does too."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        graph: LayerGraph,
        layers: Layers,
        mounts: Mounts,
        images: Images,
        *,
        durable: bool,
    ) -> None:
        self._database = database
        self._journal = journal
        self._graph = graph
        self._layers = layers
        self._mounts = mounts
        self._images = images
        self._durable = durable

    def create(self, image: str, *, name: str = "") -> Container:
        """Make a container from an image; without a name it is called by the first 12 digits of its id.

        Costs the same whatever the image holds, on drivers that share data. Raises :class:`lamina.errors.ImageNotFoundError`,
        :class:`ContainerExistsError` and :class:`InvalidReferenceError` (a name that cannot be one).
        """
        base = self._images.get(image)
        id = uuid4().hex
        name = name or id[:12]
        if not _NAME.fullmatch(name):
            raise InvalidReferenceError(name, "a container's name is up to 128 letters, digits, '_', '.' and '-'")
        with self._journal.intent() as intent:
            # "fork": until a record needs the snapshot it goes with the intent, however that ends
            snapshot = self._graph.begin(intent, "fork", f"container/{id}", base.layer)
            try:
                self._graph.show(snapshot)
                with self._database.writing(durable=self._durable) as tx:
                    if tx.row("SELECT 1 FROM containers WHERE name = ?", name):
                        raise ContainerExistsError(name)
                    if not tx.row("SELECT 1 FROM images WHERE digest = ?", base.digest):
                        raise ImageNotFoundError(image)  # removed since we looked
                    tx.run(
                        "INSERT INTO containers (id, name, image, image_name, snapshot, created) VALUES (?, ?, ?, ?, ?, ?)",
                        *(id, name, base.digest, image, snapshot.id, time.time_ns()),
                    )
                    intent.end(tx)
            except BaseException:
                self._graph.finish(intent, snapshot)
                raise
        return self.get(id)

    def mount(self, name: str, target: Path | None = None) -> Path:
        """Mount the tree, writable, and return where; see :meth:`lamina.mounting.Mounts.mount`."""
        return self._mounts.mount(self.get(name).snapshot, target)

    def unmount(self, name: str) -> None:
        """Unmount the tree from everywhere; what was written stays.

        Raises :class:`ContainerStateError` when it is not mounted, and :class:`lamina.errors.MountBusyError` naming processes.
        """
        container = self.get(name)
        if not container.mounted_at:
            raise ContainerStateError(container.name, f"container {container.name!r} is not mounted: mount it first")
        self._mounts.unmount(container.snapshot)

    def changes(self, name: str) -> Iterator[Change]:
        """Yield what differs from the image, in canonical order. Nothing should write to the tree meanwhile."""
        yield from self._layers.changes(self.get(name).snapshot)

    def diff(self, name: str, sink: Writable) -> Diff:
        """Write what differs from the image as a canonical OCI layer, an uncompressed tar; equal changes give equal bytes."""
        return self._layers.diff(self.get(name).snapshot, sink)

    def commit(
        self, name: str, tag: str, *, message: str = "", author: str = "", changes: Mapping[str, object] | None = None
    ) -> Image:
        """Make the image ``tag`` of the container's image and what differs from it; the container stays as it is.

        The new image shares all layers of the old one and has its settings, but for ``changes``: members of the ``config`` object
        of the image specification, as :meth:`lamina.image.config.ImageConfig.child` takes them. No difference adds no layer.
        Raises :class:`lamina.errors.ImageExistsError`, :class:`lamina.errors.ManifestError` (members that cannot be) and
        :class:`lamina.errors.UnrepresentableError`.
        """
        container = self.get(name)
        step = Step("lamina container commit", message, author, changes or {})
        return self._images.commit(container.snapshot, tag, base=self._images.get(container.image), step=step, keep=True)

    def list(self) -> tuple[Container, ...]:
        """Return all containers, oldest first."""
        with self._database.reading() as tx:
            rows = tx.rows(f"{_ROW} ORDER BY c.created, c.id")
        return tuple(self._container(row) for row in rows)

    def get(self, name: str) -> Container:
        """Return one container. Raises :class:`ContainerNotFoundError`, also for a beginning of several ids."""
        with self._database.reading() as tx:
            rows = tx.rows(f"{_ROW} WHERE c.name = ?", name)
            if not rows and _ID_START.fullmatch(name):
                rows = tx.rows(f"{_ROW} WHERE c.id BETWEEN ? AND ? LIMIT 2", name, f"{name}g")
        if len(rows) != 1:
            raise ContainerNotFoundError(name)
        return self._container(rows[0])

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a container with all that was written in it; its image stays.

        Raises :class:`ContainerStateError` when it is mounted; ``force`` unmounts it first, and raises
        :class:`lamina.errors.MountBusyError` naming the processes that use it.
        """
        container = self.get(name)
        if force and container.mounted_at:
            self._mounts.unmount(container.snapshot)
        with self._graph.holding(container.snapshot) as snapshot, self._journal.intent() as intent:
            if places := self._mounts.mounted(container.snapshot):
                where = ", ".join(map(str, places))
                cure = "unmount it first, or use --force"
                raise ContainerStateError(container.name, f"container {container.name!r} is mounted at {where}: {cure}")
            with self._database.writing(durable=self._durable) as tx:
                tx.run("DELETE FROM containers WHERE id = ?", container.id)
                intent.begin(tx, "fork", snapshot=snapshot.id)  # its snapshot goes even if we do not live to see it
            self._graph.finish(intent, snapshot)

    def _container(self, row: tuple[str, str, str, str, str, int]) -> Container:
        id, name, image, image_name, key, created = row
        return Container(id, name, image, image_name, key, datetime.fromtimestamp(created / 1e9, UTC), self._mounts.mounted(key))
