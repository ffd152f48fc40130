"""What the tar reader refuses: one archive for each row of the table of abuses (T1, T2, …) and each case of the format."""

from __future__ import annotations

import io
import itertools
import tracemalloc
from dataclasses import replace

import pytest

from lamina.diff.entries import EntryKind
from lamina.diff.limits import DEFAULT_LIMITS
from lamina.diff.tar_reader import TarReader
from lamina.errors import ArchiveError, LimitExceededError, MalformedArchiveError, UnsafeEntryError
from tests.unit.diff.tars import END, GNU, Drip, base_256, contents, header, member, octal, padded, pax, read, read_one, record


def refused(data: bytes) -> str:
    """The error that reading ``data``, with an end behind, gives: malformed."""
    with pytest.raises(MalformedArchiveError) as caught:
        read(data + END)
    return str(caught.value)


# --- T1: an archive that ends too early ----------------------------------------------------------------------------------


def test_t1_a_flipped_bit_in_any_byte_of_a_second_header_is_refused() -> None:
    data = member(b"a", b"one") + member(b"b", b"two") + END
    for position in range(1024, 1536):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(MalformedArchiveError):
            read(bytes(damaged))


def test_ap30_t1_an_archive_cut_anywhere_is_refused() -> None:
    data = pax((b"mtime", b"1.5")) + member(b"a", b"one") + member(b"b", b"two" * 200) + END
    for end in itertools.chain(range(1, len(data), 64), range(512, len(data), 512), [len(data) - 1]):
        with pytest.raises(MalformedArchiveError):
            contents(data[:end])


def test_t1_one_block_of_zeros_between_entries_is_refused() -> None:
    assert "two blocks" in refused(header(b"a") + bytes(512) + header(b"b"))


def test_t1_one_block_of_zeros_at_the_end_is_refused() -> None:
    with pytest.raises(MalformedArchiveError, match="two blocks"):
        read(header(b"a") + bytes(512))


def test_t1_zeros_that_are_no_block_are_refused() -> None:
    with pytest.raises(MalformedArchiveError):
        read(bytes(100))


def test_t1_an_extended_header_without_its_entry_is_refused() -> None:
    assert "without its entry" in refused(pax((b"path", b"x")))


def test_t1_a_global_header_does_not_make_an_end_unnecessary() -> None:
    with pytest.raises(MalformedArchiveError):
        read(pax((b"comment", b"x"), flag=b"g"))


# --- T2 to T4: numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pax((b"size", b"-1")) + header(), id="pax"),
        pytest.param(header(size=base_256(-1)), id="base-256"),
        pytest.param(header(size=b"-7".ljust(12, b"\0")), id="octal"),
    ],
)
def test_t2_negative_size_is_refused(data: bytes) -> None:
    refused(data + header(b"next"))


def test_t3_a_size_beyond_all_numbers_is_refused_without_reading_on() -> None:
    refused(pax((b"size", b"99999999999999999999")) + header())


def test_t3_a_size_beyond_the_limit_is_refused_at_its_header() -> None:
    source = io.BytesIO(header(size=base_256(1 << 62)))

    with pytest.raises(LimitExceededError, match="unpacked_bytes"):
        next(iter(TarReader(source)))


def test_t3_a_size_that_the_source_does_not_have_ends_at_its_end() -> None:
    with pytest.raises(MalformedArchiveError, match="in the middle"):
        read(header(size=octal(1 << 30)))


@pytest.mark.parametrize("number", [b"0o17", b"1_7", b"+7", b"-0", b"8", b"0x1", b"7 7", b"7\0007", b"\t7", b"\xb2", b"7."])
@pytest.mark.parametrize("field", ["size", "mode", "uid", "gid", "mtime"])
def test_t4_what_int_takes_and_octal_is_not_is_refused(field: str, number: bytes) -> None:
    block = header(**{field: number.ljust(12 if field in ("size", "mtime") else 8, b"\0")})

    assert "no octal number" in refused(block) or "neither octal nor base-256" in refused(block)


@pytest.mark.parametrize("lead", [b"\x81", b"\x90", b"\xc0", b"\xfe"])
def test_t4_base_256_starts_with_0x80_or_0xff(lead: bytes) -> None:
    refused(header(size=lead + bytes(11)))


# --- T5, T6, T8: PAX records ---------------------------------------------------------------------------------------------


def test_t5_an_archive_inside_of_a_file_stays_inside() -> None:
    nested = member(b"evil", b"gotcha") + END
    data = pax((b"size", b"%d" % len(nested))) + header(b"outer", size=octal(0)) + padded(nested) + END

    assert contents(data) == {b"outer": nested}


