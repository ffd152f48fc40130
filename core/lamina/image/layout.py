"""OCI image layouts, as a directory or as a tar of one: finding images in them.

Source: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lamina.diff.digests import DigestingReader
from lamina.diff.streams import CHUNK
from lamina.errors import ImageNotFoundError, LimitExceededError, ManifestError
from lamina.image.config import ImageConfig
from lamina.image.document import Fields, known_names, read_json
from lamina.image.files import read_small
from lamina.image.offer import Offer, matched_layers, own_name
from lamina.image.spec import INDEXES, MANIFESTS, REF_NAME, Index, Manifest, Platform, read_document

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.diff.limits import Limits
    from lamina.image.files import Files
    from lamina.image.spec import Descriptor

#: How many indexes may lie between ``index.json`` and a manifest. Two are in use.
_DEPTH: Final = 4
_MARKER = known_names("imageLayoutVersion")


class Layout:
    """The images of one layout. Every document is verified against the descriptor that led to it."""

    def __init__(self, files: Files, path: Path, limits: Limits) -> None:
        """Raise :class:`ManifestError` unless ``files`` are a layout of a known version."""
        self._files = files
        self._path = path
        self._limits = limits
        marker = f"{files.place}: oci-layout"
        version = Fields(read_json(read_small(files, "oci-layout", limits), marker, limits), marker, _MARKER).text(
            "imageLayoutVersion"
        )
        if version != "1.0.0":
            raise ManifestError(marker, f"is of version {version!r}, not '1.0.0'")
        index = read_document(read_small(files, "index.json", limits), f"{files.place}: index.json", "", limits)
        if not isinstance(index, Index):
            raise ManifestError(f"{files.place}: index.json", "is no index")
        self._index = index

    def offers(self, tag: str, platform: Platform | None) -> tuple[Offer, ...]:
        """Return the image called ``tag``, or all that are there without one; for ``platform``, or for this machine.

        Raises :class:`ImageNotFoundError`, and :class:`ManifestError` for what breaks the specification or cannot be told apart.
        """
        groups: dict[str, list[Descriptor]] = {}
        for entry in self._index.manifests:
            groups.setdefault(entry.annotations.get(REF_NAME, ""), []).append(entry)
        if tag and tag not in groups:
            raise ImageNotFoundError(tag, where=self._files.place, known=sorted(filter(None, groups)))
        if not groups:
            raise ManifestError(self._files.place, "holds no image")
        chosen = {tag: groups[tag]} if tag else groups
        return tuple(self._offer(name, entries, platform) for name, entries in chosen.items())

    def _offer(self, tag: str, entries: list[Descriptor], platform: Platform | None) -> Offer:
        where = self._files.place + (f": {tag}" if tag else "")
        if len(entries) == 1:
            found = entries[0]
        elif all(entry.platform for entry in entries):
            found = _of_platform(entries, platform or Platform.here(), where)
        else:
            raise ManifestError(where, "holds several images that no name tells apart")
        descriptor = self._resolve(found, platform, where)
        data = self._document(descriptor)
        manifest = read_document(data, descriptor.digest, descriptor.media_type, self._limits)
        if not isinstance(manifest, Manifest):
            raise ManifestError(descriptor.digest, "is an index, its descriptor says a manifest")
        config_bytes = self._document(manifest.config)
        config = ImageConfig.read(config_bytes, manifest.config.digest, self._limits)
        if platform and not platform.runs(config.platform):
            raise ManifestError(where, f"is for {config.platform}, not {platform}")
        layers = matched_layers(descriptor.digest, [(_file(layer), layer) for layer in manifest.layers], config)
        name = own_name(tag, self._path)
        return Offer((name,) if name else (), self._files, config, config_bytes, data, manifest.media_type, layers)

    def _resolve(self, descriptor: Descriptor, platform: Platform | None, where: str) -> Descriptor:
        """Follow indexes to the manifest of the platform."""
        for _ in range(_DEPTH):
            if descriptor.media_type not in INDEXES:
                break
            index = read_document(self._document(descriptor), descriptor.digest, descriptor.media_type, self._limits)
            if not isinstance(index, Index):
                raise ManifestError(descriptor.digest, "is a manifest, its descriptor says an index")
            descriptor = _of_platform(index.manifests, platform or Platform.here(), where)
        if descriptor.media_type in INDEXES:
            raise ManifestError(where, f"hides behind more than {_DEPTH} indexes")
        if descriptor.media_type not in MANIFESTS:
            raise ManifestError(where, f"is {descriptor.media_type}, which is no image")
        return descriptor

    def _document(self, descriptor: Descriptor) -> bytes:
        """Return the verified bytes of a manifest, index or config."""
        allowed = self._limits.manifest_bytes
        if descriptor.size > allowed:
            raise LimitExceededError(descriptor.digest, "manifest_bytes", allowed, descriptor.size)
        with self._files.open(_file(descriptor)) as extent:
            reader = DigestingReader(extent, descriptor.digest, descriptor.size, label=descriptor.digest)
            return b"".join(iter(lambda: reader.read(CHUNK), b""))


def _file(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest.replace(':', '/')}"


def _of_platform(entries: Iterable[Descriptor], wanted: Platform, where: str) -> Descriptor:
    """Return the entry for a platform. An entry that names none is taken when it is the only one."""
    known = tuple(entries)
    for entry in known:
        if entry.platform and wanted.runs(entry.platform):
            return entry
    if len(known) == 1 and known[0].platform is None:
        return known[0]
    there = ", ".join(dict.fromkeys(str(entry.platform) for entry in known if entry.platform)) or "none that is named"
    raise ManifestError(where, f"has no image for {wanted}: choose another --platform; there are {there}")
