"""Containers share what they do not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.command import Command
from tests.e2e.containers import container
from tests.e2e.material import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.material import Material

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]


def disk_usage(directory: Path) -> int:
    """Bytes that a directory takes, other mounts in it apart."""
    return int(run("du", "--one-file-system", "--summarize", "--block-size=1", directory).split()[0])


@pytest.mark.xdist_group("overlay")
def test_ten_containers_of_one_image_add_only_their_metadata_on_overlay(debian: Material, tmp_path: Path) -> None:
    lamina = Command(tmp_path / "store", "overlay")
    lamina("image", "load", f"oci:{debian.layout}:debian", "-t", "debian")
    before = disk_usage(lamina.root)

    names = [lamina("container", "create", "debian") for _ in range(10)]
    for name in names:
        lamina("container", "mount", name)
    added = disk_usage(lamina.root) - before
    lamina("container", "remove", "--force", *names)

    assert added / 10 < 64 * 1024
    assert before > 100 * 2**20


def test_a_change_in_one_container_is_seen_by_no_other_and_not_by_the_image(stocked: Command) -> None:
    with container(stocked, "debian") as first, container(stocked, "debian") as second:
        run("chroot", first.root, "sh", "-euc", "echo mine >/etc/hostname; rm -r /usr/share/doc; chmod 0 /etc/issue")

        assert stocked.json("container", "changes", first.id) != []
        assert stocked.json("container", "changes", second.id) == []
        assert (second.root / "usr/share/doc").is_dir()
    with container(stocked, "debian") as afterwards:
        assert (afterwards.root / "etc/issue").stat().st_mode & 0o777 == 0o644
