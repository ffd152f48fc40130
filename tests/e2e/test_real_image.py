"""A real Debian image, in and out, against skopeo and umoci."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from lamina.testing.trees import assert_same_tree
from tests.e2e.containers import container
from tests.e2e.material import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.command import Command
    from tests.e2e.material import Material

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]


def manifest_and_layers(place: str) -> tuple[str, list[str]]:
    """Digest of the manifest and of each layer, by skopeo."""
    raw = run("skopeo", "inspect", "--raw", place)
    return hashlib.sha256(raw.encode()).hexdigest(), [layer["digest"] for layer in json.loads(raw)["layers"]]


def test_the_mounted_tree_is_entry_for_entry_what_umoci_unpacks(stocked: Command, unpacked: Path) -> None:
    with container(stocked, "debian") as made:
        assert_same_tree(unpacked, made.root)


@pytest.mark.parametrize("form", ["oci", "oci-archive"])
def test_an_image_loaded_and_saved_again_keeps_its_manifest_and_layers(
    stocked: Command, debian: Material, tmp_path: Path, form: str
) -> None:
    place = f"{form}:{tmp_path}/saved:debian"

    stocked("image", "save", "debian", place)

    assert manifest_and_layers(place) == manifest_and_layers(f"oci:{debian.layout}:debian")


def test_each_form_of_an_image_brings_the_same_layers(stocked: Command, debian: Material) -> None:
    layers = stocked.json("layer", "list")

    stocked("image", "load", f"oci-archive:{debian.oci_archive}", "-t", "from-oci-archive")
    stocked("image", "load", f"docker-archive:{debian.docker_archive}")

    shown = [stocked.json("image", "show", name) for name in ("debian", "from-oci-archive", "example.org/debian:12")]
    assert stocked.json("layer", "list") == layers
    assert [[layer["diff_id"] for layer in image["layers"]] for image in shown[1:]] == 2 * [
        [layer["diff_id"] for layer in shown[0]["layers"]]
    ]
    assert shown[1]["digest"] == shown[0]["digest"]
    assert shown[2]["config"]["env"] == shown[0]["config"]["env"]

    for name in ("from-oci-archive", "example.org/debian:12"):
        stocked("image", "remove", name)


def test_skopeo_and_umoci_read_a_committed_container_as_lamina_shows_it(stocked: Command, tmp_path: Path) -> None:
    forms = ("oci", "oci-archive", "docker-archive")
    with container(stocked, "debian") as made:
        changes = "dpkg --purge zstd; ln /etc/passwd /srv/linked; rm -r /usr/share/doc; mkdir /usr/share/doc"
        run("chroot", made.root, "sh", "-euc", changes)
        stocked("container", "commit", made.id, "-t", "example.org/mine:1")

        for form in forms:
            saved = f"{form}:{tmp_path}/saved-{form}:example.org/mine:1"
            stocked("image", "save", "example.org/mine:1", saved)
            run("skopeo", "copy", saved, f"oci:{tmp_path}/copied:{form}")
        run("umoci", "raw", "unpack", "--image", f"{tmp_path}/copied:oci", tmp_path / "rootfs")

        assert_same_tree(tmp_path / "rootfs", made.root)
    diff_ids = [layer["diff_id"] for layer in stocked.json("image", "show", "example.org/mine:1")["layers"]]
    for form in forms:
        config = json.loads(run("skopeo", "inspect", "--config", "--raw", f"oci:{tmp_path}/copied:{form}"))
        assert config["rootfs"]["diff_ids"] == diff_ids
    stocked("image", "remove", "example.org/mine:1")


def test_layers_of_an_image_are_stored_once(stocked: Command, debian: Material) -> None:
    image, layers = stocked.json("image", "show", "debian"), stocked.json("layer", "list")

    stocked("image", "load", f"oci:{debian.layout}:debian", "-t", "again")

    assert stocked.json("image", "show", "again")["digest"] == image["digest"]
    assert stocked.json("layer", "list") == layers
    stocked("image", "remove", "again")
