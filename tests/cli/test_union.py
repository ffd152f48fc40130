"""`lamina union` on the kernel of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.driver import UNION_SOURCE
from lamina.host.mountinfo import mount_table
from tests.cli.process import Ended, lamina

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Two directories, one for changes, one to mount at; what a test leaves mounted there is undone."""
    for name in ("first", "second", "mine", "target"):
        (tmp_path / name).mkdir()
    (tmp_path / "first/both").write_text("first\n")
    (tmp_path / "second/both").write_text("second\n")
    (tmp_path / "second/lower").write_text("lower\n")
    yield tmp_path
    if unions():
        assert lamina("union", "--undo", tmp_path / "target").code == 0


def unions() -> list[str]:
    return [entry.target for entry in mount_table() if entry.source == UNION_SOURCE]


def unite(place: Path, *more: str | Path) -> Ended:
    return lamina("union", place / "first", place / "second", place / "target", *more)


def test_the_first_directory_lies_above_the_others(place: Path) -> None:
    ended = unite(place)

    assert (ended.code, ended.out, ended.err) == (0, f"{place}/target\n", "")
    assert (place / "target/both").read_text() == "first\n"
    assert (place / "target/lower").read_text() == "lower\n"


def test_without_a_directory_for_changes_nothing_can_be_written(place: Path) -> None:
    unite(place)

    with pytest.raises(OSError, match="Read-only"):
        (place / "target/new").touch()


def test_changes_are_kept_in_the_directory_for_them(place: Path) -> None:
    unite(place, "--writable", place / "mine")

    (place / "target/new").write_text("new\n")
    (place / "target/lower").unlink()

    assert (place / "mine/new").read_text() == "new\n"
    assert sorted(path.name for path in (place / "target").iterdir()) == ["both", "new"]
    assert (place / "second/lower").read_text() == "lower\n"


def test_undoing_leaves_the_changes_and_nothing_else(place: Path) -> None:
    unite(place, "--writable", place / "mine")
    (place / "target/new").touch()

    ended = lamina("union", "--undo", place / "target")

    assert (ended.code, ended.err, unions()) == (0, "", [])
    assert sorted(path.name for path in place.iterdir()) == ["first", "mine", "second", "target"]
    assert [path.name for path in (place / "mine").iterdir()] == ["new"]


def test_names_with_separators_of_mount_options_are_fine(place: Path) -> None:
    odd = place / "a,b:c=d\\e f"
    odd.mkdir()
    (odd / "here").touch()

    ended = lamina("union", odd, place / "first", place / "target", "--writable", place / "mine")

    assert (ended.code, ended.err) == (0, "")
    assert (place / "target/here").exists()
    assert lamina("union", "--undo", place / "target").code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["first", "target"], 2, "a union takes two directories at least"),
        (["first", "first", "target"], 2, "are one inside the other"),
        ([".", "first", "target"], 2, "are one inside the other"),
        (["first", "second", "first"], 2, "are one inside the other"),
        (["first", "missing", "target"], 2, "does not exist"),
        (["first", "mine", "second"], 2, "is not empty, and the union would hide what is there: name an empty directory"),
        (["--undo", "target"], 2, "there is no union at"),
        (["--driver", "vfs", "first", "second", "target"], 24, "driver 'vfs' does not support uniting directories"),
    ],
)
def test_what_cannot_be_united_is_refused_with_a_line(words: list[str], code: int, message: str, place: Path) -> None:
    ended = lamina("union", *(word if word.startswith("--") or word == "vfs" else place / word for word in words))

    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert unions() == []


def test_where_something_is_mounted_no_union_is(place: Path) -> None:
    unite(place)

    ended = lamina("union", place / "mine", place / "first", place / "target")

    assert ended.code == 83
    assert len(unions()) == 1


def test_a_failed_mount_leaves_no_working_directory(place: Path) -> None:
    ended = lamina("union", place / "first", place / "target", "--writable", "/proc/self")

    assert ended.code != 0
    assert unions() == []
    assert sorted(path.name for path in place.iterdir()) == ["first", "mine", "second", "target"]