def test_t5_a_pax_size_is_for_the_entry_not_for_a_long_name_in_between() -> None:
    data = pax((b"size", b"5")) + member(b"././@LongLink", b"n" * 120 + b"\0", b"L") + header(b"n") + padded(b"hello") + END

    assert contents(data) == {b"n" * 120: b"hello"}


def test_t5_names_that_readers_would_take_from_different_headers_are_refused() -> None:
    long = member(b"././@LongLink", b"gnu\0", b"L")

    assert "disagree" in refused(pax((b"path", b"pax")) + long + header())
    assert read_one(pax((b"path", b"gnu")) + long + header()).name == b"gnu"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"0 path=a\n", id="T6 length 0"),
        pytest.param(b"10 path=ab\n", id="too short"),
        pytest.param(b"12 path=ab\n", id="too long"),
        pytest.param(b"9 path=ab\n", id="cuts the value"),
        pytest.param(b"3 path=ab\n", id="cuts the keyword"),
        pytest.param(b"11 path=ab ", id="no line end"),
        pytest.param(b"9 pathab\n", id="no equals sign"),
        pytest.param(b"7 =abc\n", id="no keyword"),
        pytest.param(b"12 pa\0th=ab\n", id="NUL in the keyword"),
        pytest.param(b"path=ab\n", id="no length"),
        pytest.param(b"+11 path=ab\n", id="signed"),
        pytest.param(b"-11 path=ab\n", id="negative"),
        pytest.param(b"1_1 path=ab\n", id="underscore"),
        pytest.param(b" 11 path=ab\n", id="blank first"),
        pytest.param(b"11 path=ab\n\n", id="junk behind"),
        pytest.param(b"11 path=ab\n\0\0\0", id="NULs behind"),
        pytest.param(b"9" * 25 + b" path=ab\n", id="length of 25 digits"),
    ],
)
@pytest.mark.parametrize("flag", [b"x", b"g"])
def test_t5_t6_a_malformed_record_is_refused(body: bytes, flag: bytes) -> None:
    assert "extended header record" in refused(member(b"PaxHeader", body, flag) + header())


@pytest.mark.timeout(20)
def test_t8_a_header_of_nothing_but_digits_is_refused_at_once() -> None:
    refused(member(b"PaxHeader", b"1" * (1 << 20), b"x") + header())


@pytest.mark.parametrize("keyword", [b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime"])
def test_an_empty_value_means_something_else_to_everybody_and_is_refused(keyword: bytes) -> None:
    refused(pax((keyword, b"")) + header())


@pytest.mark.parametrize("name", [b"", b"a\0b"])
def test_xattrs_without_a_name_that_could_be_set_are_refused(name: bytes) -> None:
    body = record(b"LIBARCHIVE.xattr." + name.replace(b"\0", b"%00"), b"eA")

    assert "extended attribute" in refused(member(b"PaxHeader", body, b"x") + header())


def test_an_xattr_that_is_no_base64_is_refused() -> None:
    assert "base64" in refused(pax((b"LIBARCHIVE.xattr.user.x", b"eHh*4")) + header())


# --- T7, T13: names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [b"L", b"K", b"x", b"g"])
def test_t7_an_extended_header_of_8_gib_is_refused_without_reading_it(flag: bytes) -> None:
    source = io.BytesIO(header(b"x", flag, size=base_256(8 << 30)))

    with pytest.raises(LimitExceededError) as caught:
        list(TarReader(source))

    assert caught.value.limit == "header_bytes"


@pytest.mark.parametrize(
    ("limit", "allowed", "over"),
    [
        ("name_bytes", b"d/" + b"n" * 255, b"d/" + b"n" * 256),
        ("depth", b"a/" * 1024, b"a/" * 1025),
        ("depth", b"./" + b"a//" * 1024, b"a//" * 1025),
        ("path_bytes", b"ab/./" * 700, (b"n" * 255 + b"/") * 257),
    ],
)
def test_t13_a_name_may_reach_its_limit_and_not_pass_it(limit: str, allowed: bytes, over: bytes) -> None:
    assert read_one(pax((b"path", allowed)) + header(flag=b"5")).name == allowed

    with pytest.raises(LimitExceededError) as caught:
        read_one(pax((b"path", over)) + header(flag=b"5"))
    assert caught.value.limit == limit


def test_t13_short_names_are_held_to_low_limits_too() -> None:
    for limits, name in (({"depth": 2}, b"a/b/c"), ({"name_bytes": 2}, b"abc"), ({"path_bytes": 4}, b"a/b/c")):
        with pytest.raises(LimitExceededError):
            read(header(name) + END, replace(DEFAULT_LIMITS, **limits))


def test_t13_a_symlinks_target_has_a_limit() -> None:
    assert len(read_one(pax((b"linkpath", b"t" * 4095)) + header(flag=b"2")).link) == 4095
    with pytest.raises(LimitExceededError, match="symlink_bytes"):
        read_one(pax((b"linkpath", b"t" * 4096)) + header(flag=b"2"))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(header(b""), id="none"),
        pytest.param(pax((b"path", b"a\0b")) + header(), id="NUL"),
        pytest.param(pax((b"linkpath", b"a\0b")) + header(flag=b"2"), id="NUL in a target"),
        pytest.param(member(b"././@LongLink", b"\0", b"L") + header(), id="empty long name"),
        pytest.param(header(b"l", b"2"), id="symlink to nothing"),
        pytest.param(header(b"l", b"1"), id="hard link to nothing"),
    ],
)
def test_t12_a_name_that_no_file_can_have_is_refused(data: bytes) -> None:
    refused(data)


