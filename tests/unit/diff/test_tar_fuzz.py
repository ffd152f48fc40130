"""Random and damaged archives: an error that we chose, or the same entries that others see."""

from __future__ import annotations

import contextlib
import io
import tarfile
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.diff.entries import EntryKind
from lamina.diff.limits import DEFAULT_LIMITS
from lamina.diff.tar_reader import TarReader
from lamina.errors import ArchiveError
from tests.unit.diff.tars import END, GNU, base_256, contents, header, member, octal, pax, record, summed

SEED = b"".join(
    [
        pax((b"path", b"p" * 120), (b"mtime", b"-1.5"), (b"uid", b"70000"), (b"SCHILY.xattr.user.x", b"a=\0\n")),
        member(b"short", b"hello" * 200),
        member(b"././@LongLink", b"long/" * 30 + b"\0", b"L"),
        header(b"d/", b"5", magic=GNU),
        header(b"s", b"2", link=b"target"),
        header(b"h", b"1", link=b"short"),
        header(b"c", b"3", major=b"0000005\0", minor=b"0000001\0"),
        pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.map", b"2,2,6,1")),
        member(b"sparse", b"abc"),
        header(b"big", uid=base_256(2**31, 8)),
        END,
    ]
)
#: So low that a hole, however large it claims to be, costs the test nothing.
LIMITS = replace(DEFAULT_LIMITS, unpacked_bytes=1 << 24)


def taken(data: bytes) -> bool:
    """Read everything; whether it was taken. Any other error than a refusal fails the test, and so does one that is endless."""
    with contextlib.suppress(ArchiveError):
        contents(data, LIMITS)
        return True
    return False


def test_the_seed_is_taken() -> None:
    assert taken(SEED)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=4096))
def test_f1_random_bytes_are_taken_or_refused(data: bytes) -> None:
    taken(data)


@settings(max_examples=600, deadline=None)
@given(
    damage=st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), min_size=1, max_size=8), mended=st.booleans()
)
def test_f1_damaged_archives_are_taken_or_refused(*, damage: list[tuple[int, int]], mended: bool) -> None:
    data = bytearray(SEED)
    for position, value in damage:
        data[position] = value
    if mended:  # so that more than the checksum is looked at
        for start in {position - position % 512 for position, _ in damage}:
            data[start : start + 512] = summed(data[start : start + 512])

    taken(bytes(data))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(
                record,
                st.sampled_from([b"path", b"size", b"mtime", b"SCHILY.xattr.user.x", b"GNU.sparse.map", b"GNU.sparse.size"]),
                st.one_of(st.binary(max_size=20), st.integers().map(lambda n: b"%d" % n)),
            ),
            st.binary(max_size=30),
        ),
        max_size=5,
    )
)
def test_f5_random_extended_headers_are_taken_or_refused(records: list[bytes]) -> None:
    taken(member(b"PaxHeader", b"".join(records), b"x") + member(b"f", b"data") + END)


NUMBERS = st.one_of(st.integers(0, 2**33 - 1).map(octal), st.sampled_from([b"", octal(0), base_256(5)]))
NAMES = st.sampled_from([b"a", b"a/b", b"./a", b"/a", b"d/", "ä".encode(), b"x" * 100])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda name, flag, mtime, link, prefix, magic, data: member(
                name, data if flag in b"07" else b"", flag, mtime=mtime, link=link, prefix=prefix, magic=magic, major=b"0000001\0"
            ),
            NAMES,
            st.sampled_from([b"0", b"\0", b"7", b"1", b"2", b"3", b"5", b"6"]),
            NUMBERS,
            st.sampled_from([b"t", b"../t", b"x" * 100]),
            st.sampled_from([b"", b"p", b"p/q"]),
            st.sampled_from([b"ustar\x0000", GNU]),
            st.binary(max_size=600),
        ),
        max_size=5,
    )
)
def test_f1_what_we_take_python_reads_the_same(members: list[bytes]) -> None:
    data = b"".join(members) + END

    with contextlib.suppress(ArchiveError):
        ours = [
            (e.name.rstrip(b"/"), e.mode, e.size, e.mtime // 10**9, e.link, e.kind is EntryKind.DIRECTORY)
            for e in TarReader(io.BytesIO(data))
        ]
        with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
            theirs = [
                (
                    *(m.name.encode(errors="surrogateescape").rstrip(b"/"), m.mode, m.size, int(m.mtime)),
                    *(m.linkname.encode(errors="surrogateescape") if m.issym() or m.islnk() else b"", m.isdir()),
                )
                for m in archive
            ]
        assert ours == theirs
