"""Archives of ``docker save``: finding images in them.

Since Docker 1.10 a file ``manifest.json`` names the config and the layers of each image, as files of the archive:
``<id>/layer.tar`` for a long time, ``blobs/sha256/<hex>`` since Docker 25. No OCI manifest comes with them, so loading makes
one; what identifies such an image on both sides is the digest of its config.

Source: https://github.com/moby/docker-image-spec/blob/main/spec.md, "Combined Image JSON + Filesystem Changeset Format".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.errors import DigestMismatchError, ImageNotFoundError, InvalidReferenceError, ManifestError
from lamina.image.config import ImageConfig
from lamina.image.document import Fields, known_names, read_json
from lamina.image.files import read_small
from lamina.image.offer import Offer, matched_layers, own_name
from lamina.image.reference import Reference
from lamina.image.spec import OCI_MANIFEST, digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.diff.limits import Limits
    from lamina.image.files import Files

_ITEM = known_names("Config", "RepoTags", "Layers", "Parent", "LayerSources")
_CONFIG_NAME = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Item:
    """One image of ``manifest.json``."""

    config: str
    names: tuple[str, ...]
    layers: tuple[str, ...]


class DockerArchive:
    """The images of one archive. File names in it only ever select members of it."""

    def __init__(self, files: Files, path: Path, limits: Limits) -> None:
        """Raise :class:`ManifestError` unless the archive has a sound ``manifest.json``."""
        self._files = files
        self._path = path
        self._limits = limits
        where = f"{files.place}: manifest.json"
        items = read_json(read_small(files, "manifest.json", limits), where, limits)
        if not isinstance(items, list) or not items:
            raise ManifestError(where, "should be an array of images")
        self._items = [_read_item(item, f"{where} entry {number}") for number, item in enumerate(items, 1)]

    def offers(self, name: str) -> tuple[Offer, ...]:
        """Return the image called ``name``, or all that are there without one.

        ``debian:12`` finds ``docker.io/library/debian:12`` too, which is what skopeo makes of it; the image is then called as
        it was asked for.
        Raises :class:`ImageNotFoundError`, and :class:`ManifestError` for what is inconsistent.
        """
        wanted = str(Reference.for_tag(name)) if name else ""
        chosen = [item for item in self._items if not wanted or _short(wanted) in map(_short, item.names)]
        if not chosen:
            raise ImageNotFoundError(name, where=self._files.place, known=[each for item in self._items for each in item.names])
        return tuple(self._offer(item, wanted) for item in chosen)

    def _offer(self, item: _Item, wanted: str) -> Offer:
        data = read_small(self._files, item.config, self._limits)
        where = f"{self._files.place}: {item.config}"
        named = _CONFIG_NAME.fullmatch(item.config)
        if named and digest_of(data) != f"sha256:{named[1]}":
            raise DigestMismatchError(where, f"sha256:{named[1]}", digest_of(data))
        config = ImageConfig.read(data, where, self._limits)
        layers = matched_layers(where, [(file, None) for file in item.layers], config)
        alone = own_name("", self._path) if len(self._items) == 1 else ""
        names = (wanted,) if wanted else item.names or ((alone,) if alone else ())
        return Offer(names, self._files, config, data, None, OCI_MANIFEST, layers)


def _short(name: str) -> str:
    """Return a name without what Docker puts in front of those that name no registry."""
    return name.removeprefix("docker.io/").removeprefix("library/")


def _read_item(value: object, where: str) -> _Item:
    fields = Fields(value, where, _ITEM)
    try:
        names = tuple(str(Reference.for_tag(name)) for name in fields.texts("RepoTags"))
    except InvalidReferenceError as error:
        raise ManifestError(where, str(error)) from error
    return _Item(fields.text("Config"), names, fields.texts("Layers"))
