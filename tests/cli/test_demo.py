"""The tour runs to its end on every driver, and leaves nothing, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from lamina.host.mountinfo import mount_table
from tests.cli.process import LAMINA, variables

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.slow]


def start(place: Path, *words: str, alone: bool = True) -> subprocess.Popen[str]:
    """Start the tour with its temporary files in ``place``; ``alone`` without any network."""
    environ = variables({"TMPDIR": str(place)} | ({"XDG_CACHE_HOME": str(place / "cache")} if alone else {}))
    command = [*(["unshare", "--net"] if alone else []), str(LAMINA), "demo", *words]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)


def left(place: Path) -> list[str]:
    mounts = [entry.target for entry in mount_table() if str(place) in entry.target]
    return [*mounts, *(path.name for path in place.iterdir() if path.name != "cache")]


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_without_a_network_it_shows_this_machines_own_programs(driver: str, tmp_path: Path) -> None:
    tour = start(tmp_path, "--driver", driver)
    out, err = tour.communicate()

    assert (tour.returncode, err) == (0, "")
    assert "so the root is a small tree of this machine's own programs" in out
    assert f"this tour takes {driver}" in out
    assert "in ann, hello says: nothing, it is gone; in bob: Hello, world" in out
    assert "gives the same digest as before" in out
    assert "everything agrees" in out
    assert left(tmp_path) == []


@pytest.mark.timeout(600)
def test_with_a_network_it_shows_a_debian(tmp_path: Path) -> None:
    tour = start(tmp_path, alone=False)
    out, err = tour.communicate()

    assert (tour.returncode, err) == (0, "")
    assert "hello installed" in out
    assert "umoci's tree and ours are the same" in out
    assert left(tmp_path) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_when_it_is_stopped_it_takes_everything_with_it(how: signal.Signals, tmp_path: Path) -> None:
    tour = start(tmp_path)
    assert tour.stdout
    for line in tour.stdout:
        if "container changes bob" in line:  # two containers are mounted now
            break

    os.killpg(tour.pid, how)
    out, err = tour.communicate()

    assert (tour.returncode, err) == (128 + how, "")
    assert "The end" not in out
    assert left(tmp_path) == []
