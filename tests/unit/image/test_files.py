from __future__ import annotations

import gzip
import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from lamina.diff import Limits
from lamina.diff.compression import Compression, compressed
from lamina.errors import LimitExceededError, MalformedArchiveError, ManifestError, UnsafeEntryError
from lamina.image.files import Archive, Directory, Extent, read_small
from tests.unit.image.build import tar

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = Limits()


def archive(path: Path, data: bytes) -> Archive:
    file = path / "it.tar"
    file.write_bytes(data)
    return Archive(file, path, LIMITS)


def members(*infos: tarfile.TarInfo) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as made:
        for info in infos:
            made.addfile(info, io.BytesIO(b"x" * info.size))
    return sink.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def test_a_file_is_read_in_place(tmp_path: Path) -> None:
    large = os.urandom(3 << 20)
    with archive(tmp_path, tar(("a/", b""), ("a/b", b"one"), ("c", large), ("d", b""))) as found:
        assert read_small(found, "a/b", LIMITS) == b"one"
        assert read_small(found, "c", LIMITS) == large
        assert read_small(found, "d", LIMITS) == b""


@pytest.mark.parametrize("spelling", ["a/b", "./a/b", "a//b", ".//a/./b"])
def test_a_file_is_found_however_the_archive_spells_it(tmp_path: Path, spelling: str) -> None:
    with archive(tmp_path, tar((spelling, b"one"))) as found:
        assert read_small(found, "a/b", LIMITS) == b"one"


def test_a_name_of_any_length_and_any_bytes_is_found(tmp_path: Path) -> None:
    name = "x" * 200 + "/\udcff\udc80"
    with archive(tmp_path, members(member(name, size=3))) as found:
        assert read_small(found, name, LIMITS) == b"xxx"


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_a_compressed_archive_is_read_and_leaves_nothing(tmp_path: Path, compression: Compression) -> None:
    plain = tar(("a", b"one"))
    data = gzip.compress(plain) if compression is Compression.GZIP else zstandard.compress(plain)

    with archive(tmp_path, data) as found:
        assert read_small(found, "a", LIMITS) == b"one"
        assert os.listdir(tmp_path) == ["it.tar"]


def test_p21_a_link_leads_to_a_member_of_the_archive(tmp_path: Path) -> None:
    infos = [
        member("a/layer.tar", size=3),
        member("b/layer.tar", tarfile.SYMTYPE, "../a/layer.tar"),
        member("c/layer.tar", tarfile.LNKTYPE, "./a/layer.tar"),
    ]
    with archive(tmp_path, members(*infos)) as found:
        assert read_small(found, "b/layer.tar", LIMITS) == b"xxx"
        assert read_small(found, "c/layer.tar", LIMITS) == b"xxx"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd", "b", "nothing", "link2", "."])
def test_p21_a_link_leads_nowhere_else(tmp_path: Path, target: str) -> None:
    infos = [member("a", size=1), member("b", tarfile.SYMTYPE, target), member("link2", tarfile.SYMTYPE, "a")]
    with (
        archive(tmp_path, members(*infos)) as found,
        pytest.raises(UnsafeEntryError, match="no file of the archive"),
        found.open("b"),
    ):
        pass


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a/.."])
def test_p21_a_member_with_a_name_that_leads_out_spoils_the_archive(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeEntryError, match="leads out"):
        archive(tmp_path, members(member(name)))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "nothing", "", "a/"])
def test_p21_a_name_that_a_document_gives_selects_members_only(tmp_path: Path, name: str) -> None:
    with (
        archive(tmp_path, tar(("a/", b""), ("a/b", b""))) as found,
        pytest.raises(ManifestError, match="has no file"),
        found.open(name),
    ):
        pass


def test_a_file_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeEntryError, match="occurs twice"):
        archive(tmp_path, tar(("index.json", b"1"), ("./index.json", b"2")))


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_device_or_fifo_is_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(UnsafeEntryError):
        archive(tmp_path, members(member("a", kind)))


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedArchiveError):
        archive(tmp_path, tar(("a", b"x" * 10_000))[:5000])


def test_a_large_file_is_not_taken_for_a_document(tmp_path: Path) -> None:
    size = LIMITS.manifest_bytes
    with archive(tmp_path, tar(("fits", b" " * size), ("large", b" " * (size + 1)))) as found:
        assert len(read_small(found, "fits", LIMITS)) == size
        with pytest.raises(LimitExceededError, match="manifest_bytes"):
            read_small(found, "large", LIMITS)


@pytest.mark.parametrize("kind", ["nothing", "directory", "fifo"])
def test_what_is_no_file_is_no_archive(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)

    with pytest.raises(ManifestError):
        Archive(path, tmp_path, LIMITS)


def test_an_archive_closes_its_file(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))

    with archive(tmp_path, gzip.compress(tar(("a", b"")))):
        pass
    with pytest.raises(MalformedArchiveError):
        archive(tmp_path, b"x" * 1024)

    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "link/x", "."])
def test_p20_a_directory_is_not_left(tmp_path: Path, name: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "x").write_bytes(b"secret")
    (place / "link").symlink_to(tmp_path)

    with Directory(place) as found, pytest.raises((ManifestError, UnsafeEntryError)), found.open(name):
        pass


def test_extents_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    with open(tmp_path / "f", "rb") as file:
        first, second = Extent(file.fileno(), 0, 5), Extent(file.fileno(), 5, 5)

        assert (first.read(2), second.read(9), first.read(9), first.read(1)) == (b"01", b"56789", b"234", b"")


def test_an_extent_of_a_file_that_became_shorter_ends_early(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123")
    with open(tmp_path / "f", "rb") as file:
        extent = Extent(file.fileno(), 2, 100)

        assert (extent.read(10), extent.read(10)) == (b"23", b"")


def test_bytes_that_the_compressor_makes_are_told_apart(tmp_path: Path) -> None:
    with open(tmp_path / "it.tar", "wb") as file, compressed(file, Compression.ZSTD) as sink:
        sink.write(tar(("a", b"one")))

    with Archive(tmp_path / "it.tar", tmp_path, LIMITS) as found:
        assert read_small(found, "a", LIMITS) == b"one"
