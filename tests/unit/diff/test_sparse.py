"""Sparse files: read as what they stand for, in all forms that GNU tar has written, and within bounds."""

from __future__ import annotations

import io
import os
import subprocess
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lamina.diff.limits import DEFAULT_LIMITS
from lamina.diff.tar_reader import TarReader
from lamina.errors import LimitExceededError, MalformedArchiveError
from tests.unit.diff.tars import END, GNU, contents, header, member, octal, padded, pax, read

if TYPE_CHECKING:
    from pathlib import Path


def gnu_sparse(segments: list[tuple[int, int]], size: int, data: bytes, *, more: bytes = b"\0") -> bytes:
    """An entry of GNU's type S whose header holds the whole map."""
    fields = b"".join(octal(offset) + octal(length) for offset, length in segments)
    places = fields.ljust(96, b"\0") + more + octal(size)
    return header(b"s", b"S", magic=GNU, size=octal(len(data)), sparse=places) + padded(data)


def with_map(numbers: bytes, data: bytes, size: bytes) -> bytes:
    """An entry of version 1.0, whose data begin with the map."""
    body = padded(numbers) + data
    records = {b"major": b"1", b"minor": b"0", b"name": b"s", b"realsize": size}
    return pax(*((b"GNU.sparse." + keyword, value) for keyword, value in records.items())) + member(b"GNUSparseFile.0/s", body)


@pytest.mark.parametrize("form", ["oldgnu", "0.0", "0.1", "1.0"])
@pytest.mark.parametrize("segments", [0, 1, 4, 5, 60])
def test_ap23_what_gnu_tar_writes_in_each_form_has_its_content(tmp_path: Path, form: str, segments: int) -> None:
    step = 64 << 10
    with (tmp_path / "sparse").open("wb") as file:
        for i in range(segments):
            file.seek(2 * i * step)
            file.write(b"%d" % i * 100)
        file.truncate(2 * (segments + 1) * step)
    (tmp_path / "next").write_bytes(b"after")
    version = ["--format=gnu"] if form == "oldgnu" else ["--format=posix", f"--sparse-version={form}"]

    subprocess.run(["tar", "-cSf", "t.tar", *version, "sparse", "next"], cwd=tmp_path, check=True)

    archive = (tmp_path / "t.tar").read_bytes()
    assert len(archive) < 2 * (segments + 1) * step or not segments  # really sparse
    assert contents(archive) == {b"sparse": (tmp_path / "sparse").read_bytes(), b"next": b"after"}
    assert [entry.size for entry in read(archive)] == [os.stat(tmp_path / "sparse").st_size, 5]


def test_holes_at_both_ends_and_in_between_are_zeros() -> None:
    found = contents(gnu_sparse([(2, 2), (6, 1)], 9, b"abc") + header(b"next") + END)

    assert found == {b"s": b"\0\0ab\0\0c\0\0", b"next": b""}


def test_a_sparse_file_may_be_passed_over() -> None:
    data = gnu_sparse([(2, 2), (6, 1)], 9, b"abc") + header(b"next") + END

    assert [entry.name for entry in read(data)] == [b"s", b"next"]


def test_t10_a_hole_counts_as_data() -> None:
    data = pax((b"GNU.sparse.size", b"%d" % (1 << 60)), (b"GNU.sparse.map", b"0,4")) + member(b"s", b"data") + END

    with pytest.raises(LimitExceededError, match="unpacked_bytes"):
        read(data)


def test_a_hole_of_a_gigabyte_takes_little_memory() -> None:
    reader = TarReader(io.BytesIO(pax((b"GNU.sparse.size", b"%d" % (1 << 30)), (b"GNU.sparse.map", b"")) + header(b"s") + END))
    next(iter(reader))
    tracemalloc.start()

    assert sum(len(piece) for piece in reader.body()) == 1 << 30

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_t9_the_map_has_a_limit_in_every_form() -> None:
    limits = replace(DEFAULT_LIMITS, sparse_segments=3)
    pairs = [(2 * i, 1) for i in range(4)]
    flat = [b"%d" % number for pair in pairs for number in pair]
    forms = {
        "S": gnu_sparse(pairs, 8, b"abcd"),
        "0.0": pax((b"GNU.sparse.size", b"8"), *zip((b"GNU.sparse.offset", b"GNU.sparse.numbytes") * 4, flat, strict=True)),
        "0.1": pax((b"GNU.sparse.size", b"8"), (b"GNU.sparse.map", b",".join(flat))),
        "1.0": with_map(b"4\n" + b"\n".join(flat) + b"\n", b"abcd", b"8"),
    }
    for form, data in forms.items():
        archive = (data + member(b"s", b"abcd") if form.startswith("0") else data) + END
        assert list(contents(archive).values()) == [b"a\0b\0c\0d\0"], form
        with pytest.raises(LimitExceededError, match="sparse_segments"):
            read(archive, limits)


def test_t9_an_endless_map_ends_at_its_limit() -> None:
    more = octal(0) * 42 + b"\1" + bytes(7)

    class Endless:
        chunks = iter([gnu_sparse([], 0, b"", more=b"\1")])

        def read(self, n: int, /) -> bytes:
            return next(self.chunks, more * 100)

    with pytest.raises(LimitExceededError, match="sparse_segments"):
        list(TarReader(Endless()))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(gnu_sparse([(0, 4)], 3, b"abcd"), id="past the end"),
        pytest.param(gnu_sparse([(0, 2), (1, 2)], 9, b"abcd"), id="overlapping"),
        pytest.param(gnu_sparse([(4, 2), (0, 2)], 9, b"abcd"), id="backwards"),
        pytest.param(gnu_sparse([(0, 2)], 9, b"abcd"), id="less than is stored"),
        pytest.param(gnu_sparse([(0, 6)], 9, b"abcd"), id="more than is stored"),
        pytest.param(gnu_sparse([], 9, b"", more=b"\1")[:512], id="map cut"),
        pytest.param(pax((b"GNU.sparse.map", b"0,1")) + member(b"s", b"a"), id="no size"),
        pytest.param(pax((b"GNU.sparse.size", b"1"), (b"GNU.sparse.map", b"0")) + member(b"s", b"a"), id="odd map"),
        pytest.param(pax((b"GNU.sparse.size", b"1"), (b"GNU.sparse.map", b"0,-1")) + member(b"s", b"a"), id="negative"),
        pytest.param(pax((b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0")) + member(b"s", b"a"), id="version 2.0"),
        pytest.param(pax((b"GNU.sparse.name", b"")) + member(b"s", b"a"), id="no name"),
        pytest.param(with_map(b"x\n", b"", b"1"), id="count that is no number"),
        pytest.param(with_map(b"", b"", b"1"), id="no map"),
        pytest.param(with_map(b"7" * 2048, b"", b"1"), id="no line ends"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedArchiveError):
        contents(data + END)


def test_a_map_of_one_endless_line_is_refused_before_its_end() -> None:
    with pytest.raises(MalformedArchiveError, match="line ends"):
        read(with_map(b"9\n" + b"7" * 2048, b"", b"1") + END)


def test_a_map_longer_than_its_entry_is_refused() -> None:
    with pytest.raises(MalformedArchiveError, match="longer than its entry"):
        read(with_map(b"1\n0\n", b"", b"1") + member(b"next", b"1\n") + END)
