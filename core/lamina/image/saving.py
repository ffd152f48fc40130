"""Writing images to where other tools read them: layouts, and archives of both kinds.

What is written is complete, and verified, before it appears under its name. Archives are deterministic: equal images give equal
bytes.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from lamina.diff.compression import decompressed
from lamina.diff.digests import DigestingReader
from lamina.diff.entries import Entry, EntryKind
from lamina.diff.streams import CHUNK
from lamina.diff.tar_writer import TarWriter
from lamina.errors import ImageError, ManifestError
from lamina.host.locks import LockFile
from lamina.image.blobs import staged
from lamina.image.document import read_json, write_json
from lamina.image.files import Directory, read_small
from lamina.image.progress import LayerState, Watched
from lamina.image.shelf import STAGING
from lamina.image.spec import OCI_INDEX, REF_NAME, Descriptor, Index, read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from lamina.diff.limits import Limits
    from lamina.image.blobs import Blobs, Staged
    from lamina.image.image import Image, ImageLayer
    from lamina.image.progress import Progress

_MARKER: Final = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of an archive."""

    size: int
    pieces: Callable[[], Iterator[bytes]]


class Saving:
    """One image on its way out. ``staging`` is a directory on the filesystem of the target."""

    def __init__(self, image: Image, blobs: Blobs, staging: Path, limits: Limits, progress: Progress) -> None:
        self._image = image
        self._blobs = blobs
        self._staging = staging
        self._limits = limits
        self._progress = progress

    def layout(self, target: Path, tag: str) -> None:
        """Add the image to the layout in the directory ``target``, or make one; ``tag`` comes to mean it there, in one step."""
        home = target / "blobs" / "sha256"
        home.mkdir(parents=True, exist_ok=True)
        marker = target / "oci-layout"
        if not marker.exists():
            with self._file() as file, suppress(FileExistsError):  # somebody else makes the same layout
                file.write(_MARKER)
                os.link(file.path, marker)
        for digest in self._digests():
            self._copy(digest, home / digest.removeprefix("sha256:"))
        with LockFile(marker).lock(0), self._file() as file:
            file.write(self._index(tag, _present_index(target, self._limits)))
            file.move(target / "index.json", durable=True)

    def layout_archive(self, target: Path, tag: str) -> None:
        """Write a tar of a layout that holds this image alone."""
        members = {"index.json": _document(self._index(tag, {})), "oci-layout": _document(_MARKER)}
        for digest in self._digests():
            with self._blobs.open(digest) as extent:
                members[f"blobs/{digest.replace(':', '/')}"] = _Member(extent.size, partial(self._blob, digest))
        self._archive(target, members)

    def docker_archive(self, target: Path, name: str) -> None:
        """Write an archive for ``docker load``; its layers are uncompressed."""
        config = f"{self._image.config_digest.removeprefix('sha256:')}.json"
        layers = [f"{layer.diff_id.removeprefix('sha256:')}.tar" for layer in self._image.layers]
        item = {"Config": config, "RepoTags": [name] if name else None, "Layers": layers}
        members = {"manifest.json": _document(write_json([item]))}
        members[config] = _document(b"".join(self._blob(self._image.config_digest)))
        for file, layer in zip(layers, self._image.layers, strict=True):
            if file not in members:
                self._progress.layer(layer.digest, layer.size, LayerState.READING)
                size = sum(map(len, self._tar(layer)))  # a tar has sizes in front, so each layer is unpacked twice
                members[file] = _Member(size, partial(self._tar, layer))
        self._archive(target, members)

    def _digests(self) -> dict[str, None]:
        """Return what the image is made of, each digest once, documents first."""
        return dict.fromkeys((self._image.digest, self._image.config_digest, *(layer.digest for layer in self._image.layers)))

    def _copy(self, digest: str, target: Path) -> None:
        with self._blobs.open(digest) as extent:
            size = extent.size
            if target.is_file() and target.stat().st_size == size:
                self._progress.layer(digest, size, LayerState.HERE)
                return
            self._progress.layer(digest, size, LayerState.WRITING)
            with self._file() as file:
                file.copy(extent)
                reader = DigestingReader(Watched(file.written(), digest, self._progress), digest, size, label=f"blob {digest}")
                while reader.read(CHUNK):
                    pass
                file.move(target, durable=True)
        self._progress.layer(digest, size, LayerState.DONE)

    def _blob(self, digest: str) -> Iterator[bytes]:
        with self._blobs.open(digest) as extent:
            self._progress.layer(digest, extent.size, LayerState.WRITING)
            reader = DigestingReader(Watched(extent, digest, self._progress), digest, extent.size, label=f"blob {digest}")
            yield from iter(lambda: reader.read(CHUNK), b"")
            self._progress.layer(digest, extent.size, LayerState.DONE)

    def _tar(self, layer: ImageLayer) -> Iterator[bytes]:
        with self._blobs.open(layer.digest) as extent, decompressed(extent, self._limits, label=f"blob {layer.digest}") as stream:
            reader = DigestingReader(stream, layer.diff_id, label=f"blob {layer.digest}")
            yield from iter(lambda: reader.read(CHUNK), b"")

    def _index(self, tag: str, present: Mapping[str, object]) -> bytes:
        """Return an ``index.json`` in which ``tag`` means this image, and all else is as in the ``present`` one."""
        with self._blobs.open(self._image.digest) as extent:
            descriptor = Descriptor(self._image.media_type, self._image.digest, extent.size, {REF_NAME: tag})
        before = present.get("manifests")
        others = [entry for entry in before if not _is_tagged(entry, tag)] if isinstance(before, list) else []
        return write_json({"schemaVersion": 2, "mediaType": OCI_INDEX, **present, "manifests": [*others, descriptor.members()]})

    def _archive(self, target: Path, members: dict[str, _Member]) -> None:
        if target.is_dir():
            raise ImageError(str(target), f"{target} is a directory: name the file to write")
        directories = {name[:end] for name in members for end in range(len(name)) if name[end] == "/"}
        with self._file() as file:
            with open(file.descriptor, "wb", CHUNK, closefd=False) as sink:
                writer = TarWriter(sink)
                for name in sorted([*members, *directories]):
                    if member := members.get(name):
                        writer.add(Entry(name.encode(), EntryKind.FILE, 0o644, size=member.size), member.pieces())
                    else:
                        writer.add(Entry(name.encode(), EntryKind.DIRECTORY, 0o755))
                writer.close()
            file.move(target, durable=True)

    @contextmanager
    def _file(self) -> Iterator[Staged]:
        with staged(self._staging, 0o666) as file:  # less what the umask of the user says
            yield file


def check_target(target: Path) -> None:
    """Raise :class:`ManifestError` unless ``target`` may hold a layout: it is one, or being made one, or empty, or nothing."""
    if not target.exists() or (target / "oci-layout").is_file():
        return
    if not target.is_dir() or not all(map(_is_of_layout, os.listdir(target))):
        raise ManifestError(str(target), "is no image layout, and not empty: name another directory")


def _is_of_layout(name: str) -> bool:
    return name in ("blobs", "index.json", "oci-layout") or name.startswith(STAGING)


def _present_index(target: Path, limits: Limits) -> Mapping[str, object]:
    """Return the layout's ``index.json`` as it is, once it has been understood."""
    if not (target / "index.json").exists():
        return {}
    with Directory(target) as files:
        data = read_small(files, "index.json", limits)
    where = f"{target}: index.json"
    if not isinstance(read_document(data, where, "", limits), Index):
        raise ManifestError(where, "is no index")
    value = read_json(data, where, limits)
    return value if isinstance(value, dict) else {}


def _is_tagged(entry: object, tag: str) -> bool:
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    return isinstance(annotations, dict) and annotations.get(REF_NAME) == tag


def _document(data: bytes) -> _Member:
    return _Member(len(data), lambda: iter([data]))
