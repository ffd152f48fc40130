from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from lamina.host.locks import LockFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

#: Locks byte 7 of the file, then goes on with a program that says when it is at it.
PROLOGUE = """
import os, subprocess, sys, time
from pathlib import Path
from lamina.host.locks import LockFile
held = LockFile(Path(sys.argv[1])).lock(7)
"""


@pytest.fixture
def locks(tmp_path: Path) -> LockFile:
    return LockFile(tmp_path / "lock")


def holder(locks: LockFile, program: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """Another process that runs ``program`` with the lock, and has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + program, str(locks.path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout
    assert process.stdout.readline()
    return process


@pytest.fixture
def grandchildren() -> Iterator[list[int]]:
    """Processes to be ended, which are not our own children."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def is_free(locks: LockFile, offset: int = 7, *, shared: bool = False) -> bool:
    held = locks.try_lock(offset, shared=shared)
    if held is None:
        return False
    held.release()
    return True


def test_a_byte_is_locked_until_the_block_ends(locks: LockFile) -> None:
    with locks.lock(7):
        during = is_free(locks)

    assert (during, is_free(locks)) == (False, True)


def test_releasing_twice_is_fine(locks: LockFile) -> None:
    held = locks.lock(7)
    held.release()
    other = os.open(locks.path, os.O_RDONLY)  # takes the number that was just closed

    held.release()

    os.close(other)


def test_other_bytes_are_free(locks: LockFile) -> None:
    with locks.lock(7):
        assert is_free(locks, 6)
        assert is_free(locks, 8)
        assert is_free(locks, (1 << 62) + 7)


def test_two_holders_share_and_none_excludes(locks: LockFile) -> None:
    with locks.lock(7, shared=True):
        assert is_free(locks, shared=True)
        assert not is_free(locks)


def test_two_threads_of_a_process_exclude_each_other(locks: LockFile) -> None:
    inside = []
    most = []

    def work() -> None:
        for _ in range(50):
            with locks.lock(7):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(most) == 1
    assert len(most) == 200


def test_two_attempts_of_a_process_exclude_each_other_and_neither_lets_go_of_the_other(locks: LockFile) -> None:
    first = locks.try_lock(7)
    second = locks.try_lock(7)
    third = locks.try_lock(8)

    assert first
    assert second is None
    assert third
    third.release()
    assert not is_free(locks)
    first.release()


def test_waiting_ends_when_the_holder_lets_go(locks: LockFile) -> None:
    held = locks.lock(7)
    letting_go = threading.Timer(0.05, held.release)
    letting_go.start()

    with locks.lock(7, timeout=10):
        letting_go.join()


def test_waiting_ends_at_the_deadline(locks: LockFile) -> None:
    with locks.lock(7), pytest.raises(TimeoutError, match=r"byte 7 of .*/lock was locked for all of 0.05 s"):
        locks.lock(7, timeout=0.05)


def test_a_deadline_of_nothing_still_takes_a_free_lock(locks: LockFile) -> None:
    with locks.lock(7, timeout=0):
        pass


def test_a_wait_in_vain_leaves_no_handle(locks: LockFile) -> None:
    with locks.lock(7):
        before = os.listdir("/proc/self/fd")
        assert not is_free(locks)
        with pytest.raises(TimeoutError):
            locks.lock(7, timeout=0)

        assert os.listdir("/proc/self/fd") == before


def test_a_holder_that_is_killed_lets_go(locks: LockFile) -> None:
    with holder(locks, "print('locked', flush=True); time.sleep(60)") as process:
        during = is_free(locks)
        process.kill()

    assert (during, is_free(locks)) == (False, True)


def test_a_program_that_the_holder_started_does_not_keep_the_lock(locks: LockFile, grandchildren: list[int]) -> None:
    program = "print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid, flush=True); os._exit(0)"
    process = subprocess.run([sys.executable, "-c", PROLOGUE + program, locks.path], stdout=subprocess.PIPE, check=True)
    grandchildren.append(int(process.stdout))

    assert is_free(locks)


def test_a_forked_child_does_not_keep_the_lock(locks: LockFile, grandchildren: list[int]) -> None:
    program = """
child = os.fork()
if child == 0:
    os.close(1)
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", PROLOGUE + program, locks.path], stdout=subprocess.PIPE) as process:
        assert process.stdout
        grandchildren.append(int(process.stdout.readline()))
        during = is_free(locks)
        process.kill()

    assert not during
    with locks.lock(7, timeout=10):  # the child sleeps longer
        pass


def test_the_file_is_private_and_stays_empty(locks: LockFile) -> None:
    before = os.umask(0)
    try:
        with locks.lock(7):
            pass
    finally:
        os.umask(before)

    found = locks.path.stat()
    assert (found.st_mode & 0o777, found.st_size) == (0o600, 0)


def test_a_link_is_no_lock_file(locks: LockFile, tmp_path: Path) -> None:
    locks.path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        locks.lock(7)

    assert not (tmp_path / "elsewhere").exists()
