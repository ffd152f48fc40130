"""What the tar reader takes, and how it understands it."""

from __future__ import annotations

import io
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from lamina.diff.entries import Entry, EntryKind
from lamina.diff.tar_reader import TarReader
from lamina.errors import DigestMismatchError, MalformedArchiveError
from tests.unit.diff.tars import (
    END,
    GNU,
    Drip,
    base_256,
    contents,
    header,
    member,
    octal,
    padded,
    pax,
    read,
    read_one,
    summed,
)

if TYPE_CHECKING:
    from pathlib import Path


# --- kinds -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        (b"0", EntryKind.FILE),
        (b"\0", EntryKind.FILE),
        (b"7", EntryKind.FILE),
        (b"1", EntryKind.HARDLINK),
        (b"2", EntryKind.SYMLINK),
        (b"3", EntryKind.CHAR),
        (b"4", EntryKind.BLOCK),
        (b"5", EntryKind.DIRECTORY),
        (b"6", EntryKind.FIFO),
    ],
)
def test_ap01_each_type_flag_gives_its_kind(flag: bytes, kind: EntryKind) -> None:
    link = b"target" if kind in (EntryKind.HARDLINK, EntryKind.SYMLINK) else b""
    device = (5, 1) if kind in (EntryKind.CHAR, EntryKind.BLOCK) else (0, 0)

    found = read_one(header(b"x", flag, link=link, major=b"0000005\0", minor=b"0000001\0"))

    assert found == Entry(b"x", kind, 0o644, link=link, major=device[0], minor=device[1])


def test_ap01_an_old_file_whose_name_ends_in_a_slash_is_a_directory() -> None:
    assert read_one(header(b"d/", b"\0")).kind is EntryKind.DIRECTORY


def test_all_plain_fields_are_read() -> None:
    block = header(b"bin/su", mode=b"0004755\0", uid=b"0001750\0", gid=b"0000062\0", mtime=b"14703301000\0")

    assert read_one(block) == Entry(b"bin/su", EntryKind.FILE, 0o4755, 1000, 50, 0, 0o14703301000 * 10**9)


def test_type_bits_in_the_mode_of_old_archives_are_dropped() -> None:
    assert read_one(header(mode=b"0100600\0")).mode == 0o600


@pytest.mark.parametrize("field", [b"", b"       \0", b"\0\0\0\0\0\0\0\0"])
def test_an_empty_number_is_zero(field: bytes) -> None:
    assert read_one(header(uid=field.ljust(8, b"\0"))).uid == 0


@pytest.mark.parametrize("field", [b"   750\0 ", b"0000750 ", b"00000750", b"750\0\0\0\0\0"])
def test_octal_is_read_between_blanks_and_nuls(field: bytes) -> None:
    assert read_one(header(uid=field)).uid == 0o750


def test_a_checksum_of_signed_characters_is_taken() -> None:
    block = bytearray(header("ä".encode()))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(byte - 256 if byte > 127 else byte for byte in block)

    assert read_one(bytes(block)).name == "ä".encode()


# --- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [b"./x", b"/x", b"a//b", b"a/./b", b"../x", b"\xff\xfe", b"a\nb", "\u202egnp".encode(), b"x" * 100]
)
def test_t12_names_are_bytes_kept_as_they_are(name: bytes) -> None:
    assert read_one(header(name)).name == name


def test_a_ustar_prefix_goes_in_front() -> None:
    assert read_one(header(b"name", prefix=b"some/dir")).name == b"some/dir/name"


def test_a_full_ustar_prefix_needs_no_nul() -> None:
    assert read_one(header(b"n", prefix=b"p" * 155)).name == b"p" * 155 + b"/n"


def test_star_keeps_times_behind_a_shorter_prefix() -> None:
    block = bytearray(header(b"n", prefix=b"p" * 131 + b"15301113444\0"))
    block[508:512] = b"tar\0"

    assert read_one(summed(block)).name == b"p" * 131 + b"/n"


def test_times_in_a_gnu_header_are_no_prefix() -> None:
    assert read_one(header(b"n", magic=GNU, prefix=b"15301113444\00015301113444\0")).name == b"n"


def test_ap21_a_prefix_under_gnus_magic_is_read_where_no_times_can_be() -> None:
    prefix = b"root/.cpanm/work/1395823785.24209"

    assert read_one(header(b"n", magic=GNU, prefix=prefix)).name == prefix + b"/n"


