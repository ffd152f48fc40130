"""Making images here: a root filesystem as the first layer, or the changes of a snapshot as one more."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from lamina.diff import changes_of, pack
from lamina.diff.compression import Compression, compressed
from lamina.diff.digests import DigestingWriter
from lamina.errors import ImageNotFoundError
from lamina.image.config import HistoryEntry, ImageConfig, creation_time
from lamina.image.files import open_regular
from lamina.image.image import read_manifest
from lamina.image.spec import OCI_MANIFEST, Descriptor, Platform, config_type, layer_type, write_manifest
from lamina.image.transfer import Brought

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lamina.diff import Limits
    from lamina.diff.streams import Writable
    from lamina.image.image import Image
    from lamina.image.shelf import Ingest, Shelf
    from lamina.image.transfer import Transfer
    from lamina.layers import Layers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """What a new image adds to the one below besides files."""

    #: For its history: what was done, why, and by whom.
    created_by: str
    comment: str = ""
    author: str = ""
    #: Members of the ``config`` object of the image specification, as :meth:`ImageConfig.child` takes them.
    settings: Mapping[str, object] = field(default_factory=dict)


class Maker:
    """One making of an image."""

    def __init__(self, shelf: Shelf, ingest: Ingest, layers: Layers, transfer: Transfer, limits: Limits) -> None:
        self._shelf = shelf
        self._ingest = ingest
        self._layers = layers
        self._transfer = transfer
        self._limits = limits

    def from_tree(self, source: Path, step: Step) -> Brought:
        """Make an image of one layer: of a tar as it is, byte for byte, or of a directory, packed canonically.

        Raises :class:`lamina.errors.ArchiveError` for a bad tar, or a file that no layer can express.
        """
        if source.is_dir():
            blob = self._packed_directory(source)
            with self._shelf.blobs.open(blob.digest) as extent:
                layer = self._layers.apply(extent, intent=self._ingest.intent)
            diff_id = layer.diff_id
        else:
            with open_regular(source) as extent:
                blob, diff_id = self._transfer.bring_tree(extent, str(source))
        return self._record(ImageConfig(Platform.here()), OCI_MANIFEST, [], blob, diff_id, step, diff_id)

    def from_snapshot(self, key: str, base: Image | None, step: Step, *, keep: bool) -> Brought:
        """Make an image of ``base`` and what the active snapshot ``key`` changed; nothing changed adds no layer.

        Unless ``keep``, the snapshot itself becomes the layer, without copying anything, and is gone as an active one.
        """
        config, media_type, lower = self._below(key, base)
        parent = self._shelf.graph.stat(key).parent
        if not any(True for _ in self._layers.changes(key)):
            return self._record(config, media_type, lower, None, "", step, parent)
        if keep:
            diff, blob = self._blob(media_type, partial(self._layers.diff, key))
            with self._shelf.blobs.open(blob.digest) as extent:
                layer = self._layers.apply(extent, parent=parent, diff_id=diff.diff_id, intent=self._ingest.intent)
        else:
            (layer, diff), blob = self._blob(media_type, partial(self._layers.commit, key, intent=self._ingest.intent))
        return self._record(config, media_type, lower, blob, diff.diff_id, step, layer.key)

    def _below(self, key: str, base: Image | None) -> tuple[ImageConfig, str, list[Descriptor]]:
        """Return what the new image stands on: config, media type of the manifest, and layers."""
        if base:
            layers = read_manifest(base.digest, base.media_type, self._shelf.blobs, self._limits).layers
            sizes = {layer.digest: layer.size for layer in layers}
            if self._ingest.lease(sizes) != frozenset(sizes):
                raise ImageNotFoundError(base.digest)  # removed meanwhile
            return base.config, base.media_type, list(layers)
        blobs, diff_ids = [], []
        for layer in reversed(self._shelf.graph.chain(key)):  # layers that came without an image have no blobs yet
            diff, blob = self._blob(OCI_MANIFEST, partial(self._layers.diff, layer.key))
            blobs.append(blob)
            diff_ids.append(diff.diff_id)
        return ImageConfig(Platform.here(), diff_ids=tuple(diff_ids)), OCI_MANIFEST, blobs

    def _packed_directory(self, source: Path) -> Descriptor:
        tree = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return self._blob(OCI_MANIFEST, lambda sink: pack(changes_of(None, tree, None, since=0), tree, sink))[1]
        finally:
            os.close(tree)

    def _blob(self, manifest_type: str, produce: Callable[[Writable], T]) -> tuple[T, Descriptor]:
        """Store what ``produce`` writes as a compressed layer; return its result and the blob."""
        with self._ingest.staged() as staged:
            writer = DigestingWriter(staged)
            with compressed(writer, Compression.GZIP) as sink:
                result = produce(sink)
            size = self._ingest.keep(staged, writer.digest)
        return result, Descriptor(layer_type("gzip", manifest_type), writer.digest, size)

    def _record(
        self,
        config: ImageConfig,
        media_type: str,
        lower: list[Descriptor],
        blob: Descriptor | None,
        diff_id: str,
        step: Step,
        layer: str,
    ) -> Brought:
        """Write config and manifest."""
        entry = HistoryEntry(creation_time(), step.created_by, step.author, step.comment, empty_layer=blob is None)
        data = config.child(entry, diff_id, step.settings)
        ImageConfig.read(data, "the new config", self._limits)  # settings come from people
        described = Descriptor(config_type(media_type), self._ingest.document(data), len(data))
        blobs = [*lower, *([blob] if blob else [])]
        manifest = self._ingest.document(write_manifest(described, blobs, media_type))
        return Brought(manifest, media_type, described.digest, layer, (described.digest, *(each.digest for each in blobs)))
