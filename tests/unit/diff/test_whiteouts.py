"""The names of whiteouts."""

from __future__ import annotations

import pytest

from lamina.diff.entries import printable
from lamina.diff.whiteouts import Whiteout, classify
from lamina.errors import UnsafeEntryError


@pytest.mark.parametrize("component", [b"x", b".x", b".wh", b".who", b"x.wh.", b".WH.x", b"wh.x", b""])
def test_an_ordinary_name_is_no_whiteout(component: bytes) -> None:
    assert classify(component) is None


@pytest.mark.parametrize(
    ("component", "hidden"),
    [
        (b".wh.x", b"x"),
        (b".wh..baz", b".baz"),
        (b".wh....", b"..."),
        (b".wh.\xff", b"\xff"),
        (b".wh. ", b" "),
        (b".wh.wh.x", b"wh.x"),
    ],
)
def test_wh07_a_whiteout_hides_what_follows_its_prefix(component: bytes, hidden: bytes) -> None:
    assert classify(component) == (Whiteout.PLAIN, hidden)


def test_the_opaque_mark_hides_no_single_name() -> None:
    assert classify(b".wh..wh..opq") == (Whiteout.OPAQUE, b"")


@pytest.mark.parametrize(
    "component", [b".wh..wh.aufs", b".wh..wh.orph", b".wh..wh.plnk", b".wh..wh.", b".wh..wh..opq2", b".wh..wh.x"]
)
def test_w6_wh20_other_names_of_aufs_are_its_records(component: bytes) -> None:
    assert classify(component) == (Whiteout.META, b"")


@pytest.mark.parametrize("component", [b".wh.", b".wh..", b".wh..."])
def test_w1_w2_wh06_a_whiteout_of_no_name_is_refused(component: bytes) -> None:
    with pytest.raises(UnsafeEntryError, match=printable(component).replace(".", r"\.")):
        classify(component)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"etc/motd", "etc/motd"),
        ("ä/漢".encode(), "ä/漢"),
        (b"a b", "a b"),
        (b"\xff", "\\xff"),
        (b"a\nb\tc\0d", "a\\nb\\tc\\x00d"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        (b"back\\slash", "back\\slash"),
    ],
)
def test_names_are_shown_on_one_line_without_moving_the_terminal(name: bytes, shown: str) -> None:
    assert printable(name) == shown
