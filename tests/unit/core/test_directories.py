from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lamina.directories import Directories
from lamina.driver import StoredObject
from lamina.host.kernel import KernelHost
from lamina.model import Mount
from tests.killing import killed_at

if TYPE_CHECKING:
    from pathlib import Path


def make(directories: Directories, id: int, content: str) -> None:
    with directories.make(id) as new:
        (new / "sub").mkdir()
        (new / "sub/file").write_text(content)


def test_directory_appears_whole_at_the_end(tmp_path: Path) -> None:
    directories = Directories(KernelHost(), tmp_path)

    with directories.make(7) as new:
        (new / "file").touch()
        assert not directories.path(7).exists()

    assert os.listdir(directories.path(7)) == ["file"]
    assert list(directories.objects()) == [StoredObject(7, str(tmp_path / "7"))]


def test_directory_is_private(tmp_path: Path) -> None:
    directories = Directories(KernelHost(), tmp_path)

    make(directories, 1, "x")

    assert directories.path(1).stat().st_mode & 0o777 == 0o700


def test_failure_while_making_leaves_nothing(tmp_path: Path) -> None:
    directories = Directories(KernelHost(), tmp_path)

    with pytest.raises(FileNotFoundError), directories.make(7) as new:
        (new / "missing" / "file").touch()

    assert list(directories.objects()) == []


def test_making_after_a_kill_at_any_step_gives_the_new_content(tmp_path: Path) -> None:
    directories = Directories(KernelHost(), tmp_path)
    make(directories, 7, "old")
    step = 0

    while killed_at(step, lambda: make(directories, 7, "cut short")):
        whole = [each for each in directories.objects() if each.whole]
        assert all((directories.path(7) / "sub/file").read_text() in ("old", "cut short", "new") for _ in whole)
        make(directories, 7, "new")

        assert (directories.path(7) / "sub/file").read_text() == "new"
        assert list(directories.objects()) == [StoredObject(7, str(tmp_path / "7"))]
        step += 1
    assert step >= 6


def test_removing_after_a_kill_at_any_step_leaves_nothing(tmp_path: Path) -> None:
    directories = Directories(KernelHost(), tmp_path)
    make(directories, 7, "x")
    step = 0

    while killed_at(step, lambda: directories.remove(7)):
        assert all(each.id == 7 for each in directories.objects())
        directories.remove(7)

        assert list(directories.objects()) == []
        make(directories, 7, "x")
        step += 1
    assert step >= 3


def test_removal_that_was_cut_short_is_finished_at_the_next_start(tmp_path: Path) -> None:
    directories = Directories(KernelHost(), tmp_path)
    make(directories, 7, "x")
    make(directories, 8, "x")
    directories.path(7).rename(tmp_path / "trash/7")
    assert StoredObject(7, str(tmp_path / "trash/7"), whole=False) in directories.objects()

    assert [each.id for each in Directories(KernelHost(), tmp_path).objects()] == [8]


@pytest.mark.root
def test_what_cannot_be_removed_does_not_keep_a_store_from_opening(tmp_path: Path) -> None:
    stuck = tmp_path / "trash/7/mounted"
    stuck.mkdir(parents=True)
    host = KernelHost()
    host.mount([Mount("tmpfs", "tmpfs")], stuck)
    try:
        again = Directories(host, tmp_path)

        assert list(again.objects()) == [StoredObject(7, str(tmp_path / "trash/7"), whole=False)]
    finally:
        host.unmount(stuck)


def test_half_made_directory_of_a_live_process_is_left_alone_by_another(tmp_path: Path) -> None:
    with Directories(KernelHost(), tmp_path).make(7) as new:
        other = Directories(KernelHost(), tmp_path)

        assert list(other.objects()) == [StoredObject(7, str(tmp_path / "new-7"), whole=False)]
        assert new.exists()


def test_directory_that_is_no_snapshot_is_reported_as_unknown(tmp_path: Path) -> None:
    for name in ("lost+found", "007", "٣", "-1"):
        (tmp_path / name).mkdir()

    directories = Directories(KernelHost(), tmp_path)

    assert {each.id for each in directories.objects()} == {None}
