from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import zstandard

from lamina.errors import (
    ArchiveError,
    ImageExistsError,
    ImageInUseError,
    ImageNotFoundError,
    InvalidReferenceError,
    ManifestError,
    SnapshotInUseError,
    StoreCorruptError,
    UnrepresentableError,
)
from lamina.image.spec import Platform
from tests.unit.image.build import LAYER, gz, layout, sha256, tar

if TYPE_CHECKING:
    from pathlib import Path

    from lamina import Store
    from lamina.image.image import Image

pytestmark = pytest.mark.root

LOWER = tar(("etc/", b""), ("etc/motd", b"hello"))
UPPER = tar(("etc/", b""), ("etc/motd", b"changed"))


def loaded(store: Store, path: Path, name: str, *layers: bytes) -> Image:
    return store.images.load(f"oci:{layout(*(layers or (LOWER,))).directory(path / name)}", name=name)[0]


# importing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compress", "suffix"),
    [(bytes, ""), (gz, "+gzip"), (zstandard.compress, "+zstd"), (lambda data: gz(data[:512]) + gz(data[512:]), "+gzip")],
)
def test_a_tar_is_imported_byte_for_byte(store: Store, tmp_path: Path, compress: type[bytes], suffix: str) -> None:
    data = compress(LOWER)
    (tmp_path / "root.tar").write_bytes(data)

    image = store.images.import_tree(tmp_path / "root.tar", "debian", config={"Cmd": ["bash"], "Env": ["A=b"]})

    (layer,) = image.layers
    assert (layer.digest, layer.media_type, layer.diff_id) == (sha256(data), f"{LAYER}{suffix}", sha256(LOWER))
    assert image.names == ("debian:latest",)
    assert image.platform == Platform.here()
    assert (image.config.cmd, image.config.env) == (("bash",), ("A=b",))
    assert [entry.created_by for entry in image.config.history] == ["lamina image import root.tar"]


