"""The images of a store: what ``lamina image`` does."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.errors import ImageError, ImageInUseError, ImageNotFoundError, InvalidReferenceError
from lamina.image import records
from lamina.image.checks import check_blobs, check_images
from lamina.image.clearing import users
from lamina.image.commit import Maker, Step
from lamina.image.image import read_image, read_or_excuse
from lamina.image.location import Location, Transport
from lamina.image.progress import Silence
from lamina.image.reference import Reference
from lamina.image.saving import Saving, check_target
from lamina.image.shelf import Shelf
from lamina.image.spec import Platform, checked_ref_name, digest_of
from lamina.image.transfer import Transfer, offers_at

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lamina.diff.limits import Limits
    from lamina.graph import LayerGraph
    from lamina.host import Host
    from lamina.image.clearing import Collected
    from lamina.image.config import HistoryEntry
    from lamina.image.image import Image
    from lamina.image.offer import Offer
    from lamina.image.progress import Progress
    from lamina.image.shelf import Ingest
    from lamina.layers import Layers
    from lamina.metadata.database import Database, Writer
    from lamina.metadata.journal import Intent, Journal
    from lamina.recovery import Finding


@dataclass(frozen=True, slots=True)
class RemovedImage:
    """What went when a name was removed."""

    #: The names that are free again.
    names: tuple[str, ...]
    #: The image's digest; empty when it has other names and stays.
    digest: str
    #: Layers (keys) and blobs (digests) that nothing else needed, and their bytes.
    layers: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()
    size: int = 0


class Images:
    """The images of one store.

    Wherever a ``name`` is asked for, a digest of the manifest or of the config does too, and so does a beginning of one.
    """

    def __init__(
        self,
        root: Path,
        database: Database,
        journal: Journal,
        graph: LayerGraph,
        layers: Layers,
        host: Host,
        limits: Limits,
        *,
        durable: bool,
    ) -> None:
        self._shelf = Shelf(root, database, journal, graph, host, durable=durable)
        self._database = database
        self._layers = layers
        self._limits = limits
        graph.add_users(users)

    # in and out -------------------------------------------------------------------------------------------------------

    def load(self, source: str, *, name: str = "", platform: str = "", progress: Progress | None = None) -> tuple[Image, ...]:
        """Load images from ``oci:DIR[:TAG]``, ``oci-archive:FILE[:TAG]`` or ``docker-archive:FILE[:NAME]``.

        Without a name in ``source`` that is every image there; of an image for several platforms the one for ``platform``
        (``linux/arm64``), or for this machine. Each keeps the name it has there, unless ``name`` gives another to the only
        one. All or none become visible. Layers that the store has are not unpacked again.

        Raises :class:`ImageError` (no such place; no name, or a choice to make), :class:`ImageNotFoundError`,
        :class:`lamina.errors.ManifestError`, :class:`lamina.errors.ArchiveError`, and :class:`lamina.errors.ImageExistsError` for
        a name that another image has.
        """
        location = Location.parse(source)
        wanted = Platform.parse(platform) if platform else None
        given = str(Reference.for_tag(name)) if name else ""
        with self._shelf.operation("load") as ingest:
            with offers_at(location, wanted, ingest.staging, self._limits) as offers:
                named = _named(offers, given, location)
                self._check_free(named)
                transfer = Transfer(self._shelf, ingest, self._layers, progress or Silence())
                brought = [(transfer.bring(offer), names) for offer, names in named]
            with ingest.publish() as tx:
                for image, names in brought:
                    records.add_image(tx, image)
                    _give_names(tx, image.manifest, names)
        return tuple(self.get(image.manifest) for image, _ in brought)

    def import_tree(
        self, source: Path, name: str, *, config: Mapping[str, object] | None = None, progress: Progress | None = None
    ) -> Image:
        """Make an image of one layer from a root filesystem: a tar, which is kept byte for byte, or a directory.

        ``config`` are members of the ``config`` object of the image specification (``Cmd``, ``Env`` …); there are none otherwise.
        The image is for this machine's platform; it was created when ``SOURCE_DATE_EPOCH`` says, else now.
        Raises :class:`lamina.errors.ArchiveError` and :class:`lamina.errors.ImageExistsError`.
        """
        self.check_free(name)
        step = Step(f"lamina image import {source.name}", settings=config or {})
        with self._shelf.operation("import") as ingest:
            brought = self._maker(ingest, progress).from_tree(source, step)
            with ingest.publish() as tx:
                records.add_image(tx, brought)
                _give_names(tx, brought.manifest, [str(Reference.for_tag(name))])
        return self.get(brought.manifest)

    def commit(self, key: str, name: str, *, base: Image | None = None, step: Step | None = None, keep: bool = False) -> Image:
        """Make the image ``name`` of what the active snapshot ``key`` changed, on top of ``base``, whose settings it inherits.

        The snapshot becomes a layer and is gone as an active one, unless ``keep``. ``base`` is the image whose top layer the
        snapshot's parent is; without it the layers below get blobs, and there are no settings to inherit.
        Raises :class:`lamina.errors.ImageExistsError`, and :class:`lamina.errors.UnrepresentableError` for a file that no layer
        can express.
        """
        self.check_free(name)
        with self._shelf.operation("commit image") as ingest:
            brought = self._maker(ingest, None).from_snapshot(key, base, step or Step("lamina commit"), keep=keep)
            with ingest.publish() as tx:
                records.add_image(tx, brought)
                _give_names(tx, brought.manifest, [str(Reference.for_tag(name))])
        return self.get(brought.manifest)

    def save(self, name: str, destination: str, *, progress: Progress | None = None) -> str:
        """Save an image to ``oci:DIR[:TAG]``, ``oci-archive:FILE[:TAG]`` or ``docker-archive:FILE[:NAME]`` and return its digest.

        The tag there is the image's name unless given. A layout gains the image, and its other tags stay; a file is replaced when
        the new one is complete. Manifest, config and layers are the bytes that were loaded; only a docker-archive has no
        manifest, and its layers are uncompressed.

        Raises :class:`ImageNotFoundError`, :class:`ImageError` and :class:`lamina.errors.DigestMismatchError` (a damaged blob).
        """
        location = Location.parse(destination)
        image = self.get(name)
        tag = location.name or _called(name, image.names) or next(iter(image.names), "")
        if location.transport is Transport.OCI:
            check_target(location.path)
            location.path.mkdir(parents=True, exist_ok=True)
        beside = location.path if location.transport is Transport.OCI else location.path.parent
        with self._shelf.operation("save", beside) as ingest:
            if not ingest.hold_image(image.digest):
                raise ImageNotFoundError(name)  # removed since we looked
            saving = Saving(image, self._shelf.blobs, ingest.staging, self._limits, progress or Silence())
            if location.transport is Transport.OCI:
                saving.layout(location.path, checked_ref_name(tag))
            elif location.transport is Transport.OCI_ARCHIVE:
                saving.layout_archive(location.path, checked_ref_name(tag))
            else:
                saving.docker_archive(location.path, str(Reference.for_tag(tag)) if tag else "")
        return image.digest

    # looking ----------------------------------------------------------------------------------------------------------

    def list(self) -> tuple[Image, ...]:
        """Return all images, by name. One that is damaged is there too, and says so."""
        with self._database.reading() as tx:
            rows = [(row, records.names_of(tx, row[0])) for row in tx.rows(records.IMAGES)]
        found = [read_or_excuse(row, names, self._shelf.blobs, self._limits) for row, names in rows]
        return tuple(sorted(found, key=lambda image: (image.names or ("~",), image.digest)))

    def get(self, name: str) -> Image:
        """Return one image. Raises :class:`ImageNotFoundError`, and :class:`InvalidReferenceError` for what can be no name."""
        with self._database.reading() as tx:
            digest = records.resolve(tx, name)
            names = records.names_of(tx, digest)
            row = tx.row(f"{records.IMAGES} WHERE i.digest = ?", digest)
        if row is None:
            raise ImageNotFoundError(name)
        return read_image(row, names, self._shelf.blobs, self._limits)

    def find(self, name: str) -> Image | None:
        """Return one image, or None where :meth:`get` would raise for its name."""
        with suppress(ImageNotFoundError, InvalidReferenceError):
            return self.get(name)
        return None

    def history(self, name: str) -> tuple[HistoryEntry, ...]:
        """Return the steps by which an image was made, the first one first. Raises like :meth:`get`."""
        return self.get(name).config.history

    # names ------------------------------------------------------------------------------------------------------------

    def tag(self, name: str, new: str) -> None:
        """Give an image a further name; an image that has it loses it. Raises like :meth:`get`.

        An image that has no name left can still be called by its digest, until the next collection.
        """
        reference = str(Reference.for_tag(new))
        with self._shelf.writing() as tx:
            records.set_name(tx, reference, records.resolve(tx, name))

    def check_free(self, name: str) -> None:
        """Raise :class:`lamina.errors.ImageExistsError` for a taken name, :class:`InvalidReferenceError` for what is none."""
        reference = str(Reference.for_tag(name))
        with self._database.reading() as tx:
            records.check_free(tx, reference)

    def remove(self, name: str) -> RemovedImage:
        """Remove a name, and with its last one the image, its layers and its blobs as far as nothing else needs them.

        Called by a digest, the image must have one name at most. Raises :class:`ImageNotFoundError`, and
        :class:`ImageInUseError` naming the containers, or the several names, that stand in the way; nothing is changed then.
        """
        with self._shelf.journal.intent() as intent:
            with self._shelf.writing() as tx:
                digest = records.resolve(tx, name)
                names = records.names_of(tx, digest)
                called = _called(name, names)
                if not called and len(names) > 1:
                    raise ImageInUseError(name, [f"name {each}" for each in names])
                going = (called,) if called else names
                containers = records.containers_of(tx, digest)
                if containers and len(going) == len(names):
                    raise ImageInUseError(name, [f"container {each}" for each in containers])
                for each in going:
                    tx.run("DELETE FROM tags WHERE name = ?", each)
                if len(going) < len(names):
                    return RemovedImage(going, "")
                intent.begin(tx, "remove image")
                self._shelf.clearing.forget(tx, digest, intent)
            taken = self._shelf.clearing.take_back(intent)
        return RemovedImage(going, digest, taken.layers, taken.blobs, taken.size)

    # care -------------------------------------------------------------------------------------------------------------

    def collect(self) -> Collected:
        """Clear away what no name, no container and no running operation leads to; see :meth:`Clearing.collect`."""
        return self._shelf.clearing.collect()

    def check(self, *, deep: bool = False) -> builtins.list[Finding]:
        """Return where images, blobs and files disagree; ``deep`` reads every blob."""
        findings = check_blobs(self._database, self._shelf.blobs, deep=deep)
        return [*check_images(self.list()), *findings]

    def take_back(self, intent: Intent) -> None:
        """Clear away what an operation of a dead process brought, and end its intent. For recovery."""
        self._shelf.clearing.take_back(intent)

    def _maker(self, ingest: Ingest, progress: Progress | None) -> Maker:
        transfer = Transfer(self._shelf, ingest, self._layers, progress or Silence())
        return Maker(self._shelf, ingest, self._layers, transfer, self._limits)

    def _check_free(self, named: Iterable[tuple[Offer, Iterable[str]]]) -> None:
        """Raise before the work what giving the names would raise after it, as far as that can be known."""
        with self._database.reading() as tx:
            for offer, names in named:
                if offer.manifest_bytes is not None:
                    for name in names:
                        records.check_free(tx, name, digest_of(offer.manifest_bytes))


def _named(offers: tuple[Offer, ...], given: str, location: Location) -> list[tuple[Offer, tuple[str, ...]]]:
    """Decide what each image will be called."""
    if given and len(offers) > 1:
        there = ", ".join(name for offer in offers for name in offer.names)
        raise ImageError(given, f"{location} holds {len(offers)} images, not one to be called {given}: choose from {there}")
    if not given and not all(offer.names for offer in offers):
        raise ImageError(str(location), f"{location} holds an image without a name of use here: give it one with --tag")
    return [(offer, (given,) if given else offer.names) for offer in offers]


def _give_names(tx: Writer, image: str, names: Iterable[str]) -> None:
    for name in names:
        records.check_free(tx, name, image)  # again: much time has gone by
        records.set_name(tx, name, image)


def _called(text: str, names: tuple[str, ...]) -> str:
    """Return which of an image's names it was called by; empty when it was a digest."""
    with suppress(InvalidReferenceError):
        reference = Reference.parse(text)
        name = f"{reference.name}:{reference.tag}"
        return name if name in names else ""
    return ""
