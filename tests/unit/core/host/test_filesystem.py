from __future__ import annotations

import os
from pathlib import Path

import pytest

from lamina.host.filesystem import can_reflink, filesystem, sync_filesystem


@pytest.mark.root
def test_facts_are_those_of_the_filesystem_that_holds_the_path(tmpfs: Path) -> None:
    (tmpfs / "file").write_bytes(bytes(1 << 20))

    facts = filesystem(tmpfs / "file")

    assert (facts.type, facts.size, facts.free) == ("tmpfs", 64 << 20, 63 << 20)
    assert facts.device == tmpfs.stat().st_dev
    assert facts.free_inodes > 0
    assert not facts.read_only


@pytest.mark.root
def test_a_filesystem_that_cannot_be_written_says_so(tmpfs: Path) -> None:
    os.system(f"mount -o remount,ro {tmpfs}")

    assert filesystem(tmpfs).read_only


def test_a_type_without_a_name_is_its_magic_number() -> None:
    assert filesystem(Path("/proc/self/ns/mnt")).type == "0x6e736673"


@pytest.mark.root
def test_btrfs_shares_data_and_tmpfs_does_not_and_nothing_is_left_of_the_attempt(btrfs: Path, tmpfs: Path) -> None:
    assert can_reflink(btrfs)
    assert not can_reflink(tmpfs)
    assert (os.listdir(btrfs), os.listdir(tmpfs)) == ([], [])


def test_a_directory_that_is_absent_has_no_answer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        can_reflink(tmp_path / "absent")


def test_a_filesystem_is_synced_through_a_directory_of_it(tmp_path: Path) -> None:
    sync_filesystem(tmp_path)

    with pytest.raises(FileNotFoundError):
        sync_filesystem(tmp_path / "absent")
