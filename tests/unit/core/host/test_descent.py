from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from lamina.host.descent import Descent

if TYPE_CHECKING:
    from pathlib import Path


def descend(place: Path) -> Descent:
    return Descent(os.open(place, os.O_RDONLY | os.O_DIRECTORY))


def climb(descent: Descent, times: int) -> None:
    for _ in range(times):
        descent.leave()


def test_a_deep_tree_takes_a_bounded_number_of_handles(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    most = 0

    with descend(tmp_path) as descent:
        for number in range(300):
            os.mkdir("d", dir_fd=descent.fd)
            descent.enter("d")
            os.mkdir(str(number), dir_fd=descent.fd)
            most = max(most, len(os.listdir("/proc/self/fd")) - before)
        on_the_way_back = []
        for _ in range(300):
            on_the_way_back.append(sorted(os.listdir(descent.fd)))
            climb(descent, 1)

    assert on_the_way_back == [["299"], *([str(number), "d"] for number in reversed(range(299)))]
    assert most <= 64
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_was_moved_meanwhile_is_not_mistaken_for_another(tmp_path: Path) -> None:
    with descend(tmp_path) as descent:
        for number in range(100):
            os.mkdir(f"d{number}", dir_fd=descent.fd)
            descent.enter(f"d{number}")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "d0" / "d1" / "d2" / "d3").rename(tmp_path / "elsewhere" / "d3")

        with pytest.raises(OSError, match="moved") as caught:
            climb(descent, 100)

    assert caught.value.errno == errno.ESTALE


def test_a_link_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")

    with descend(tmp_path) as descent, pytest.raises(NotADirectoryError):
        descent.enter("link")


@pytest.mark.root
def test_a_mount_is_not_entered(tmpfs: Path) -> None:
    with descend(tmpfs.parent) as descent, pytest.raises(OSError, match="cross-device"):
        descent.enter("tmpfs")


@pytest.mark.root
def test_reading_leaves_no_trace_in_access_times(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    os.utime(tmp_path / "d", ns=(1, 2))

    with descend(tmp_path) as descent:
        os.listdir(descent.enter("d"))

    assert (tmp_path / "d").stat().st_atime_ns == 1