def test_ap21_what_is_neither_a_time_nor_ascii_under_gnus_magic_means_nothing() -> None:
    assert read_one(header(b"n", magic=GNU, prefix=b"\xc3\xa4/b")).name == b"n"


def test_before_posix_there_was_no_prefix() -> None:
    assert read_one(header(b"n", magic=bytes(8), prefix=b"dir")).name == b"n"


def test_ap22_gnu_long_names_and_links() -> None:
    name, link = b"n/" * 80 + b"x", b"l/" * 90
    data = member(b"././@LongLink", link + b"\0", b"K") + member(b"././@LongLink", name + b"\0", b"L")

    found = read_one(data + header(name[:100], b"2", link=link[:100], magic=GNU))

    assert (found.name, found.link) == (name, link)


# --- PAX ---------------------------------------------------------------------------------------------------------------


def test_ap22_pax_overrides_each_field_of_the_next_entry_only() -> None:
    overrides = pax((b"path", b"p" * 200), (b"uid", b"4294967294"), (b"gid", b"70000"), (b"mtime", b"5"), (b"size", b"3"))

    first, second = read(overrides + header(b"short") + padded(b"abc") + header(b"next") + END)

    assert first == Entry(b"p" * 200, EntryKind.FILE, 0o644, 4294967294, 70000, 3, 5 * 10**9)
    assert second == Entry(b"next", EntryKind.FILE, 0o644)


def test_pax_link_targets_are_for_links() -> None:
    to_long = pax((b"linkpath", b"l" * 300))

    assert read_one(to_long + header(b"s", b"2", link=b"cut")).link == b"l" * 300
    assert read_one(to_long + header(b"f")).link == b""


def test_ap22_base_256_numbers() -> None:
    block = header(uid=base_256(2**31, 8), gid=base_256(2**32 - 2, 8), mtime=base_256(-5))

    found = read_one(block)

    assert (found.uid, found.gid, found.mtime) == (2**31, 2**32 - 2, -5 * 10**9)


def test_ap22_a_base_256_size_over_8_gib_is_read_from_the_header() -> None:
    found = next(iter(TarReader(io.BytesIO(header(size=base_256(9 << 30))))))

    assert found.size == 9 << 30


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1700000000.123456789", 1700000000123456789),
        (b"1700000000.5", 1700000000500000000),
        (b"1.0000000019", 1000000001),
        (b"7", 7000000000),
        (b"7.", 7000000000),
        (b"-1", -1000000000),
        (b"-1.5", -1500000000),
        (b"-0.000000001", -1),
        (b"99999999999", 99999999999 * 10**9),
    ],
)
def test_ap15_t14_pax_times_are_exact_to_the_nanosecond(text: bytes, nanoseconds: int) -> None:
    assert read_one(pax((b"mtime", text)) + header()).mtime == nanoseconds


def test_xattrs_are_bytes_of_any_kind() -> None:
    values = {b"user.nul": b"\0\1", b"user.line": b"a\nb", b"user.equals": b"a=b", b"user.empty": b"", b"user.x": b"\xff" * 60000}
    records = [(b"SCHILY.xattr." + name, value) for name, value in values.items()]

    assert read_one(pax(*records) + header()).xattrs == values


def test_libarchives_xattrs_are_read_where_schilys_are_missing() -> None:
    data = pax(
        (b"LIBARCHIVE.xattr.user.a%3Db", b"AAH/"), (b"LIBARCHIVE.xattr.user.both", b"eA"), (b"SCHILY.xattr.user.both", b"x")
    )

    assert read_one(data + header()).xattrs == {b"user.a=b": b"\0\1\xff", b"user.both": b"x"}


def test_ap19_t11_a_global_header_has_no_effect() -> None:
    data = pax((b"path", b"renamed"), (b"mtime", b"5"), (b"comment", b"c"), flag=b"g") + header(b"kept")

    assert read_one(data) == Entry(b"kept", EntryKind.FILE, 0o644)


def test_t11_of_equal_keywords_the_last_counts() -> None:
    assert read_one(pax((b"path", b"one"), (b"path", b"two")) + header()).name == b"two"


