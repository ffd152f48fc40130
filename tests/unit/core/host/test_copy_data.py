from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from lamina.host import syscalls
from lamina.host.copy_data import DataCopier, Way
from lamina.host.filesystem import filesystem

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


def copy(source: Path, target: Path, copier: DataCopier | None = None) -> None:
    with source.open("rb") as reading, target.open("xb") as writing:
        found, device = os.fstat(reading.fileno()), os.fstat(writing.fileno()).st_dev
        (copier or DataCopier()).copy(reading.fileno(), writing.fileno(), found, device)


@pytest.mark.parametrize("way", list(Way))
@pytest.mark.parametrize("size", [1, 65536, 65537, 3 * MIB + 1])
def test_each_way_copies_every_byte(way: Way, size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)

    copy(tmp_path / "source", tmp_path / "target", DataCopier(way))

    assert (tmp_path / "target").read_bytes() == data


@pytest.mark.parametrize("way", [Way.KERNEL, Way.BUFFER])
@pytest.mark.parametrize(
    "stretches",
    [[], [0], [5 * MIB], [0, 9 * MIB], [2 * MIB, 4 * MIB, 9 * MIB]],
    ids=["nothing", "start", "middle", "ends", "many"],
)
def test_holes_stay_holes(way: Way, stretches: list[int], tmp_path: Path) -> None:
    with (tmp_path / "source").open("xb") as file:
        file.truncate(10 * MIB)
        for start in stretches:
            file.seek(start)
            file.write(os.urandom(MIB))

    copy(tmp_path / "source", tmp_path / "target", DataCopier(way))

    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()
    assert (tmp_path / "target").stat().st_blocks * 512 <= len(stretches) * MIB + 65536


@pytest.mark.root
def test_data_get_from_one_filesystem_to_another(tmp_path: Path, tmpfs: Path) -> None:
    data = os.urandom(MIB)
    (tmp_path / "source").write_bytes(data)

    copy(tmp_path / "source", tmpfs / "target")

    assert (tmpfs / "target").read_bytes() == data


@pytest.mark.root
def test_data_are_shared_where_the_filesystem_can(btrfs: Path) -> None:
    (btrfs / "source").write_bytes(os.urandom(32 * MIB))
    os.sync()
    before = filesystem(btrfs).free

    copy(btrfs / "source", btrfs / "target")

    os.sync()
    assert before - filesystem(btrfs).free < MIB
    assert (btrfs / "target").read_bytes() == (btrfs / "source").read_bytes()


def test_sharing_is_not_tried_again_where_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(*_: object) -> None:
        tried.append("clone")
        raise OSError(errno.EOPNOTSUPP, "")

    monkeypatch.setattr(syscalls, "clone_file", refuse)
    (tmp_path / "source").write_bytes(bytes(MIB))
    copier = DataCopier()

    for number in range(3):
        copy(tmp_path / "source", tmp_path / f"target-{number}", copier)

    assert tried == ["clone"]


def test_what_failed_between_two_filesystems_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(*_: object) -> None:
        tried.append("clone")
        raise OSError(errno.EOPNOTSUPP, "")

    def refuse_range(*_: object) -> int:
        tried.append("kernel")
        raise OSError(errno.EXDEV, "")

    monkeypatch.setattr(syscalls, "clone_file", refuse)
    monkeypatch.setattr(os, "copy_file_range", refuse_range)
    (tmp_path / "source").write_bytes(bytes(MIB))
    copier = DataCopier()

    for number in range(3):
        copy(tmp_path / "source", tmp_path / f"target-{number}", copier)

    assert tried == ["clone", "kernel"]
    assert (tmp_path / "target-2").stat().st_size == MIB


def test_a_full_disk_is_no_reason_to_try_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(syscalls, "clone_file", refuse)
    (tmp_path / "source").write_bytes(bytes(MIB))

    with pytest.raises(OSError, match="full"):
        copy(tmp_path / "source", tmp_path / "target")
