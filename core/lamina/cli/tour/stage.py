"""How a step of the tour looks: with colours and a sign of life on a terminal, in a pipe as plain text."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.cli import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from lamina.cli.render import Line


class Stage:
    """Where the tour is told."""

    def __init__(self) -> None:
        self._steps = 0
        self._console: Console | None = render.console() if sys.stdout.isatty() else None

    def step(self, title: str, text: str) -> None:
        """Begin a step: what is about to happen, and why."""
        self._steps += 1
        self._print("")
        self._print(f"{self._steps}. {title}", "bold cyan")
        self._print(text, "dim")
        self._print("")

    def command(self, *lines: str) -> None:
        """Show the commands with which anybody does the same."""
        for line in lines:
            self._print(f"$ {line}", "bold")

    def python(self, *lines: str) -> None:
        """Show the lines of Python with which anybody does the same."""
        for line in lines:
            self._print(f"{'...' if line.startswith(' ') else '>>>'} {line}", "bold")

    def say(self, *lines: str) -> None:
        """Tell what came of it."""
        for line in lines:
            self._print(render.printable(line), indent=2)

    def good(self, line: str) -> None:
        """Tell of something that was proved."""
        self._print(f"{'✓' if self._console else 'ok:'} {render.printable(line)}", "green", indent=2)

    def missing(self, line: str) -> None:
        """Tell of something that could not be shown here, and why."""
        self._print(f"- {render.printable(line)}", "yellow", indent=2)

    def tree(self, lines: Sequence[Line]) -> None:
        """Draw a tree."""
        from lamina.config import Format

        render.tree(Format.TABLE, None, lines, empty="")

    @contextmanager
    def busy(self, doing: str) -> Iterator[None]:
        """Show that something goes on until the block ends, then how long it took."""
        started = time.monotonic()
        if self._console:
            with self._console.status(f"  {doing} …"):
                yield
        else:
            yield
        self.say(f"{doing}: {_seconds(time.monotonic() - started)}")

    def _print(self, text: str, style: str = "", *, indent: int = 0) -> None:
        if self._console is None:
            print(f"{'':{indent}}{text}", flush=True)
        elif indent:
            from rich.padding import Padding
            from rich.text import Text

            self._console.print(Padding(Text(text, style), (0, 0, 0, indent)))
        else:
            # A command stays one line, to be taken with the mouse.
            self._console.print(text, style=style or None, soft_wrap=style == "bold")


def _seconds(duration: float) -> str:
    return f"{duration * 1000:.0f} ms" if duration < 1 else f"{duration:.1f} s"