def test_t11_the_size_that_writers_repeat_in_a_hard_link_means_nothing() -> None:
    first, second = read(member(b"a", b"data") + header(b"b", b"1", link=b"a", size=octal(4)) + END)

    assert (first.size, second.kind, second.size) == (4, EntryKind.HARDLINK, 0)


# --- data --------------------------------------------------------------------------------------------------------------


def test_data_come_as_views_of_what_was_read() -> None:
    reader = TarReader(io.BytesIO(member(b"f", b"hello") + END))
    next(iter(reader))

    (piece,) = reader.body()

    assert isinstance(piece, memoryview)
    assert isinstance(piece.obj, bytes)
    assert len(piece.obj) > len(piece)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, (1 << 20) - 512, 1 << 20, (3 << 20) + 7])
def test_data_of_every_size_are_whole_and_the_next_entry_is_found(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)

    found = contents(member(b"a", data[:size]) + member(b"b", b"behind") + END)

    assert found == {b"a": data[:size], b"b": b"behind"}


def test_data_that_are_not_taken_are_passed_over() -> None:
    reader = TarReader(io.BytesIO(member(b"a", b"x" * 5000) + member(b"b", b"x" * (3 << 20)) + header(b"c") + END))
    names = []

    for entry in reader:
        names.append(entry.name)
        if entry.name == b"b":
            next(reader.body())

    assert names == [b"a", b"b", b"c"]


def test_what_is_no_file_has_no_data() -> None:
    reader = TarReader(io.BytesIO(header(b"d", b"5") + END))
    next(iter(reader))

    assert list(reader.body()) == []


def test_ap38_a_source_that_gives_a_byte_at_a_time_reads_the_same() -> None:
    data = pax((b"mtime", b"1.5")) + member(b"a", b"hello" * 300) + member(b"b", b"there") + END

    reader = TarReader(Drip(data))

    assert {entry.name: b"".join(reader.body()) for entry in reader} == contents(data)


# --- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blob", [b"", bytes(512), bytes(1024), bytes(10240)], ids=len)
def test_ap28_zeros_and_nothing_are_archives_without_entries(blob: bytes) -> None:
    assert read(blob) == []


@pytest.mark.parametrize("trailing", [bytes(9216), b"junk", member(b"not/merged")])
def test_ap29_t17_what_follows_the_end_is_read_and_means_nothing(trailing: bytes) -> None:
    source = io.BytesIO(header(b"a") + END + trailing)

    names = [entry.name for entry in TarReader(source)]

    assert names == [b"a"]
    assert source.read() == b""


def test_an_error_of_the_source_behind_the_end_is_not_lost() -> None:
    class Liar:
        chunks = iter([header(b"a") + END])

        def read(self, n: int, /) -> bytes:
            for chunk in self.chunks:
                return chunk
            raise DigestMismatchError("layer", "sha256:a", "sha256:b")

    with pytest.raises(DigestMismatchError):
        list(TarReader(Liar()))


def test_errors_name_the_stream_and_the_place() -> None:
    data = header(b"a") + b"\1" * 512

    with pytest.raises(MalformedArchiveError, match=r"^layer 3: malformed archive: .*byte 1024"):
        list(TarReader(io.BytesIO(data), label="layer 3"))


# --- other people's archives -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["v7", "ustar", "oldgnu", "gnu", "posix"])
def test_what_gnu_tar_writes_in_each_format_reads_as_tarfile_reads_it(tmp_path: Path, form: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"data" * 1000)
    (tree / "link").symlink_to("file")
    (tree / "twin").hardlink_to(tree / "file")
    if form in ("gnu", "oldgnu", "posix"):
        (tree / ("long" * 40)).write_bytes(b"long")
        (tree / "to-long").symlink_to("far" * 60)

    subprocess.run(["tar", "-cf", tmp_path / "t.tar", f"--format={form}", "-C", tree, "."], check=True)
    ours = read((tmp_path / "t.tar").read_bytes())

    with tarfile.open(tmp_path / "t.tar") as archive:
        theirs = [(m.name, m.mode, m.uid, m.gid, m.size, int(m.mtime), m.linkname) for m in archive.getmembers()]
    assert [
        (e.name.decode().rstrip("/"), e.mode, e.uid, e.gid, e.size, e.mtime // 10**9, e.link.decode()) for e in ours
    ] == theirs
    assert len(ours) >= 4
