from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lamina.host.kernel import KernelHost
from lamina.model import Mount
from lamina_drivers.overlay.driver import OverlayDriver
from lamina_drivers.overlay.options import OverlayOptions

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.driver import Check

pytestmark = pytest.mark.root


def probe(host: KernelHost, root: Path, options: OverlayOptions = OverlayOptions()) -> dict[str, Check]:  # noqa: B008  # frozen
    return {check.name: check for check in OverlayDriver.probe(host, root, options).checks}


def test_every_precondition_is_tried_and_nothing_is_left(host: KernelHost, tmp_path: Path) -> None:
    report = OverlayDriver.probe(host, tmp_path, OverlayOptions())

    assert report.ok
    assert all(check.evidence and not check.remedy for check in report.checks)
    assert os.listdir(tmp_path) == []
    assert not [entry for entry in host.mount_table() if entry.target.startswith(str(tmp_path))]


def test_filesystem_that_cannot_record_changes_is_named(host: KernelHost, tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    merged = tmp_path / "merged"
    parts = (f"lowerdir+={tmp_path}/lower", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work")
    host.mount([Mount("overlay", "overlay", parts)], merged)
    try:
        report = OverlayDriver.probe(host, merged, OverlayOptions())
    finally:
        host.unmount(merged)

    (failure,) = report.failures
    assert failure.evidence == f"{merged} is on overlay"
    assert "ext4" in failure.remedy


def test_read_only_directory_is_refused_with_what_the_kernel_said(host: KernelHost, tmp_path: Path) -> None:
    host.mount([Mount("bind", str(tmp_path), ("ro",))], tmp_path)
    try:
        checks = probe(host, tmp_path)
    finally:
        host.unmount(tmp_path)

    assert not checks["directory is writable"].ok
    assert "Read-only file system" in checks["directory is writable"].evidence
    assert checks["directory is writable"].remedy


def test_place_that_does_not_exist_is_refused(host: KernelHost, tmp_path: Path) -> None:
    (failure,) = OverlayDriver.probe(host, tmp_path / "missing", OverlayOptions()).failures

    assert "No such file" in failure.evidence
    assert failure.remedy


def test_mount_option_that_the_kernel_refuses_fails_the_trial(host: KernelHost, tmp_path: Path) -> None:
    check = probe(host, tmp_path, OverlayOptions(mount_options="nonsense"))["overlay works here"]

    assert not check.ok
    assert "nonsense" in check.evidence


class Unprivileged(KernelHost):
    """A host whose process may not mount."""

    @staticmethod
    def effective_capability(name: str) -> bool:
        return False


def test_missing_privilege_is_the_one_thing_named(tmp_path: Path) -> None:
    (failure,) = OverlayDriver.probe(Unprivileged(), tmp_path, OverlayOptions()).failures

    assert (failure.evidence, failure.remedy) == ("CAP_SYS_ADMIN is not in effect", "run as root")


class Forgetful(KernelHost):
    """A kernel that shows an upper directory's records to nobody."""

    @staticmethod
    def get_xattr(path: Path, name: str) -> bytes | None:
        return None


def test_mount_that_records_nothing_is_not_trusted(tmp_path: Path) -> None:
    check = probe(Forgetful(), tmp_path)["overlay works here"]

    assert not check.ok
    assert "an opaque directory was not recorded" in check.evidence
