"""Long work on images, drawn on a terminal's stderr; in a pipe it is quiet."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from lamina.image.progress import LayerState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from lamina.image.progress import Progress

#: More layers than this are drawn one at a time, as they are worked on.
_ROWS = 16


@contextmanager
def shown() -> Iterator[Progress | None]:
    """Yield what draws the progress of layers until the block ends; None when nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from lamina.cli.render import console

    columns = (
        TextColumn("{task.description}"),
        TextColumn("{task.fields[state]:12}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
    )
    with Progress(*columns, console=console(stderr=True)) as bars:
        yield LayerBars(bars)


class LayerBars:
    """A :class:`lamina.image.progress.Progress` with a bar for each layer."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._lock = Lock()

    def layer(self, digest: str, size: int, state: LayerState) -> None:
        """Draw the layer's state, and its bar full when there is nothing left to do."""
        task = self._task(digest)
        self._bars.update(task, state=str(state), total=size or None)
        if state in (LayerState.DONE, LayerState.HERE):
            self._bars.update(task, completed=size, visible=len(self._tasks) <= _ROWS)
        elif state is not LayerState.WAITING:
            self._bars.update(task, visible=True)

    def advance(self, digest: str, size: int) -> None:
        """Move the layer's bar."""
        self._bars.advance(self._task(digest), size)

    def _task(self, digest: str) -> TaskID:
        from lamina.cli.render import printable, short

        with self._lock:
            if digest not in self._tasks:
                visible = len(self._tasks) < _ROWS
                label = printable(short(digest))
                self._tasks[digest] = self._bars.add_task(label, total=None, visible=visible, state=str(LayerState.WAITING))
            return self._tasks[digest]