# --- T11: what readers read differently ------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [b"V", b"M", b"N", b"D", b"A", b"8", b"9", b"X", b"Z", b"\xff"])
def test_ap20_t11_an_unknown_type_flag_is_refused(flag: bytes) -> None:
    assert "type flag" in refused(header(b"x", flag))


@pytest.mark.parametrize("flag", [b"2", b"3", b"4", b"5", b"6"])
def test_t11_data_behind_what_is_no_file_are_refused(flag: bytes) -> None:
    with pytest.raises(UnsafeEntryError, match="data"):
        read(member(b"x", member(b"hidden"), flag, link=b"t", major=b"0000001\0") + END)


@pytest.mark.parametrize("flag", [b"0", b"7"])
def test_t11_a_file_with_the_name_of_a_directory_is_refused(flag: bytes) -> None:
    with pytest.raises(UnsafeEntryError, match="directory"):
        read(member(b"d/", b"data", flag) + END)


def test_t11_an_old_directory_with_data_is_refused() -> None:
    with pytest.raises(UnsafeEntryError, match="data"):
        read(member(b"d/", b"data", b"\0") + END)


@pytest.mark.parametrize(
    "twice", [pax((b"uid", b"1")), member(b"L", b"long\0", b"L"), member(b"K", b"long\0", b"K")], ids=["x", "L", "K"]
)
def test_t11_two_extended_headers_of_a_type_for_one_entry_are_refused(twice: bytes) -> None:
    assert "two" in refused(twice * 2 + header())


def test_t11_a_global_header_between_an_extended_one_and_its_entry_is_refused() -> None:
    assert "global" in refused(pax((b"path", b"x")) + pax((b"comment", b"x"), flag=b"g") + header())


def test_a_whiteout_of_overlay_is_refused() -> None:
    with pytest.raises(UnsafeEntryError, match="whiteout"):
        read_one(header(b"x", b"3"))


def test_a_device_without_a_place_for_its_numbers_is_refused() -> None:
    with pytest.raises(UnsafeEntryError):
        read_one(header(b"x", b"3", magic=bytes(8), major=b"0000001\0"))


# --- T14 to T16: ranges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [b"nan", b"inf", b"-inf", b"1e9", b".5", b"-", b"-.5", b"+1", b"1.2.3", b"1,5", b"1.-5", b" 1", b"1_0"]
)
def test_t14_a_time_that_is_no_decimal_number_is_refused(text: bytes) -> None:
    assert "mtime" in refused(pax((b"mtime", text)) + header())


def test_t8_a_number_of_very_many_digits_is_refused_in_few_words() -> None:
    for digits in (1000, 10_000):
        assert len(refused(pax((b"mtime", b"1" * digits)) + header())) < 200


@pytest.mark.parametrize("seconds", [2**63, -(2**63) - 1, 10**30])
def test_t14_a_time_that_no_kernel_can_hold_is_refused(seconds: int) -> None:
    refused(pax((b"mtime", b"%d" % seconds)) + header())


@pytest.mark.parametrize("seconds", [2**33, 2**63 - 1, -(2**63)])
def test_t14_a_time_far_away_is_taken(seconds: int) -> None:
    assert read_one(pax((b"mtime", b"%d" % seconds)) + header()).mtime == seconds * 10**9
    assert read_one(header(mtime=base_256(seconds))).mtime == seconds * 10**9


