"""``python -m tests.guest [COMMAND…]``: run a command in the guest, or else a shell; without a terminal, its self-check."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from tests.guest.machine import GuestError, guest

SELF_CHECK = ("pytest", "-p", "no:cacheprovider", "tests/guest/inside.py")


def main(command: list[str]) -> int:
    """Build what is missing, boot, run the command, and return its status."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="lamina-guest-") as exchange:
        try:
            return guest().run(command or (["bash"] if terminal else SELF_CHECK), Path(exchange), terminal=terminal)
        except GuestError as error:
            print(error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
