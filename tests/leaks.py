"""What a session of tests left on the machine: mounts, devices, processes, directories.

Every session works in a directory of its own, ``lamina-test-PID-…``, which is TMPDIR for it and for all it starts: so what is
left can be told from what another session, or the machine, has at the same time.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.conformance.leaks import left_behind, tear_down

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The places, beside TMPDIR, where a test looks for a filesystem of another kind.
SHARED_PLACES = (Path("/dev/shm"), Path("/var/tmp"))


class Watch:
    """One session's directory, and what the machine held before it began."""

    def __init__(self) -> None:
        #: Where the system keeps temporary files when no session is running.
        self._outside = Path(os.environ.get("TMPDIR") or tempfile.gettempdir()).resolve()
        forget_old_sessions(self._outside)
        self.directory = Path(tempfile.mkdtemp(prefix=f"lamina-test-{os.getpid()}-", dir=self._outside))
        self._before = frozenset(self._belonging_to_nobody())
        self._restored = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(self.directory)
        tempfile.tempdir = None

    def leaks(self, *, allowed: frozenset[str] = frozenset(), patience: float = 1.0) -> list[str]:
        """Name what is left, once it has had ``patience`` seconds to go; ``allowed`` are names in the session's directory."""
        deadline = time.monotonic() + patience
        while (found := self._find(allowed)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def end(self) -> None:
        """Give TMPDIR back. The directory stays: only who knows that nothing is mounted in it may remove it."""
        if self._restored is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = self._restored
        tempfile.tempdir = None

    def _find(self, allowed: frozenset[str]) -> list[str]:
        found = left_behind(self.directory)
        found += [f"directory {entry}" for entry in sorted(self.directory.iterdir()) if entry.name not in allowed]
        found += [f"process {pid}: {command}" for pid, command in processes_of(self.directory)]
        # What carries no session's name may be another's who runs now: then nobody can say whose it is.
        if not any(True for _ in self._other_sessions()):
            found += sorted(frozenset(self._belonging_to_nobody()) - self._before)
        return found

    def _belonging_to_nobody(self) -> Iterator[str]:
        return (found for found in _everywhere() if "lamina" in found and "/lamina-test-" not in found)

    def _other_sessions(self) -> Iterator[Path]:
        return (entry for entry in self._outside.glob("lamina-test-*") if entry != self.directory and is_alive(entry))


def _everywhere() -> Iterator[str]:
    for place in SHARED_PLACES:
        yield from (f"directory {entry}" for entry in place.iterdir())
    for name in Path("/sys/block").glob("dm-*/dm/name"):
        yield f"device-mapper device {name.read_text().strip()}"
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        yield f"{backing.parts[3]} on {backing.read_text().strip()}"
    for entry in Path("/proc/self/mountinfo").read_text().splitlines():
        yield f"mount at {entry.split(' ')[4]}"


def is_alive(directory: Path) -> bool:
    """Tell whether the session that works in ``directory`` still runs."""
    match = re.match(r"lamina-test-(\d+)-", directory.name)
    return match is not None and Path("/proc", match[1]).exists()


def forget_old_sessions(place: Path) -> None:
    """Remove what failed sessions kept to be looked at, and what is mounted there, but for the last two."""
    kept = sorted(
        (entry for entry in place.glob("lamina-test-*") if not is_alive(entry)), key=lambda entry: entry.lstat().st_mtime
    )
    for entry in kept[:-2]:
        tear_down(entry)


def processes_of(directory: Path) -> Iterator[tuple[int, str]]:
    """Yield every process, this one apart, that has ``directory`` in its environment or its command line."""
    needle = os.fsencode(directory)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            told = needle in command or needle in (entry / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile, or somebody else's
        # A zombie has no command line; it is waited for by whoever started it.
        if told and command:
            yield int(entry.name), command.replace(b"\0", b" ").decode(errors="replace").strip()
