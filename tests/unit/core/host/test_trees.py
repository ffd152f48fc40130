from __future__ import annotations

import errno
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from lamina.host.trees import sync_tree, tree_usage
from lamina.model import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def du(*options: str | Path) -> int:
    said = subprocess.run(["du", "--summarize", "--one-file-system", *options], stdout=subprocess.PIPE, text=True, check=True)
    return int(said.stdout.split()[0])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree in which names, inodes and blocks all differ in number."""
    top = tmp_path / "tree"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "data").write_bytes(os.urandom(100_000))
    os.link(top / "a" / "data", top / "a" / "b" / "again")
    os.link(top / "a" / "data", tmp_path / "outside")
    with (top / "sparse").open("wb") as file:
        file.truncate(1 << 30)
        file.write(b"x" * 5000)
    (top / "link").symlink_to("x" * 200)
    os.mkfifo(top / "fifo")
    return top


def test_usage_is_that_of_du(tree: Path) -> None:
    usage = tree_usage(tree)

    assert usage == Usage(du("--block-size=1", tree), du("--inodes", tree))
    assert usage.inodes == 7
    assert usage.size < 200_000


@pytest.mark.root
def test_usage_leaves_other_mounts_out(tree: Path, tmp_path: Path) -> None:
    (tree / "mounted").mkdir()
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "file").write_bytes(bytes(1 << 20))
    subprocess.run(["mount", "--bind", tmp_path / "large", tree / "mounted"], check=True)

    try:
        usage = tree_usage(tree)
    finally:
        subprocess.run(["umount", tree / "mounted"], check=True)

    assert usage.size < 200_000


def test_a_tree_that_changes_meanwhile_is_counted_without_complaint(tree: Path) -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            (tree / "a" / "come").mkdir()
            (tree / "a" / "come" / "file").touch()
            (tree / "a" / "come" / "file").unlink()
            (tree / "a" / "come").rmdir()

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        counts = {tree_usage(tree).inodes for _ in range(500)}
    finally:
        stop.set()
        churning.join()

    assert counts <= {7, 8, 9}


def test_every_file_and_directory_is_synced_and_nothing_else_opened(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))

    sync_tree(tree)  # a FIFO that is opened would hold this up for ever

    expected = [tree, tree / "a", tree / "a" / "b", tree / "a" / "data", tree / "a" / "b" / "again", tree / "sparse"]
    assert sorted(synced) == sorted(path.stat().st_ino for path in expected)


def test_a_sync_that_fails_is_not_hidden(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(OSError, match="lost"):
        sync_tree(tree)


@pytest.mark.parametrize("walk", [tree_usage, sync_tree])
def test_a_link_to_a_tree_is_no_tree(walk: Callable[[Path], object], tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)

    with pytest.raises(OSError, match="link"):
        walk(tmp_path / "link")
