"""The installed ``lamina`` command, as a user runs it on one store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAMINA = Path(sys.executable).with_name("lamina")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


class Command:
    """``lamina --root ROOT``, with no variable or file of the user having a say."""

    def __init__(self, root: Path, driver: str = "") -> None:
        self.root = root
        self._flags = [f"--root={root}", *([f"--driver={driver}"] if driver else [])]

    def __call__(self, *words: str | Path) -> str:
        """Run a command that has to succeed, silently on stderr, and return the text that it printed."""
        ran = self.attempt(*words)
        assert (ran.code, ran.err) == (0, ""), f"lamina {' '.join(map(str, words))} ended with {ran.code}: {ran.err}"
        return ran.out.rstrip("\n")

    # What the JSON holds is what each test says it does.
    def json(self, *words: str | Path) -> Any:
        """Run a command that has to succeed and return its result."""
        return json.loads(self("--format=json", *words))

    def attempt(self, *words: str | Path) -> Ran:
        """Run a command, whatever comes of it."""
        process = self.start(*words)
        out, err = process.communicate()
        return Ran(process.returncode, out, err)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            [LAMINA, *self._flags, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            env=_environment(),
            process_group=0,
        )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAMINA_")}
    return {**kept, "XDG_CONFIG_HOME": "/nonexistent"}
