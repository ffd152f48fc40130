"""Small images, made of bytes by hand, so that each part of them can be made wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

Json = dict[str, object]


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar(*files: tuple[str, bytes]) -> bytes:
    """A layer: directories for names that end in a slash, files for others."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.mode = 0o755 if name.endswith("/") else 0o644
            info.size = len(data)
            info.mtime = 1_700_000_000
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def gz(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


class Layout:
    """The files of an OCI layout, by name."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        self.entries: list[Json] = []

    def blob(self, data: bytes, media_type: str) -> Json:
        digest = sha256(data)
        self.files[f"blobs/sha256/{digest[7:]}"] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def image(self, *layers: bytes, config: Json | None = None, platform: str = "linux/amd64", compress: bool = True) -> Json:
        """Add an image of these layer tars; return the descriptor of its manifest."""
        os, architecture, *variant = platform.split("/")
        document: Json = {
            "created": "2024-02-03T04:05:06Z",
            "architecture": architecture,
            "os": os,
            **({"variant": variant[0]} if variant else {}),
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], "Labels": {"made": "by hand"}},
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
            "history": [{"created_by": f"step {number}"} for number in range(len(layers))],
            **(config or {}),
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(json.dumps(document).encode(), CONFIG),
            "layers": [self.blob(gz(layer), f"{LAYER}+gzip") if compress else self.blob(layer, LAYER) for layer in layers],
        }
        return self.blob(json.dumps(manifest).encode(), MANIFEST)

    def index(self, *entries: Json) -> Json:
        """Add an index; return its descriptor."""
        return self.blob(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode(), INDEX)

    def tag(self, descriptor: Json, name: str = "") -> Json:
        """List a manifest or index in index.json; return the descriptor."""
        annotations = {"org.opencontainers.image.ref.name": name} if name else {}
        self.entries.append({**descriptor, **({"annotations": annotations} if name else {})})
        return descriptor

    def directory(self, path: Path) -> Path:
        for name, data in self._all().items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        return path

    def archive(self, path: Path, *, prefix: str = "") -> Path:
        path.write_bytes(tar(*((prefix + name, data) for name, data in self._all().items())))
        return path

    def _all(self) -> dict[str, bytes]:
        index = json.dumps({"schemaVersion": 2, "manifests": self.entries}).encode()
        return {"index.json": index, **self.files}


def layout(*layers: bytes, tag: str = "1", **options: object) -> Layout:
    """A layout with one image."""
    made = Layout()
    made.tag(made.image(*layers, **options), tag)  # type: ignore[arg-type]  # of Layout.image
    return made


def docker_archive(path: Path, *images: tuple[list[str], list[bytes]], old: bool = True) -> Path:
    """What docker save writes: for each image its names and its layer tars."""
    files: dict[str, bytes] = {}
    items = []
    for names, layers in images:
        config = json.dumps({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
        }).encode()  # fmt: skip
        hexes = [sha256(layer)[7:] for layer in layers]
        paths = [f"{name}/layer.tar" if old else f"blobs/sha256/{name}" for name in hexes]
        config_path = f"{sha256(config)[7:]}.json" if old else f"blobs/sha256/{sha256(config)[7:]}"
        files |= {config_path: config, **dict(zip(paths, layers, strict=True))}
        items.append({"Config": config_path, "RepoTags": names or None, "Layers": paths})
    files["manifest.json"] = json.dumps(items).encode()
    path.write_bytes(tar(*files.items()))
    return path
