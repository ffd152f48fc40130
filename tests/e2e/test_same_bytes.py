"""The same changes are the same bytes, whatever the driver."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from lamina.testing.trees import Manifest, differences, manifest
from tests.e2e.command import Command
from tests.e2e.containers import container
from tests.e2e.layouts import digest
from tests.e2e.material import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.material import Material

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]

#: What somebody does to a system in an afternoon, then every time that changed set to one moment.
CHANGES = r"""
dpkg --purge --force-all mawk
rm -f /var/log/dpkg.log /var/log/alternatives.log /var/cache/ldconfig/aux-cache
echo changed >>/etc/hostname
chmod 0600 /etc/issue
chown 12:34 /etc/debian_version
rm /etc/motd && mkdir /etc/motd && echo inside >/etc/motd/inside
rm -r /usr/share/doc && mkdir /usr/share/doc && echo new >/usr/share/doc/new
rm -r /usr/share/common-licenses && ln -s /nowhere /usr/share/common-licenses
mv /etc/cron.daily /etc/cron.weekly
mkdir -p /srv/deep/er && echo one >/srv/one && ln /srv/one /srv/deep/er/two && mkfifo /srv/fifo && mknod /srv/null c 1 3
truncate -s 5M /srv/holes && echo end >>/srv/holes
find / -xdev -newer /.begun -exec touch -h -d '2024-02-29 12:34:56.123456789Z' {} +
rm /.begun
touch -d '2024-02-29 12:34:56.123456789Z' /
"""


def change(root: Path) -> None:
    (root / ".begun").touch()
    time.sleep(0.05)  # coarser than any clock of a filesystem here
    run("chroot", root, "sh", "-euc", CHANGES)


@pytest.mark.xdist_group("vfs")
def test_the_same_changes_on_overlay_and_vfs_give_the_same_diff(debian: Material, tmp_path: Path) -> None:
    diffs: dict[str, Path] = {}
    diff_ids: dict[str, list[str]] = {}
    trees: dict[str, Manifest] = {}

    for driver in ("overlay", "vfs"):
        lamina = Command(tmp_path / driver, driver)
        lamina("image", "import", debian.tar, "-t", "debian")
        with container(lamina, "debian") as made:
            change(made.root)
            diffs[driver] = tmp_path / f"{driver}.tar"
            printed = lamina("container", "diff", made.id, "-o", diffs[driver])
            lamina("container", "commit", made.id, "-t", "changed")
            diff_ids[driver] = [printed, lamina.json("image", "show", "changed")["layers"][-1]["diff_id"]]
        with container(lamina, "changed") as again:
            trees[driver] = manifest(again.root)

    assert diffs["overlay"].read_bytes() == diffs["vfs"].read_bytes()
    assert set(diff_ids["overlay"]) == set(diff_ids["vfs"]) == {digest(diffs["vfs"].read_bytes())}
    assert differences(trees["overlay"], trees["vfs"]) == []
