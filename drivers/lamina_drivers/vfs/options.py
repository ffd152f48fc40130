"""What a user may ask of the ``vfs`` driver."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VfsOptions:
    """The vfs driver has no options: the best way to copy is found out by copying."""
