"""The search for what a session left behind finds what a test leaves behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent

#: Of this process alone: sessions at the same time share /dev/shm.
SHARED = f"lamina-forgotten-{os.getpid()}-"

LEAVES = {
    "mount": (
        'subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)',
        r"tmpfs mounted at .*/test_leaves",
    ),
    "loop device": (
        '(tmp_path / "disk").write_bytes(bytes(2**20)); subprocess.run(["losetup", "-f", tmp_path / "disk"], check=True)',
        r"loop\d+ on .*/disk",
    ),
    "process": ('subprocess.Popen(["sleep", "60"])', r"process \d+: sleep 60"),
    "directory": ('tempfile.mkdtemp(prefix="forgotten")', r"directory .*/forgotten"),
    "shared memory": (f'tempfile.mkdtemp(prefix="{SHARED}", dir="/dev/shm")', rf"directory /dev/shm/{SHARED}"),
}

TEST = """
import subprocess, tempfile

def test_leaves(tmp_path):
    {leave}
    assert True
"""


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "processes"), [*((kind, 0) for kind in LEAVES), ("directory", 2)])
def test_a_session_fails_when_a_test_that_passed_leaves_something(tmp_path: Path, kind: str, processes: int) -> None:
    leave, message = LEAVES[kind]

    ended = session(tmp_path, leave, processes)

    # Whatever it was, it goes before anything is judged.
    if kept := re.search(r"kept to be looked at: (.*)", ended.stdout):
        subprocess.run(["umount", "--quiet", *Path(kept[1]).glob("tmp/**/test_leaves*0")], check=False)
        shutil.rmtree(kept[1])
    for number in re.findall(r"(loop\d+) on", ended.stdout):
        subprocess.run(["losetup", "-d", f"/dev/{number}"], check=True)
    for pid in re.findall(r"process (\d+): sleep", ended.stdout):
        os.kill(int(pid), signal.SIGKILL)
    for directory in Path("/dev/shm").glob(f"{SHARED}*"):
        directory.rmdir()
    assert ended.returncode == 1
    assert re.search(message, ended.stdout), ended.stdout
    assert re.search(r"1 passed, 1 error", ended.stdout.splitlines()[-1]), ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("processes", [0, 2])
def test_a_session_that_leaves_nothing_passes_and_takes_its_directory_with_it(tmp_path: Path, processes: int) -> None:
    ended = session(tmp_path, '(tmp_path / "file").touch()', processes)

    assert ended.returncode == 0, ended.stdout
    assert "kept" not in ended.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "test_one.py"]


def session(place: Path, leave: str, processes: int) -> subprocess.CompletedProcess[str]:
    """Run one test that does ``leave``, as a session of its own."""
    (place / "test_one.py").write_text(TEST.format(leave=leave))
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", str(processes)]
    return subprocess.run(
        [*command, place / "test_one.py"],
        cwd=CHECKOUT,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
