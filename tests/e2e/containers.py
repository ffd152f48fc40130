"""A container that is there for the length of a block."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.command import Command


@dataclass(frozen=True, slots=True)
class Mounted:
    """A container and the directory that shows its tree."""

    id: str
    root: Path


@contextmanager
def container(lamina: Command, image: str) -> Iterator[Mounted]:
    """Make a container of ``image`` and mount it."""
    made = lamina("container", "create", image)
    try:
        yield Mounted(made, Path(lamina("container", "mount", made)))
    finally:
        lamina("container", "remove", "--force", made)
