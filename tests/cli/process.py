"""The command line as a process: what it prints where, and how it ends."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping

LAMINA = Path(sys.executable).with_name("lamina")


@dataclass(frozen=True, slots=True)
class Ended:
    code: int
    out: str
    err: str


def lamina(*words: str | Path, environ: Mapping[str, str] | None = None) -> Ended:
    """Run the installed command in pipes, with nothing of the user's settings."""
    ended = subprocess.run(
        [LAMINA, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=variables(environ), check=False
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def called(*words: str | Path) -> Ended:
    """Do in this process what :func:`lamina` does in one of its own, several times as fast."""
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGHUP)]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n") for _ in range(2))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(word) for word in ("--config=/dev/null", *words)])
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    return Ended(code, *(_written(stream) for stream in (out, err)))


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def on_a_terminal(*words: str | Path, columns: int = 80) -> str:
    """Run the installed command with a terminal for stdout and stderr, and return what appears there."""
    ours, theirs = pty.openpty()
    environ = variables({"COLUMNS": str(columns), "TERM": "xterm-256color"})
    process = subprocess.Popen([LAMINA, *words], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
    except OSError:  # how a terminal says that nobody has it open any more
        pass
    finally:
        os.close(ours)
        process.wait()
    return seen.decode().replace("\r\n", "\n")


def variables(more: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAMINA_", "NO_COLOR", "FORCE_COLOR"))}
    return {**kept, "XDG_CONFIG_HOME": "/nonexistent", **(more or {})}
