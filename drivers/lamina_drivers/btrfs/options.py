"""What a user may ask of the ``btrfs`` driver."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BtrfsOptions:
    """The btrfs driver has no options: compression and the like are set on the filesystem."""
