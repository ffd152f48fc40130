"""Small images made by hand, right ones and wrong ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Document = dict[str, object]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def described(media_type: str, data: bytes) -> Document:
    return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": digest(data), "size": len(data)}


def image(*layers: bytes, changed: Mapping[int, Document] | None = None) -> dict[str, bytes]:
    """Return the files of a layout with one image, ``tiny``, of these uncompressed layers.

    ``changed`` overrides members of the descriptors of layers by position: a digest, a size that is not theirs.
    """
    blobs = [gzip.compress(layer, mtime=0) for layer in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        }
    ).encode()
    descriptors = [
        {**described("layer.v1.tar+gzip", blob), **(changed or {}).get(position, {})} for position, blob in enumerate(blobs)
    ]
    manifest = json.dumps({"schemaVersion": 2, "config": described("config.v1+json", config), "layers": descriptors}).encode()
    entry = {**described("manifest.v1+json", manifest), "annotations": {"org.opencontainers.image.ref.name": "tiny"}}
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    named = [(str(descriptor["digest"]), blob) for descriptor, blob in zip(descriptors, blobs, strict=True)]
    for name, blob in [(digest(config), config), (digest(manifest), manifest), *named]:
        files[f"blobs/{name.replace(':', '/')}"] = blob
    return files


def write_archive(place: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files of a layout as an OCI archive."""
    with tarfile.open(place, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return place