@pytest.mark.parametrize("keyword", ["uid", "gid"])
def test_t15_ids_go_up_to_the_last_that_is_one(keyword: str) -> None:
    for number in (0, 2**21, 2**31, 2**32 - 2):
        assert getattr(read_one(pax((keyword.encode(), b"%d" % number)) + header()), keyword) == number
    for number in (-1, 2**32 - 1, 2**32, 2**64):
        refused(pax((keyword.encode(), b"%d" % number)) + header())
    for number in (-1, 2**32 - 1, 2**40):
        refused(header(**{keyword: base_256(number, 8)}))


@pytest.mark.parametrize("kind", [EntryKind.CHAR, EntryKind.BLOCK])
def test_t16_ap24_device_numbers_are_those_that_linux_has(kind: EntryKind) -> None:
    flag = b"%d" % kind
    found = read_one(header(b"x", flag, major=b"0007777\0", minor=b"3777777\0"))
    assert (found.kind, found.major, found.minor) == (kind, 4095, 1048575)

    for numbers in (
        {"major": b"0010000\0"},
        {"minor": b"4000000\0"},
        {"major": base_256(-1, 8)},
        {"minor": base_256(2**32, 8)},
    ):
        assert "device" in refused(header(b"x", flag, **numbers))


# --- T9, T10, T17, Z7, Z8: volume ----------------------------------------------------------------------------------------------


def test_z7_entries_have_a_limit() -> None:
    data = b"".join(header(b"%d" % i) for i in range(4)) + END

    assert len(read(data, replace(DEFAULT_LIMITS, entries=4))) == 4
    with pytest.raises(LimitExceededError, match="entries"):
        read(data, replace(DEFAULT_LIMITS, entries=3))


def test_files_together_have_a_limit() -> None:
    data = member(b"a", bytes(600)) + member(b"b", bytes(400)) + END

    assert len(read(data, replace(DEFAULT_LIMITS, unpacked_bytes=1000))) == 2
    with pytest.raises(LimitExceededError, match="unpacked_bytes"):
        read(data, replace(DEFAULT_LIMITS, unpacked_bytes=999))


@pytest.mark.parametrize(
    ("limit", "xattrs"),
    [
        ("xattrs", {b"user.%d" % i: b"x" for i in range(1025)}),
        ("xattr_name_bytes", {b"user." + b"n" * 251: b""}),
        ("xattr_bytes", {b"user.x": b"x" * 65537}),
    ],
)
def test_z8_xattrs_have_limits(limit: str, xattrs: dict[bytes, bytes]) -> None:
    with pytest.raises(LimitExceededError) as caught:
        read_one(pax(*((b"SCHILY.xattr." + name, value) for name, value in xattrs.items())) + header())

    assert caught.value.limit == limit


class Zeros:
    """``start``, then very many zeros."""

    def __init__(self, start: bytes, size: int) -> None:
        self._start = start
        self._size = size

    def read(self, n: int, /) -> bytes:
        if start := self._start:
            self._start = b""
            return start
        n = min(n, self._size)
        self._size -= n
        return bytes(n)


def test_t17_zeros_behind_the_end_are_passed_over_in_little_memory() -> None:
    source = Zeros(header(b"a") + END, 1 << 28)
    tracemalloc.start()

    assert len(list(TarReader(source))) == 1

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert source.read(1) == b""
    assert peak < 8 << 20


def test_t17_what_follows_the_end_has_a_limit() -> None:
    with pytest.raises(LimitExceededError, match="unpacked_bytes"):
        list(TarReader(Zeros(header(b"a") + END, 1 << 24), replace(DEFAULT_LIMITS, unpacked_bytes=1 << 20)))


def test_z7_twenty_thousand_entries_take_the_memory_of_one() -> None:
    class Endless:
        left = 41

        def read(self, n: int, /) -> bytes:
            self.left -= 1
            return header(b"x") * 512 if self.left > 0 else END if self.left == 0 else b""

    tracemalloc.start()

    assert sum(1 for _ in TarReader(Endless())) > 20_000

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


# --- junk ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 511, 512, 4096])
def test_ap31_junk_is_refused(size: int) -> None:
    with pytest.raises(ArchiveError):
        read((b"\x8f\x03junk" * 1000)[:size])


def test_a_gnu_sparse_type_in_a_posix_header_is_refused() -> None:
    assert "GNU" in refused(header(b"x", b"S"))
    assert read_one(header(b"x", b"S", magic=GNU)).size == 0


def test_a_broken_archive_is_refused_byte_by_byte_as_well() -> None:
    with pytest.raises(MalformedArchiveError):
        list(TarReader(Drip(member(b"a", b"one") + b"\1" * 512)))
