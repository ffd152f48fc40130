from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lamina.model import Mount
from lamina_drivers.vfs.driver import VfsDriver
from lamina_drivers.vfs.options import VfsOptions

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.host.kernel import KernelHost

pytestmark = pytest.mark.root


def test_every_precondition_is_tried_and_nothing_is_left(host: KernelHost, tmp_path: Path) -> None:
    report = VfsDriver.probe(host, tmp_path, VfsOptions())

    assert report.ok
    assert all(check.evidence for check in report.checks)
    assert [check.name for check in report.checks if check.required] == ["directory is writable", "files can be given away"]
    assert os.listdir(tmp_path) == []


def test_missing_reflinks_cost_an_ability_and_name_a_remedy(host: KernelHost, tmp_path: Path) -> None:
    place = tmp_path / "memory"
    place.mkdir()
    host.mount([Mount("tmpfs", "tmpfs")], place)
    try:
        report = VfsDriver.probe(host, place, VfsOptions())
    finally:
        host.unmount(place)

    reflinks = next(check for check in report.checks if check.name == "copies share data")
    assert report.ok
    assert (reflinks.ok, reflinks.evidence) == (False, "tmpfs does not clone files (FICLONE)")
    assert "btrfs" in reflinks.remedy


def test_read_only_directory_is_refused_with_what_the_kernel_said(host: KernelHost, tmp_path: Path) -> None:
    host.mount([Mount("bind", str(tmp_path), ("ro",))], tmp_path)
    try:
        report = VfsDriver.probe(host, tmp_path, VfsOptions())
    finally:
        host.unmount(tmp_path)

    assert [check.name for check in report.failures] == ["directory is writable"]
    assert "Read-only file system" in report.failures[0].evidence
