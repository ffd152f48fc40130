"""Facts about processes: who is alive, who holds a place busy (proc(5))."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def boot_id() -> str:
    """Return the random name of this boot of the kernel; a new one means that no process of before is alive."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def processes_using(place: str) -> list[str]:
    """Name the processes that have their root, their directory, their program or an open file at or below ``place``.

    Seen are paths of this mount namespace. What cannot be looked at, and what ends meanwhile, is left out.
    """
    return [f"{_command(pid)} (pid {pid})" for pid in _pids() if any(_is_within(path, place) for path in _open_paths(pid))]


def _pids() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _open_paths(pid: int) -> Iterator[str]:
    links = [f"/proc/{pid}/{name}" for name in ("root", "cwd", "exe")]
    with suppress(OSError):
        links += [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
    for link in links:
        with suppress(OSError):
            yield os.readlink(link)


def _is_within(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return "a process that has ended"
