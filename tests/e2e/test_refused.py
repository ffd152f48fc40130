"""What is refused: one line that names the thing and the cure, an exit code of its own, and nothing changed."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from lamina import errors
from lamina.testing.archives import archive, directory, file
from tests.e2e.command import Command
from tests.e2e.containers import container
from tests.e2e.layouts import digest, image, write_archive

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.material import Material

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

LAYER = archive([directory("etc"), file("etc/motd", "hello\n")])
ABOVE = archive([file("etc/issue", "above\n")])
#: Compresses to no less than it is.
NOISE = random.Random(0).randbytes(1_000_000)
#: Not kept, since they tell of processes and not of what is stored; and the counter behind ids that are never used twice.
PASSING = {"sqlite_sequence"}


@pytest.fixture
def small(lamina: Command, tmp_path: Path) -> Command:
    """A store with an image ``tiny`` of one layer and a container ``box`` of it."""
    lamina("image", "load", f"oci-archive:{write_archive(tmp_path / 'tiny.tar', image(LAYER))}", "-t", "tiny")
    lamina("container", "create", "tiny", "--name", "box")
    return lamina


def contents(root: Path) -> dict[str, Any]:
    """Everything that a store keeps: each file with its bytes, and each row of its tables."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        data = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.name.startswith("lamina.db") else ""
        if not path.name.startswith("lamina.db-"):
            found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, data)
    with sqlite3.connect(root / "lamina.db") as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")} - PASSING
        found |= {table: sorted(database.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in tables}
    database.close()
    return found


def refuse(lamina: Command, error: type[errors.LaminaError], *words: str | Path, mentioning: tuple[str, ...]) -> None:
    """Require a command to fail as ``error`` does, in one line, and to leave the store as it was."""
    before = contents(lamina.root)

    ran = lamina.attempt(*words)

    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1, ran.err
    assert ran.err.startswith("lamina: ")
    assert ran.code == error.exit_code, ran.err
    for word in mentioning:
        assert word in ran.err
    assert contents(lamina.root) == before


def load(place: Path) -> tuple[str, ...]:
    return ("image", "load", f"oci-archive:{place}", "-t", "refused")


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_truncated_archive(small: Command, tmp_path: Path, kept: float) -> None:
    whole = write_archive(tmp_path / "whole.tar", image(LAYER, archive([file("data", NOISE)]))).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: int(len(whole) * kept)])

    refuse(small, errors.MalformedArchiveError, *load(tmp_path / "cut.tar"), mentioning=("cut.tar", "get a fresh copy"))


@pytest.mark.slow
def test_a_truncated_archive_of_a_real_image(small: Command, debian: Material, tmp_path: Path) -> None:
    size = debian.oci_archive.stat().st_size
    with debian.oci_archive.open("rb") as whole, (tmp_path / "cut.tar").open("wb") as cut:
        cut.write(whole.read(size - size // 3))

    refuse(small, errors.MalformedArchiveError, *load(tmp_path / "cut.tar"), mentioning=("cut.tar", "get a fresh copy"))


def test_an_archive_with_one_byte_of_a_layer_flipped(small: Command, tmp_path: Path) -> None:
    files = image(LAYER, ABOVE)
    name = [name for name, data in files.items() if data[:2] == b"\x1f\x8b"][1]
    files[name] = files[name][:40] + bytes([files[name][40] ^ 1]) + files[name][41:]
    place = write_archive(tmp_path / "flipped.tar", files)

    refuse(small, errors.MalformedArchiveError, *load(place), mentioning=(f"layer {digest(ABOVE)}", "get a fresh copy"))


def test_a_layer_that_has_another_digest_than_the_manifest_says(small: Command, tmp_path: Path) -> None:
    place = write_archive(tmp_path / "wrong.tar", image(LAYER, ABOVE, changed={1: {"digest": digest(b"something else")}}))

    refuse(small, errors.DigestMismatchError, *load(place), mentioning=(digest(b"something else"), "get a fresh copy"))


@pytest.mark.parametrize("size", [1, 10**6])
def test_a_layer_that_has_another_size_than_the_manifest_says(small: Command, tmp_path: Path, size: int) -> None:
    place = write_archive(tmp_path / "wrong.tar", image(LAYER, ABOVE, changed={1: {"size": size}}))

    refuse(small, errors.DigestMismatchError, *load(place), mentioning=(str(size), "get a fresh copy"))


@pytest.mark.parametrize("name", ["../outside", "etc/../../outside", "/../outside"])
def test_a_name_that_leaves_the_root(small: Command, tmp_path: Path, name: str) -> None:
    place = write_archive(tmp_path / "escape.tar", image(LAYER, archive([file(name, "gotcha\n")])))

    refuse(small, errors.UnsafeEntryError, *load(place), mentioning=("outside", "refused", "do not trust"))
    assert not list(tmp_path.rglob("outside"))


def test_an_unknown_driver(small: Command) -> None:
    refuse(
        Command(small.root, "nosuch"), errors.DriverNotFoundError, "image", "list", mentioning=("nosuch", "lamina driver list")
    )


def test_a_store_opened_with_another_driver(small: Command, driver: str) -> None:
    other = {"overlay": "vfs", "vfs": "overlay"}[driver]

    refuse(Command(small.root, other), errors.StoreDriverError, "image", "list", mentioning=(driver, other, "--driver", "--root"))


def test_an_image_that_a_container_needs(small: Command) -> None:
    refuse(small, errors.ImageInUseError, "image", "remove", "tiny", mentioning=("tiny", "box", "remove"))


def test_a_layer_that_others_stand_on(small: Command) -> None:
    base = small.json("image", "show", "tiny")["layers"][0]["chain_id"]

    refuse(small, errors.SnapshotInUseError, "layer", "remove", base, mentioning=(base, "those first"))


def test_committing_over_a_name(small: Command) -> None:
    refuse(small, errors.ImageExistsError, "container", "commit", "box", "-t", "tiny", mentioning=("tiny", "exists already"))


def test_importing_over_a_name(small: Command, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(ABOVE)

    words = ("image", "import", tmp_path / "root.tar", "-t", "tiny")
    refuse(small, errors.ImageExistsError, *words, mentioning=("tiny", "exists already"))


@pytest.mark.xdist_group("overlay")
def test_a_driver_that_cannot_run_in_this_place(tmp_path: Path) -> None:
    # overlayfs does not take a directory of another overlayfs as its upper one.
    outer = Command(tmp_path / "outer", "overlay")
    outer("image", "load", f"oci-archive:{write_archive(tmp_path / 'tiny.tar', image(LAYER))}", "-t", "tiny")
    with container(outer, "tiny") as made:
        inner = Command(made.root / "store", "overlay")

        ran = inner.attempt("image", "load", f"oci-archive:{tmp_path / 'tiny.tar'}")

        assert ran.code == errors.DriverUnavailableError.exit_code
        assert len(ran.err.splitlines()) == 1
        assert "overlay" in ran.err
        assert not inner.root.exists() or list(inner.root.iterdir()) == []
