"""Where bytes go that were asked for: a file that appears when it is complete, or stdout."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def written(place: str) -> Iterator[BinaryIO]:
    """Yield a file to write to: stdout for ``-``, else one that takes the name ``place`` when the block ends without an error."""
    if place == "-":
        if sys.stdout.isatty():
            raise click.UsageError("a tar is nothing for a terminal: name a file, or redirect stdout")
        yield sys.stdout.buffer
        return
    partial = Path(f"{place}.partial-{os.getpid()}")
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
