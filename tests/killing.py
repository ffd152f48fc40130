"""Killing a process in the middle of its work, at each step in turn."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: The changes on disk that Python announces (sys.addaudithook).
STEPS = frozenset(("os.mkdir", "os.rename", "os.rmdir", "os.remove", "os.chmod"))


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do ``work`` in a process that is killed just before its ``step``-th change on disk; whether it came that far."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in STEPS:
                if left == 0:
                    os._exit(9)
                left -= 1

        sys.addaudithook(count)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
