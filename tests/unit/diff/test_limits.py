"""Limits: each may be reached, none may be passed. What the reader of archives asks is with its own tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamina.diff.entries import Entry, EntryKind
from lamina.diff.limits import DEFAULT_LIMITS, Limits
from lamina.errors import LimitExceededError

TIGHT = Limits(depth=3, name_bytes=4, path_bytes=10, symlink_bytes=5, xattrs=2, xattr_name_bytes=6, xattr_bytes=3)
FILE = Entry(b"f", EntryKind.FILE, 0o644)


@pytest.mark.parametrize(
    ("limit", "reached", "passed"),
    [
        ("depth", replace(FILE, name=b"a/b/c"), replace(FILE, name=b"a/b/c/d")),
        ("name_bytes", replace(FILE, name=b"abcd"), replace(FILE, name=b"abcde")),
        ("name_bytes", replace(FILE, name=b"a/bcde/"), replace(FILE, name=b"a/bcdef/")),
        ("path_bytes", replace(FILE, name=b"abcd/abcd/"), replace(FILE, name=b"abcd/abcd/x")),
        ("symlink_bytes", Entry(b"l", EntryKind.SYMLINK, 0, link=b"12345"), Entry(b"l", EntryKind.SYMLINK, 0, link=b"123456")),
        ("path_bytes", Entry(b"h", EntryKind.HARDLINK, 0, link=b"x" * 10), Entry(b"h", EntryKind.HARDLINK, 0, link=b"x" * 11)),
        ("xattrs", replace(FILE, xattrs={b"a": b"", b"b": b""}), replace(FILE, xattrs={b"a": b"", b"b": b"", b"c": b""})),
        ("xattr_name_bytes", replace(FILE, xattrs={b"user.a": b""}), replace(FILE, xattrs={b"user.ab": b""})),
        ("xattr_bytes", replace(FILE, xattrs={b"a": b"123"}), replace(FILE, xattrs={b"a": b"1234"})),
    ],
)
def test_a_limit_may_be_reached_and_not_passed(limit: str, reached: Entry, passed: Entry) -> None:
    TIGHT.check(reached, "archive")

    with pytest.raises(LimitExceededError) as caught:
        TIGHT.check(passed, "archive")
    assert caught.value.limit == limit
    assert caught.value.allowed == getattr(TIGHT, limit)


def test_the_error_names_the_entry_and_the_limit() -> None:
    with pytest.raises(LimitExceededError, match=r"^layer 3, entry a/\\xff/c/d: more than 3 depth \(4 found\)"):
        TIGHT.check(replace(FILE, name=b"a/\xff/c/d"), "layer 3")


def test_spellings_of_a_path_do_not_make_it_deeper() -> None:
    TIGHT.check(replace(FILE, name=b"/.//a/./b/"), "archive")


def test_what_linux_can_hold_passes_the_defaults() -> None:
    entry = Entry(
        b"n" * 255 + b"/" + b"m" * 255,
        EntryKind.SYMLINK,
        0o777,
        link=b"t" * 4095,
        xattrs={b"user." + b"x" * 250: bytes(65536)},
    )

    DEFAULT_LIMITS.check(entry, "archive")
