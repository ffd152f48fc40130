"""The tar writer: canonical bytes, which we and others read back as what was written."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import stat
import subprocess
import tarfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.diff.entries import Entry, EntryKind
from lamina.diff.tar_reader import TarReader
from lamina.diff.tar_writer import TarWriter
from lamina.errors import UnrepresentableError
from tests.unit.diff.tars import END, header, octal, padded, pax

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE = Entry(b"f", EntryKind.FILE, 0o644)
SECOND = 10**9


def written(*entries: tuple[Entry, bytes]) -> bytes:
    sink = io.BytesIO()
    writer = TarWriter(sink)
    for entry, data in entries:
        writer.add(entry, [data])
    writer.close()
    return sink.getvalue()


def read_back(archive: bytes) -> list[tuple[Entry, bytes]]:
    reader = TarReader(io.BytesIO(archive))
    return [(entry, b"".join(reader.body())) for entry in reader]


# --- the canon ---------------------------------------------------------------------------------------------------------


def test_what_fits_into_a_plain_header_has_no_other() -> None:
    entry = Entry(b"x" * 100, EntryKind.FILE, 0o4755, 0o7777777, 0o7777777, 5, 0o77777777777 * SECOND)
    block = header(b"x" * 100, mode=b"0004755\0", uid=b"7777777\0", gid=b"7777777\0", size=octal(5), mtime=b"77777777777\0")

    assert written((entry, b"hello")) == block + padded(b"hello") + END


@pytest.mark.parametrize(
    ("change", "record", "fields"),
    [
        ({"name": b"x" * 101}, (b"path", b"x" * 101), {"name": b"x" * 100}),
        ({"name": "ä".encode()}, (b"path", "ä".encode()), {"name": "ä".encode()}),
        ({"uid": 0o10000000}, (b"uid", b"2097152"), {}),
        ({"gid": 2**32 - 2}, (b"gid", b"4294967294"), {}),
        ({"mtime": 1_500_000_000}, (b"mtime", b"1.5"), {"mtime": octal(1)}),
        ({"mtime": 10**18 + 1}, (b"mtime", b"1000000000.000000001"), {"mtime": octal(10**9)}),
        ({"mtime": -1}, (b"mtime", b"-0.000000001"), {}),
        ({"mtime": -2 * SECOND}, (b"mtime", b"-2"), {}),
        ({"mtime": 8**11 * SECOND}, (b"mtime", b"8589934592"), {}),
        ({"xattrs": {b"user.x": b"a=\0\n"}}, (b"SCHILY.xattr.user.x", b"a=\0\n"), {}),
        ({"xattrs": {b"user.x": b""}}, (b"SCHILY.xattr.user.x", b""), {}),
    ],
)
def test_what_does_not_fit_goes_into_a_pax_record(
    change: dict[str, object], record: tuple[bytes, bytes], fields: dict[str, bytes]
) -> None:
    expected = bytearray(pax(record))
    expected[:512] = header(b"././@PaxHeader", b"x", size=bytes(expected[124:136]))

    assert written((replace(FILE, **change), b"")) == bytes(expected) + header(**{"name": b"f", **fields}) + END  # type: ignore[arg-type]


def test_the_records_are_sorted_whatever_the_order_of_the_xattrs() -> None:
    one = {b"user.b": b"1", b"user.a": b"2", b"security.x": b"3"}
    two = dict(sorted(one.items()))
    entry = replace(FILE, name="ö".encode(), mtime=1)

    assert written((replace(entry, xattrs=one), b"")) == written((replace(entry, xattrs=two), b""))


def test_a_name_that_is_no_utf_8_is_announced_first() -> None:
    archive = written((replace(FILE, name=b"\xff", uid=2**31), b""))

    assert archive[512:].startswith(b"21 hdrcharset=BINARY\n")


def test_a_size_from_8_gib_on_goes_into_a_pax_record() -> None:
    entry = replace(FILE, size=8 << 30)
    sink = io.BytesIO()
    writer = TarWriter(sink)

    with pytest.raises(UnrepresentableError):  # its data are missing; the header is there nevertheless
        writer.add(entry)
    writer.close()

    assert next(iter(TarReader(io.BytesIO(sink.getvalue())))) == entry
    assert b"19 size=8589934592\n" in sink.getvalue()


def test_the_bytes_depend_on_no_time_zone_umask_user_or_hash_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(FILE, name="ä".encode(), mtime=1_600_000_000_123456789, xattrs={b"user.b": b"", b"user.a": b"x"})
    here = written((entry, b""))
    before = os.umask(0o077)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        there = written((entry, b""))
    finally:
        os.umask(before)
        monkeypatch.undo()
        time.tzset()

    assert there == here


def test_the_bytes_of_an_archive_with_everything_never_change() -> None:
    # A new digest here is a new diff id for every layer that users have made: think twice.
    archive = written(
        (Entry(b"./", EntryKind.DIRECTORY, 0o755), b""),
        (Entry(b"dev/", EntryKind.DIRECTORY, 0o1777, 1, 2, 0, -5, xattrs={b"user.z": b"\xff", b"user.a": b""}), b""),
        (Entry(b"dev/null", EntryKind.CHAR, 0o666, major=1, minor=3), b""),
        (Entry(b"dev/sda", EntryKind.BLOCK, 0o660, major=8, minor=1048575), b""),
        (Entry(b"dev/\xff", EntryKind.FIFO, 0o600, 2**32 - 2, 2**32 - 2, 0, 1), b""),
        (Entry(b"f", EntryKind.FILE, 0o4711, 0, 0, 5, 1_700_000_000_120_000_000), b"hello"),
        (Entry(b"h", EntryKind.HARDLINK, 0, link=b"f"), b""),
        (Entry(b"l", EntryKind.SYMLINK, 0o777, link=b"t" * 101), b""),
    )

    assert hashlib.sha256(archive).hexdigest() == "bca1a82279c75bd24105dc97ff8faace2d4207223e436717d999cb08a1dbf1b4"


# --- data --------------------------------------------------------------------------------------------------------------


def test_data_come_from_a_file_descriptor_too(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "f").write_bytes(data)
    sink = io.BytesIO()
    writer = TarWriter(sink)

    with (tmp_path / "f").open("rb") as file:
        writer.add(replace(FILE, size=len(data)), file.fileno())
    writer.close()

    assert sink.getvalue() == written((replace(FILE, size=len(data)), data))


def test_a_file_that_grew_is_written_in_the_size_that_it_had(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"hello, world")
    sink = io.BytesIO()
    writer = TarWriter(sink)

    with (tmp_path / "f").open("rb") as file:
        writer.add(replace(FILE, size=5), file.fileno())
    writer.close()

    assert read_back(sink.getvalue()) == [(replace(FILE, size=5), b"hello")]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("data", [[], [b"hell"], [b"hello", b"!"], [b"hello!"], itertools.repeat(b"hell")])
def test_data_of_another_size_than_the_entry_says_are_refused(data: Iterable[bytes]) -> None:
    with pytest.raises(UnrepresentableError, match="changed"):
        TarWriter(io.BytesIO()).add(replace(FILE, size=5), data)


def test_the_callers_memory_may_be_reused_at_once() -> None:
    sink = io.BytesIO()
    writer = TarWriter(sink)
    buffer = bytearray(b"one")

    writer.add(replace(FILE, size=3), [memoryview(buffer)])
    buffer[:] = b"two"
    writer.close()

    assert read_back(sink.getvalue())[0][1] == b"one"


def test_large_pieces_reach_the_sink_without_a_copy() -> None:
    pieces = []

    class Sink:
        def write(self, data: bytes | memoryview, /) -> None:
            pieces.append(data)

    data = bytes(1 << 20)
    TarWriter(Sink()).add(replace(FILE, size=len(data)), [data])

    assert any(piece is data for piece in pieces)


# --- what cannot be written ----------------------------------------------------------------------------------------------


def test_an_xattr_whose_name_holds_an_equals_sign_is_refused() -> None:
    with pytest.raises(UnrepresentableError, match=r"user\.a=b"):
        written((replace(FILE, xattrs={b"user.a=b": b"x"}), b""))


def test_a_whiteout_of_overlay_is_refused() -> None:
    with pytest.raises(UnrepresentableError, match="whiteout"):
        written((Entry(b"x", EntryKind.CHAR, 0), b""))


def test_xattrs_beyond_what_readers_take_are_refused() -> None:
    with pytest.raises(UnrepresentableError, match="1048576"):
        written((replace(FILE, xattrs={b"user.%d" % i: bytes(65536) for i in range(16)}), b""))


@pytest.mark.parametrize(
    "change",
    [
        {"name": b""},
        {"name": b"a\0b"},
        {"name": b"file/"},
        {"mode": 0o10000},
        {"mode": -1},
        {"uid": 2**32 - 1},
        {"gid": -1},
        {"size": -1},
        {"link": b"x"},
        {"kind": EntryKind.SYMLINK},
        {"kind": EntryKind.HARDLINK},
        {"kind": EntryKind.SYMLINK, "link": b"a\0b"},
        {"kind": EntryKind.DIRECTORY, "size": 1},
        {"kind": EntryKind.CHAR, "major": 4096},
        {"kind": EntryKind.CHAR, "minor": 1 << 20},
    ],
)
def test_an_entry_that_no_file_can_make_is_a_mistake(change: dict[str, object]) -> None:
    sink = io.BytesIO()

    with pytest.raises(ValueError, match="no tar entry"):
        TarWriter(sink).add(replace(FILE, **change))  # type: ignore[arg-type]

    assert sink.getvalue() == b""


# --- back again ----------------------------------------------------------------------------------------------------------

BYTES = st.integers(1, 255).map(lambda n: bytes([n]))
NAMES = st.one_of(
    st.lists(BYTES, min_size=1, max_size=200).map(b"".join),
    st.sampled_from([b"/", b"./", b"a" * 99 + b"/b", b"a" * 100, b"a" * 101, b"a" * 98 + "ä".encode(), b"x/" * 600]),
)
IDS = st.one_of(st.integers(0, 2**32 - 2), st.sampled_from([0, 0o7777777, 0o7777777 + 1, 2**32 - 2]))
TIMES = st.one_of(st.integers(-(2**70), 2**70), st.integers(-(2**33), 2**34).map(lambda n: n * SECOND), st.integers(-2, 2))
XATTRS = st.dictionaries(
    st.lists(BYTES.filter(lambda b: b != b"="), min_size=1, max_size=20).map(b"".join),
    st.one_of(st.binary(max_size=40), st.just(b"x" * 65536)),
    max_size=3,
)


@st.composite
def any_entries(draw: st.DrawFn) -> tuple[Entry, bytes]:
    kind = draw(st.sampled_from(EntryKind))
    data = draw(st.binary(max_size=1500)) if kind is EntryKind.FILE else b""
    is_device = kind in (EntryKind.CHAR, EntryKind.BLOCK)
    entry = Entry(
        draw(NAMES.filter(lambda n: not n.endswith(b"/")) if kind is EntryKind.FILE else NAMES),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(IDS),
        draw(IDS),
        len(data),
        draw(TIMES),
        draw(NAMES) if kind in (EntryKind.SYMLINK, EntryKind.HARDLINK) else b"",
        draw(st.integers(1, 4095)) if is_device else 0,
        draw(st.integers(0, 2**20 - 1)) if is_device else 0,
        draw(XATTRS),
    )
    return entry, data


@settings(max_examples=250, deadline=None)
@given(st.lists(any_entries(), max_size=4))
def test_what_is_written_reads_back_the_same(entries: list[tuple[Entry, bytes]]) -> None:
    assert read_back(written(*entries)) == entries


@settings(max_examples=150, deadline=None)
@given(st.lists(any_entries(), min_size=1, max_size=4))
def test_python_reads_back_what_is_written(entries: list[tuple[Entry, bytes]]) -> None:
    def raw(text: str) -> bytes:
        return text.encode("utf-8", "surrogateescape")

    with tarfile.open(fileobj=io.BytesIO(written(*entries)), encoding="utf-8", errors="surrogateescape") as archive:
        found = archive.getmembers()
    for member, (entry, _) in zip(found, entries, strict=True):
        assert raw(member.name).rstrip(b"/") == entry.name.rstrip(b"/")
        assert (member.mode, member.uid, member.gid, member.size) == (entry.mode, entry.uid, entry.gid, entry.size)
        assert raw(member.linkname) == entry.link
        assert member.type == b"%d" % entry.kind
        assert (member.devmajor, member.devminor) == (entry.major, entry.minor)
        assert {
            raw(key).removeprefix(b"SCHILY.xattr."): raw(value)
            for key, value in member.pax_headers.items()
            if key.startswith("SCHILY.xattr.")
        } == entry.xattrs
        if "mtime" not in member.pax_headers:
            assert member.mtime * SECOND == entry.mtime


#: Entries that a filesystem and every reader can hold (libarchive takes -1.5 seconds for -0.5), parents first.
TREE = [
    (Entry(b"d/", EntryKind.DIRECTORY, 0o1750, 1000, 70_000, 0, 1_600_000_000_123456789), b""),
    (
        Entry(b"d/" + b"n" * 200, EntryKind.FILE, 0o4711, 2**21, 2**31, 5, -2 * SECOND, xattrs={b"user.b": b"a=\0\n\xff"}),
        b"hello",
    ),
    (Entry("d/ä".encode(), EntryKind.FILE, 0o600, 5, 6, 7, 10**18, xattrs={b"user.a": b"x", b"user.b": b"y"}), b"umlauts"),
    (Entry(b"d/\xff\xfe", EntryKind.FILE, 0, 2**32 - 2, 0, 1, 1), b"x"),
    (Entry(b"d/" + b"a" * 97 + b"/", EntryKind.DIRECTORY, 0o755, 9, 9, 0, 9 * SECOND), b""),
    (Entry(b"d/" + b"a" * 97 + b"/b", EntryKind.FILE, 0o644, 0, 0, 3, 0), b"cut"),
    (Entry(b"d/link", EntryKind.SYMLINK, 0o777, 3, 4, 0, 1_500_000_000_000000001, b"t/" * 60 + b"x"), b""),
    (Entry(b"d/null", EntryKind.CHAR, 0o666, 0, 5, 0, 99 * SECOND, b"", 1, 300), b""),
    (Entry(b"d/disk", EntryKind.BLOCK, 0o660, 0, 6, 0, 99 * SECOND, b"", 259, 70_000), b""),
    (Entry(b"d/pipe", EntryKind.FIFO, 0o620, 7, 8, 0, 5), b""),
    (Entry(b"d/twin", EntryKind.HARDLINK, 0o4711, link=b"d/" + b"n" * 200), b""),
]


@pytest.mark.root
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "-xpf"], id="gnu"),
        pytest.param(["bsdtar", "--xattrs", "--numeric-owner", "--same-owner", "-xpf"], id="libarchive"),
    ],
)
def test_other_tars_unpack_what_is_written(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "t.tar").write_bytes(written(*TREE))

    try:
        subprocess.run([*command, "../t.tar"], cwd=make(tmp_path / "out"), check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")

    found = {entry.name: entry_of(tmp_path / "out", entry) for entry, _ in TREE}
    assert found == {entry.name: as_on_disk(entry) for entry, _ in TREE}
    for entry, data in TREE:
        if entry.kind is EntryKind.FILE:
            assert (tmp_path / "out" / os.fsdecode(entry.name)).read_bytes() == data
    assert (tmp_path / "out/d/twin").samefile(tmp_path / "out/d" / ("n" * 200))


def make(directory: Path) -> Path:
    directory.mkdir()
    return directory


def as_on_disk(entry: Entry) -> Entry:
    """What is to be found where ``entry`` was unpacked: a second name of a file looks like the first one."""
    if entry.kind is EntryKind.HARDLINK:
        return next(replace(first, name=entry.name) for first, _ in TREE if first.name == entry.link)
    return entry


KINDS = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFCHR: EntryKind.CHAR,
    stat.S_IFBLK: EntryKind.BLOCK,
    stat.S_IFDIR: EntryKind.DIRECTORY,
    stat.S_IFIFO: EntryKind.FIFO,
}


def entry_of(root: Path, entry: Entry) -> Entry:
    path = os.fsencode(root) + b"/" + entry.name.rstrip(b"/")
    found = os.lstat(path)
    kind = KINDS[stat.S_IFMT(found.st_mode)]
    names = os.listxattr(path, follow_symlinks=False)
    return Entry(
        entry.name,
        kind,
        found.st_mode & 0o7777,
        found.st_uid,
        found.st_gid,
        found.st_size if kind is EntryKind.FILE else 0,
        found.st_mtime_ns,
        os.readlink(path) if kind is EntryKind.SYMLINK else b"",
        os.major(found.st_rdev),
        os.minor(found.st_rdev),
        {os.fsencode(name): os.getxattr(path, name, follow_symlinks=False) for name in names},
    )
