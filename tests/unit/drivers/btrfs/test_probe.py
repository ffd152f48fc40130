from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.errors import DriverUnavailableError
from lamina.model import Mount
from lamina_drivers.btrfs.driver import BtrfsDriver
from lamina_drivers.btrfs.options import BtrfsOptions

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.driver import ProbeReport
    from lamina.host.kernel import KernelHost

pytestmark = pytest.mark.root


def probe(host: KernelHost, root: Path) -> ProbeReport:
    return BtrfsDriver.probe(host, root, BtrfsOptions())


def test_every_precondition_is_tried_and_nothing_is_left(host: KernelHost, place: Path) -> None:
    report = probe(host, place)

    assert report.ok
    assert [check.name for check in report.checks] == [
        "directory is on btrfs",
        "Python module btrfsutil",
        "may mount",
        "subvolumes work here",
    ]
    assert os.listdir(place) == []


@pytest.fixture
def elsewhere(host: KernelHost, tmp_path: Path) -> Path:
    """A directory on another filesystem."""
    if host.filesystem(tmp_path).type == "btrfs":
        pytest.skip("temporary files are on btrfs here")
    return tmp_path


def test_another_filesystem_is_named_with_the_cure(host: KernelHost, elsewhere: Path) -> None:
    report = probe(host, elsewhere)

    (failure,) = report.failures
    assert failure.evidence == f"{elsewhere} is on {host.filesystem(elsewhere).type}"
    assert "--root on btrfs" in failure.remedy


def test_a_store_on_another_filesystem_is_refused_and_leaves_nothing(elsewhere: Path) -> None:
    with pytest.raises(DriverUnavailableError, match="--root on btrfs"):
        lamina.open(elsewhere / "store", driver="btrfs")

    assert os.listdir(elsewhere) == []


def test_a_missing_library_is_named_with_the_cure(host: KernelHost, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "btrfsutil", None)

    (failure,) = probe(host, place).failures

    assert (failure.name, "pip install" in failure.remedy) == ("Python module btrfsutil", True)
    with pytest.raises(DriverUnavailableError, match="pip install"):
        BtrfsDriver(host, place, BtrfsOptions())


def test_a_read_only_directory_is_refused_with_what_the_kernel_said(host: KernelHost, place: Path) -> None:
    host.mount([Mount("bind", str(place), ("ro",))], place)
    try:
        report = probe(host, place)
    finally:
        host.unmount(place)

    (failure,) = report.failures
    assert failure.name == "subvolumes work here"
    assert "Read-only file system" in failure.evidence
