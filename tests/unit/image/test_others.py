"""What other tools make is loaded as they mean it."""

from __future__ import annotations

import subprocess
from shutil import which
from typing import TYPE_CHECKING

import pytest

from tests.unit.image.build import layout, tar

if TYPE_CHECKING:
    from pathlib import Path

    from lamina import Store

pytestmark = pytest.mark.root

LOWER = tar(("etc/", b""), ("etc/motd", b"hello"), ("gone", b""))
UPPER = tar(("etc/", b""), ("etc/motd", b"changed"), (".wh.gone", b""), ("added", b"1"))


def run(*argv: object) -> str:
    return subprocess.run([str(each) for each in argv], check=True, capture_output=True, text=True).stdout


def content(store: Store, name: str) -> dict[str, bytes]:
    with store.fork(name) as work:
        return {str(path.relative_to(work.path)): path.read_bytes() for path in work.path.rglob("*") if path.is_file()}


@pytest.mark.skipif(which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("options", [(), ("--dest-compress-format", "zstd"), ("--format", "v2s2")])
@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_skopeo(store: Store, tmp_path: Path, form: str, options: tuple[str, ...]) -> None:
    if "v2s2" in options and form != "docker-archive":
        options = ("--format", "oci")
    source = layout(LOWER, UPPER, tag="1").directory(tmp_path / "source")
    target = f"{form}:{tmp_path / 'x'}:tools/debian:12"
    run("skopeo", "copy", "-q", "--insecure-policy", *options, f"oci:{source}:1", target)

    (image,) = store.images.load(target)

    assert [name.removeprefix("docker.io/") for name in image.names] == ["tools/debian:12"]
    assert image.config.cmd == ("sh",)
    assert content(store, image.digest) == {"etc/motd": b"changed", "added": b"1"}


@pytest.mark.skipif(which("umoci") is None, reason="umoci is not installed")
def test_umoci(store: Store, tmp_path: Path) -> None:
    place = tmp_path / "debian"
    root = tmp_path / "bundle" / "rootfs"
    run("umoci", "init", "--layout", place)
    run("umoci", "new", "--image", f"{place}:empty")
    run("umoci", "unpack", "--image", f"{place}:empty", tmp_path / "bundle")
    (root / "gone").write_bytes(b"1")
    (root / "other").write_bytes(b"2")
    run("umoci", "repack", "--refresh-bundle", "--image", f"{place}:12", tmp_path / "bundle")
    (root / "gone").unlink()
    run("umoci", "repack", "--history.comment", "why", "--image", f"{place}:12", tmp_path / "bundle")
    run("umoci", "config", "--image", f"{place}:12", "--config.cmd", "run", "--config.label", "a=b")

    store.images.load(f"oci:{place}")

    image = store.images.get("debian:12")
    assert image.config.labels == {"a": "b"}
    assert [entry.comment for entry in image.config.history][-2] == "why"
    assert len(image.layers) == 2
    assert content(store, "debian:12") == {"other": b"2"}
    assert content(store, "debian:empty") == {}


@pytest.mark.skipif(which("buildah") is None, reason="buildah is not installed")
@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_buildah(store: Store, tmp_path: Path, form: str) -> None:
    buildah = ("buildah", "--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
    (tmp_path / "file").write_bytes(b"copied")
    working = run(*buildah, "from", "scratch").strip()
    run(*buildah, "copy", "-q", working, tmp_path / "file", "/file")
    run(*buildah, "config", "--cmd", "run", "--env", "A=b", working)
    run(*buildah, "commit", "-q", working, f"{form}:{tmp_path / 'x'}:tools/mine:1")

    (image,) = store.images.load(f"{form}:{tmp_path / 'x'}:tools/mine:1", name="mine")

    assert (image.config.cmd, image.config.env) == (("run",), ("A=b",))
    assert content(store, "mine") == {"file": b"copied"}
    run(*buildah, "rm", "--all")
