"""Bringing an offered image into a store: blobs as they came, layers unpacked on top of each other."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.diff.compression import Compression, detect
from lamina.diff.digests import DigestingReader
from lamina.diff.streams import CHUNK
from lamina.errors import ManifestError
from lamina.image.docker_archive import DockerArchive
from lamina.image.files import Archive, Directory
from lamina.image.layout import Layout
from lamina.image.location import Transport
from lamina.image.progress import LayerState, Watched
from lamina.image.spec import OCI_CONFIG, OCI_MANIFEST, Descriptor, layer_type, write_manifest
from lamina.layers import chain_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.diff.limits import Limits
    from lamina.image.blobs import Staged
    from lamina.image.files import Extent
    from lamina.image.location import Location
    from lamina.image.offer import Offer, OfferedLayer
    from lamina.image.progress import Progress
    from lamina.image.shelf import Ingest, Shelf
    from lamina.image.spec import Platform
    from lamina.layers import Layers


@dataclass(frozen=True, slots=True)
class Brought:
    """An image whose blobs and layers are in the store, and which no record names yet."""

    manifest: str
    media_type: str
    config: str
    #: Key of the top layer; empty for an image without layers.
    layer: str
    #: Digests of what the manifest names, in its order: the config, then the layers from the base up.
    blobs: tuple[str, ...]


@contextmanager
def offers_at(location: Location, platform: Platform | None, staging: Path, limits: Limits) -> Iterator[tuple[Offer, ...]]:
    """Yield the images at a location, whose files stay open inside the block.

    Raises :class:`lamina.errors.ImageNotFoundError`, :class:`ManifestError` and :class:`lamina.errors.ArchiveError`.
    """
    if location.transport is Transport.OCI:
        with Directory(location.path) as directory:
            yield Layout(directory, location.path, limits).offers(location.name, platform)
        return
    with Archive(location.path, staging, limits) as archive:
        if location.transport is Transport.OCI_ARCHIVE:
            yield Layout(archive, location.path, limits).offers(location.name, platform)
        else:
            yield DockerArchive(archive, location.path, limits).offers(location.name)


class Transfer:
    """One run of images from outside into a store."""

    def __init__(self, shelf: Shelf, ingest: Ingest, layers: Layers, progress: Progress) -> None:
        self._shelf = shelf
        self._ingest = ingest
        self._layers = layers
        self._progress = progress

    def bring(self, offer: Offer) -> Brought:
        """Store the blobs of an image, verified, and unpack the layers that the store has not.

        Raises :class:`lamina.errors.ArchiveError` for bytes that are not what they should be.
        """
        sizes: dict[str, int] = {}
        for layer in offer.layers:
            if layer.descriptor and sizes.setdefault(layer.descriptor.digest, layer.descriptor.size) != layer.descriptor.size:
                raise ManifestError(layer.descriptor.digest, "is given two sizes by one manifest")
            self._progress.layer(_label(layer), _size(layer), LayerState.WAITING)
        present = set(self._ingest.lease(sizes))
        parent = ""
        blobs: list[Descriptor] = []
        for layer in offer.layers:
            if layer.descriptor and layer.descriptor.digest in present:
                blobs.append(self._unpack_present(layer, layer.descriptor, parent))
            else:
                blobs.append(self._bring_layer(offer, layer, parent))
            present.add(blobs[-1].digest)
            parent = chain_id(parent, layer.diff_id)
            self._progress.layer(_label(layer), blobs[-1].size, LayerState.DONE)
        config = Descriptor(OCI_CONFIG, self._ingest.document(offer.config_bytes), len(offer.config_bytes))
        manifest = self._ingest.document(offer.manifest_bytes or write_manifest(config, blobs, offer.media_type))
        names = (config.digest, *(blob.digest for blob in blobs))
        return Brought(manifest, offer.media_type, config.digest, parent, names)

    def bring_tree(self, archive: Extent, label: str) -> tuple[Descriptor, str]:
        """Store a root-filesystem tar as it is, and unpack it on top of nothing; return its descriptor and diff id."""
        self._progress.layer(label, archive.size, LayerState.UNPACKING)
        with self._ingest.staged() as staged:
            staged.copy(archive)
            reader = DigestingReader(Watched(staged.written(), label, self._progress), label=label)
            layer = self._layers.apply(reader, intent=self._ingest.intent)
            size = self._ingest.keep(staged, reader.digest)
            media_type = layer_type(_suffix(staged), OCI_MANIFEST)
        self._progress.layer(label, size, LayerState.DONE)
        return Descriptor(media_type, reader.digest, size), layer.diff_id

    def _unpack_present(self, layer: OfferedLayer, descriptor: Descriptor, parent: str) -> Descriptor:
        with self._shelf.blobs.open(descriptor.digest) as extent:
            self._apply(layer, extent, parent, LayerState.HERE)
        return descriptor

    def _bring_layer(self, offer: Offer, layer: OfferedLayer, parent: str) -> Descriptor:
        with offer.files.open(layer.file) as extent, self._ingest.staged() as staged:
            staged.copy(extent)
            reader = self._apply(layer, staged.written(), parent, LayerState.READING)
            while reader.read(CHUNK):  # a layer that is there already was not read; its bytes must be right all the same
                pass
            size = self._ingest.keep(staged, reader.digest)
            return layer.descriptor or Descriptor(layer_type(_suffix(staged), OCI_MANIFEST), reader.digest, size)

    def _apply(self, layer: OfferedLayer, source: Extent, parent: str, otherwise: LayerState) -> DigestingReader:
        """Unpack a layer unless the graph has it, in which case nothing is read and the state is ``otherwise``."""
        label = _label(layer)
        known = self._shelf.graph.exists(chain_id(parent, layer.diff_id))
        self._progress.layer(label, source.size, otherwise if known else LayerState.UNPACKING)
        expected = (layer.descriptor.digest, layer.descriptor.size) if layer.descriptor else (None, None)
        reader = DigestingReader(Watched(source, label, self._progress), *expected, label=label)
        self._layers.apply(reader, parent=parent, diff_id=layer.diff_id, intent=self._ingest.intent)
        return reader


def _label(layer: OfferedLayer) -> str:
    return layer.descriptor.digest if layer.descriptor else layer.diff_id


def _size(layer: OfferedLayer) -> int:
    return layer.descriptor.size if layer.descriptor else 0


def _suffix(staged: Staged) -> str:
    """Return how a blob is compressed, in the words of media types."""
    found = detect(os.pread(staged.descriptor, 16, 0))
    return "" if found is Compression.NONE else str(found)
