from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lamina.host.kernel import KernelHost
from lamina_drivers.aufs.driver import AufsDriver
from lamina_drivers.aufs.options import AufsOptions
from lamina_drivers.aufs.probe import choose

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root


class WithAufs(KernelHost):
    """A kernel that says it has aufs."""

    @staticmethod
    def kernel_filesystems() -> frozenset[str]:
        return frozenset(("aufs", "ext4"))


class WithoutProgram(KernelHost):
    """A machine where fuse-overlayfs is not installed."""

    @staticmethod
    def which(tool: str) -> Path | None:
        return None


class Unprivileged(KernelHost):
    """A host whose process may not mount."""

    @staticmethod
    def effective_capability(name: str) -> bool:
        return False


def test_everything_is_tried_and_nothing_is_left(host: KernelHost, tmp_path: Path) -> None:
    report = AufsDriver.probe(host, tmp_path, AufsOptions())

    assert report.ok
    assert all(check.evidence for check in report.checks)
    assert report.checks[-1].name == "union works here"
    assert os.listdir(tmp_path) == []


def test_kernel_aufs_is_taken_where_there_is_one(host: KernelHost) -> None:
    assert choose(WithAufs(), AufsOptions()) == "kernel"
    assert choose(host, AufsOptions()) == "fuse-overlayfs"
    assert choose(WithAufs(), AufsOptions(union="fuse-overlayfs")) == "fuse-overlayfs"


def test_kernel_that_only_says_it_has_aufs_is_not_believed(tmp_path: Path) -> None:
    report = AufsDriver.probe(WithAufs(), tmp_path, AufsOptions())

    (failure,) = report.failures
    assert failure.name == "union works here"
    assert "no filesystem of this type" in failure.evidence
    assert os.listdir(tmp_path) == []


def test_kernel_aufs_that_was_asked_for_and_is_not_there_is_named(host: KernelHost, tmp_path: Path) -> None:
    (failure,) = AufsDriver.probe(host, tmp_path, AufsOptions(union="kernel")).failures

    assert failure.name == "kernel has aufs"
    assert "modprobe aufs" in failure.remedy


def test_missing_program_is_named_with_its_package(tmp_path: Path) -> None:
    (failure,) = AufsDriver.probe(WithoutProgram(), tmp_path, AufsOptions()).failures

    assert failure.remedy == "apt-get install fuse-overlayfs"


def test_missing_privilege_is_the_one_thing_named(tmp_path: Path) -> None:
    (failure,) = AufsDriver.probe(Unprivileged(), tmp_path, AufsOptions()).failures

    assert (failure.evidence, failure.remedy) == ("CAP_SYS_ADMIN is not in effect", "run as root")


def test_mount_option_that_fuse_overlayfs_refuses_fails_the_trial(host: KernelHost, tmp_path: Path) -> None:
    (failure,) = AufsDriver.probe(host, tmp_path, AufsOptions(mount_options="uidmapping=nonsense")).failures

    assert "invalid mapping" in failure.evidence
