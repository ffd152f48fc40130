from __future__ import annotations

import pytest

from lamina.driver import Touched
from lamina.errors import UnsupportedError
from lamina_drivers.btrfs.changes import Replay, Written
from lamina_drivers.btrfs.stream import Command, Step

ROOT = Touched(b".")


def step(command: Command, path: bytes, other: bytes = b"", size: int = 0) -> Step:
    return Step(command, path, other, size)


def touched(*steps: Step) -> set[Touched]:
    return set(Replay(steps).touched())


def test_nothing_done_leaves_the_root_to_look_at() -> None:
    assert touched() == {ROOT}


def test_a_new_file_is_told_by_its_last_name() -> None:
    steps = [step(Command.MAKE_FILE, b"o257-9-0"), step(Command.RENAME, b"o257-9-0", b"a/new"), step(Command.CHMOD, b"a/new")]

    assert touched(*steps) == {ROOT, Touched(b"a/new")}


def test_a_moved_directory_is_to_be_compared_in_both_places() -> None:
    assert touched(step(Command.RENAME, b"a", b"b/c")) == {ROOT, Touched(b"a", subtree=True), Touched(b"b/c", subtree=True)}


def test_a_file_below_a_moved_directory_is_known_by_where_it_was() -> None:
    found = touched(step(Command.RENAME, b"a", b"b"), step(Command.CHMOD, b"b/x/f"))

    assert {Touched(b"a/x/f", subtree=True), Touched(b"b/x/f")} <= found


def test_two_directories_that_change_places_are_both_compared() -> None:
    found = touched(
        step(Command.RENAME, b"a", b"o300-1-0"),
        step(Command.RENAME, b"b", b"a"),
        step(Command.RENAME, b"o300-1-0", b"b"),
    )

    assert {Touched(b"a", subtree=True), Touched(b"b", subtree=True)} <= found


def test_a_removed_directory_is_told_by_where_it_was_though_it_went_under_another_name() -> None:
    found = touched(
        step(Command.RENAME, b"d", b"o260-1-0"),
        step(Command.MAKE_DIRECTORY, b"o300-1-0"),
        step(Command.RENAME, b"o300-1-0", b"d"),
        step(Command.UNLINK, b"o260-1-0/f"),
        step(Command.REMOVE_DIRECTORY, b"o260-1-0"),
    )

    assert found == {ROOT, Touched(b"d"), Touched(b"d", subtree=True), Touched(b"d/f", subtree=True)}


def test_both_names_of_a_new_link_are_looked_at() -> None:
    assert touched(step(Command.LINK, b"new", b"old")) == {ROOT, Touched(b"new"), Touched(b"old")}


def test_written_bytes_add_up_under_the_last_name_and_go_with_the_file() -> None:
    changes = Replay(
        [
            step(Command.MAKE_FILE, b"o257-9-0"),
            step(Command.RENAME, b"o257-9-0", b"f"),
            step(Command.UPDATE_EXTENT, b"f", size=4096),
            step(Command.UPDATE_EXTENT, b"f", size=10),
            step(Command.UPDATE_EXTENT, b"gone", size=4096),
            step(Command.UNLINK, b"gone"),
        ]
    )

    assert list(changes.written()) == [Written(b"f", 4106)]
    assert changes.made == 1


@pytest.mark.parametrize(
    "steps",
    [
        [step(Command.UNLINK, b"f"), step(Command.CHMOD, b"f")],
        [step(Command.MAKE_FILE, b"f"), step(Command.MAKE_FILE, b"f")],
        [step(Command.MAKE_DIRECTORY, b"d"), step(Command.CHMOD, b"d/f")],
        [step(Command.RENAME, b"", b"x")],
        [step(Command.RENAME, b"x", b"")],
    ],
    ids=["gone", "there already", "never in it", "the root", "to the root"],
)
def test_a_step_that_contradicts_those_before_is_refused(steps: list[Step]) -> None:
    with pytest.raises(UnsupportedError, match="contradicts"):
        Replay(steps)
