from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from lamina.host.btrfs import make_writable, send_differences
from lamina.host.remove import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root


def subvolume(*words: str | Path) -> None:
    subprocess.run(["btrfs", "subvolume", *words], check=True, stdout=subprocess.DEVNULL)


def number(path: Path) -> int:
    shown = subprocess.run(["btrfs", "inspect-internal", "rootid", path], check=True, capture_output=True, text=True)
    return int(shown.stdout)


@pytest.fixture
def pair(btrfs: Path) -> tuple[Path, Path]:
    """A read-only subvolume, and one that has a thousand files more."""
    subvolume("create", btrfs / "work")
    subvolume("snapshot", "-r", btrfs / "work", btrfs / "before")
    for index in range(1000):
        (btrfs / f"work/file-{index}").touch()
    subvolume("snapshot", "-r", btrfs / "work", btrfs / "after")
    return btrfs / "before", btrfs / "after"


def test_the_stream_names_what_differs_and_comes_to_its_end(pair: tuple[Path, Path]) -> None:
    before, after = pair

    stream = b"".join(send_differences(after, number(before)))

    assert stream.startswith(b"btrfs-stream\0\1\0\0\0")
    assert all(b"file-%d" % index in stream for index in range(1000))
    assert int.from_bytes(stream[-6:-4], "little") == 21  # END


def test_a_stream_that_nobody_reads_on_ends(pair: tuple[Path, Path]) -> None:
    before, after = pair
    stream = send_differences(after, number(before))

    next(stream)
    stream.close()  # type: ignore[attr-defined]  # it is a generator

    assert [thread.name for thread in threading.enumerate() if "btrfs" in thread.name] == []


def test_what_may_change_meanwhile_is_not_compared(pair: tuple[Path, Path]) -> None:
    before, _ = pair

    with pytest.raises(PermissionError):
        list(send_differences(before.with_name("work"), number(before)))


def test_a_read_only_subvolume_is_made_writable_from_anywhere_in_it(btrfs: Path) -> None:
    subvolume("create", btrfs / "one")
    (btrfs / "one/a/b").mkdir(parents=True)
    subprocess.run(["btrfs", "property", "set", btrfs / "one", "ro", "true"], check=True)
    handle = os.open(btrfs / "one/a/b", os.O_RDONLY)
    try:
        assert make_writable(handle)
        assert not make_writable(handle)
    finally:
        os.close(handle)

    (btrfs / "one/file").touch()


def test_nothing_is_made_writable_where_there_are_no_subvolumes() -> None:
    handle = os.open("/proc", os.O_RDONLY)
    try:
        assert not make_writable(handle)
    finally:
        os.close(handle)


def test_a_tree_is_removed_with_the_read_only_subvolumes_in_it(btrfs: Path) -> None:
    (btrfs / "tree").mkdir()
    subvolume("create", btrfs / "tree/one")
    (btrfs / "tree/one/file").touch()
    subvolume("snapshot", "-r", btrfs / "tree/one", btrfs / "tree/two")

    remove_tree(btrfs / "tree")

    assert os.listdir(btrfs) == []
