from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from lamina.host.process import boot_id, processes_using

if TYPE_CHECKING:
    from pathlib import Path


def test_a_boot_has_one_name() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", boot_id())
    assert boot_id() == boot_id()


def wait_for(process: subprocess.Popen[bytes]) -> None:
    """Wait until the child has become the other program."""
    while os.readlink(f"/proc/{process.pid}/exe") == os.readlink("/proc/self/exe"):
        time.sleep(0.001)


def test_who_works_in_a_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in-name-only").mkdir()

    with (
        subprocess.Popen(["sleep", "60"], cwd=tmp_path / "in" / "deep") as inside,
        subprocess.Popen(["sleep", "60"], cwd=tmp_path / "in-name-only") as outside,
    ):
        for process in (inside, outside):
            wait_for(process)
        found = processes_using(str(tmp_path / "in"))
        inside.kill()
        outside.kill()

    assert found == [f"sleep (pid {inside.pid})"]


def test_who_has_a_file_open_or_runs_a_program_of_a_place_is_named(tmp_path: Path) -> None:
    program = shutil.copy("/bin/sleep", tmp_path / "resting")

    with open(tmp_path / "file", "w"), subprocess.Popen([program, "60"]) as running:
        wait_for(running)
        found = processes_using(str(tmp_path))
        running.kill()

    assert f"resting (pid {running.pid})" in found
    assert any(f"(pid {os.getpid()})" in name for name in found)