def test_an_imported_image_has_no_command_of_its_own(store: Store, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(LOWER)

    assert store.images.import_tree(tmp_path / "root.tar", "debian").config.cmd == ()


def test_a_directory_is_imported_with_all_that_a_layer_holds(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/sh").write_bytes(b"#!")
    os.link(root / "bin/sh", root / "bin/ash")
    os.symlink("sh", root / "bin/link")
    os.chown(root / "bin/sh", 1, 2)
    os.chmod(root / "bin/sh", 0o4755)
    os.utime(root / "bin/sh", ns=(0, 1_700_000_000_123_456_789))
    os.setxattr(root / "bin/sh", b"user.note", b"x")

    image = store.images.import_tree(root, "mine")

    with store.fork("mine") as work:
        found = os.lstat(work.path / "bin/sh")
        assert (found.st_uid, found.st_gid, found.st_mode, found.st_mtime_ns) == (1, 2, 0o104755, 1_700_000_000_123_456_789)
        assert (work.path / "bin/ash").samefile(work.path / "bin/sh")
        assert os.readlink(work.path / "bin/link") == "sh"
        assert os.getxattr(work.path / "bin/sh", b"user.note") == b"x"
        assert list(work.changes()) == []
    assert image.layers[0].media_type == f"{LAYER}+gzip"


def test_the_same_source_and_time_give_the_same_image(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (tmp_path / "root.tar").write_bytes(LOWER)

    first = store.images.import_tree(tmp_path / "root.tar", "a")
    second = store.images.import_tree(tmp_path / "root.tar", "b")

    assert first.digest == second.digest
    assert first.created is not None
    assert first.created.timestamp() == 1_700_000_000
    assert second.names == ("a:latest", "b:latest")


@pytest.mark.parametrize("data", [b"no tar at all" * 100, LOWER[:1500], gz(LOWER)[:-5]])
def test_a_broken_tar_is_not_imported(store: Store, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "root.tar").write_bytes(data)

    with pytest.raises(ArchiveError):
        store.images.import_tree(tmp_path / "root.tar", "debian")

    assert (store.images.list(), store.layers.list()) == ((), ())


def test_a_directory_that_no_layer_can_express_is_not_imported(store: Store, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/.wh.x").touch()

    with pytest.raises(UnrepresentableError):
        store.images.import_tree(tmp_path / "root", "debian")

    assert store.images.list() == ()


def test_settings_that_cannot_be_are_refused_and_nothing_is_imported(store: Store, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(LOWER)

    with pytest.raises(ManifestError, match="'Cmd'"):
        store.images.import_tree(tmp_path / "root.tar", "debian", config={"Cmd": "bash"})
    with pytest.raises(InvalidReferenceError):
        store.images.import_tree(tmp_path / "root.tar", "Debian")

    assert (store.images.list(), store.layers.list()) == ((), ())


def test_a_name_that_is_taken_is_not_imported_to(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path, "debian")
    (tmp_path / "root.tar").write_bytes(UPPER)

    with pytest.raises(ImageExistsError, match="choose another name, or remove it first"):
        store.images.import_tree(tmp_path / "root.tar", "debian:latest")

    assert store.images.list() == (image,)


# names ----------------------------------------------------------------------------------------------------------------


def test_an_image_is_found_by_names_and_digests(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path, "debian")

    for name in (
        "debian",
        "debian:latest",
        f"debian@{image.digest}",
        f"debian:latest@{image.digest}",
        image.digest,
        image.digest[7:],
        image.digest[:20],
        image.digest[7:19],
        image.config_digest,
        image.config_digest[7:19],
    ):
        assert store.images.get(name) == image, name
        assert store.images.find(name) == image, name


def test_what_no_image_is_called_is_not_found(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path, "debian")

    for name in (
        "debian:12",
        "other",
        f"sha256:{'0' * 64}",
        f"debian@sha256:{'0' * 64}",
        f"other@{image.digest}",
        f"debian:12@{image.digest}",
        image.digest[7:11],  # too short to be a beginning of a digest
    ):
        assert store.images.find(name) is None, name
        with pytest.raises(ImageNotFoundError, match="lamina image list"):
            store.images.get(name)
    with pytest.raises(InvalidReferenceError):
        store.images.get("No Name")


def test_a_name_goes_before_the_beginning_of_a_digest(store: Store, tmp_path: Path) -> None:
    first, second = loaded(store, tmp_path, "a"), loaded(store, tmp_path, "b", UPPER)
    start = first.digest[7:19]

    store.images.tag("b", start)

    assert store.images.get(start).digest == second.digest


def test_a_tag_is_one_more_name_and_moves(store: Store, tmp_path: Path) -> None:
    first, second = loaded(store, tmp_path, "a"), loaded(store, tmp_path, "b", UPPER)

    store.images.tag("a", "c:1")
    assert store.images.get("c:1").names == ("a:latest", "c:1")

    store.images.tag(second.digest, "c:1")
    assert store.images.get("c:1").digest == second.digest
    assert store.images.get("a").names == ("a:latest",)
    assert first.digest != second.digest


@pytest.mark.parametrize("name", ["Debian", "a b", f"a@sha256:{'0' * 64}", "sha256:" + "0" * 64 + "x" * 128])
def test_what_is_no_name_is_not_given(store: Store, tmp_path: Path, name: str) -> None:
    image = loaded(store, tmp_path, "debian")

    with pytest.raises(InvalidReferenceError):
        store.images.tag("debian", name)

    assert store.images.list() == (image,)


def test_images_are_listed_by_name(store: Store, tmp_path: Path) -> None:
    for number, name in enumerate(("b", "c", "a")):
        loaded(store, tmp_path, name, tar((str(number), b"")))

    assert [image.names for image in store.images.list()] == [("a:latest",), ("b:latest",), ("c:latest",)]


def test_the_history_is_that_of_the_config(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "debian", LOWER, UPPER)

    assert [entry.created_by for entry in store.images.history("debian")] == ["step 0", "step 1"]


# removing -------------------------------------------------------------------------------------------------------------


def test_an_image_goes_with_its_last_name_and_takes_what_is_its_own(store: Store, tmp_path: Path) -> None:
    base, image = loaded(store, tmp_path, "base"), loaded(store, tmp_path, "top", LOWER, UPPER)
    store.images.tag("top", "other")

    assert store.images.remove("other").digest == ""
    assert store.images.get("top").names == ("top:latest",)

    removed = store.images.remove("top")

    assert (removed.names, removed.digest) == (("top:latest",), image.digest)
    assert removed.layers == (image.layer,)
    assert set(removed.blobs) == {image.digest, image.config_digest, image.layers[1].digest}
    assert store.images.list() == (base,)
    assert [layer.key for layer in store.layers.list()] == [base.layer]


def test_everything_goes_with_the_last_image(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, "a", LOWER, UPPER)

    assert len(store.images.remove("a").layers) == 2

    assert store.layers.list() == ()
    assert list((store.root / "blobs/sha256").iterdir()) == []


def test_an_image_goes_by_digest_when_it_has_one_name(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path, "a")
    store.images.tag("a", "b")

    with pytest.raises(ImageInUseError, match="name a:latest, name b:latest"):
        store.images.remove(image.digest)
    store.images.remove("a")
    assert store.images.remove(image.digest[:20]).names == ("b:latest",)

    assert store.images.list() == ()


def test_an_image_with_containers_stays(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path, "a")
    store.images.tag("a", "b")
    store.containers.create("a", name="one")

    store.images.remove("b")
    with pytest.raises(ImageInUseError, match="in use by container one"):
        store.images.remove("a")

    assert store.images.list() == (image,)
    store.containers.remove("one")
    store.images.remove("a")


def test_a_layer_of_an_image_cannot_be_removed(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path, "a")

    with pytest.raises(SnapshotInUseError, match="image a:latest"):
        store.graph.remove(image.layer)


def test_a_layer_that_something_else_stands_on_stays(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path, "a", LOWER, UPPER)
    store.graph.prepare("mine", image.layers[0].chain_id)

    removed = store.images.remove("a")

    assert removed.layers == (image.layer,)
    assert [layer.key for layer in store.layers.list()] == [image.layers[0].chain_id]
    store.graph.remove("mine")


# collecting -----------------------------------------------------------------------------------------------------------


def test_collecting_clears_what_nothing_leads_to(store: Store, tmp_path: Path) -> None:
    first, second = loaded(store, tmp_path, "a", LOWER, UPPER), loaded(store, tmp_path, "b", UPPER)
    store.images.tag("b", "a")  # the first is nameless now
    with store.fork("b") as work:
        (work.path / "x").touch()
        loose = work.commit()
    orphan = store.root / "blobs/sha256" / ("0" * 64)
    orphan.touch()
    (store.root / "staging" / "left").mkdir()
    assert [finding.subject for finding in store.check()] == [f"blob sha256:{'0' * 64}"]

    taken = store.gc()

    assert taken.images == (first.digest,)
    assert set(taken.layers) == {loose.key, *(layer.chain_id for layer in first.layers)}
    assert f"sha256:{'0' * 64}" in taken.blobs
    assert taken.size > 0
    assert [image.digest for image in store.images.list()] == [second.digest]
    assert store.gc().layers == ()


def test_collecting_keeps_what_people_named_and_what_containers_need(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path, "a")
    store.containers.create("a", name="one")
    store.graph.prepare("draft", image.layer)
    store.graph.commit("mine", "draft")
    store.images.tag(loaded(store, tmp_path, "b", UPPER).digest, "a")

    assert store.gc().images == ()

    assert {layer.key for layer in store.layers.list()} >= {"mine", image.layer}


# damage ---------------------------------------------------------------------------------------------------------------


def test_one_damaged_image_does_not_hide_the_others(store: Store, tmp_path: Path) -> None:
    bad, good = loaded(store, tmp_path, "bad"), loaded(store, tmp_path, "good", UPPER)
    (store.root / "blobs/sha256" / bad.config_digest[7:]).unlink()

    found = store.images.list()

    assert [(image.names, bool(image.damage)) for image in found] == [(("bad:latest",), True), (("good:latest",), False)]
    with pytest.raises(StoreCorruptError, match="cannot be opened"):
        store.images.get("bad")
    assert {finding.subject for finding in store.check()} == {"image bad:latest", f"blob {bad.config_digest}"}
    assert all("bad:latest" in f"{finding.subject} {finding.cure}" for finding in store.check())
    store.images.remove("bad")
    assert store.images.list() == (good,)


def test_p20_a_blob_that_became_a_link_is_not_followed(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path, "a")
    blob = store.root / "blobs/sha256" / image.config_digest[7:]
    blob.rename(tmp_path / "outside")
    blob.symlink_to(tmp_path / "outside")

    with pytest.raises(StoreCorruptError):
        store.images.get("a")

    (tmp_path / "outside").replace(blob)


def test_a_deep_check_reads_every_blob(store: Store, tmp_path: Path) -> None:
    image = loaded(store, tmp_path, "a")
    blob = store.root / "blobs/sha256" / image.layers[0].digest[7:]
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + b"x")

    assert store.images.check() == []
    (finding,) = store.images.check(deep=True)
    assert finding.subject == f"blob {image.layers[0].digest}"

    blob.write_bytes(good)
