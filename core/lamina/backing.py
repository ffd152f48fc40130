"""The file that holds the storage of a driver which needs a filesystem or disk of its own (:class:`lamina.driver.LoopBacked`).

The file is ``backing.img`` in the store's directory, and what is in it is attached whenever the store is opened: a mount does not
outlive the machine, the file does. It is sparse, so it takes what is in it, and stays at the size it was made with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.driver import LoopBacked
    from lamina.host import Host


class Backing:
    """The storage in a file of one store. Calls of several processes at a time are for the caller to keep apart."""

    def __init__(self, home: Path, host: Host) -> None:
        self._file = home / "backing.img"
        self._place = home / "driver"
        self._host = host

    @property
    def exists(self) -> bool:
        """Whether the store keeps its layers in a file."""
        return self._file.exists()

    def make(self, kind: type[LoopBacked], size: int) -> None:
        """Make a file of ``size`` bytes and attach what ``kind`` makes of it; one that a crash left is taken as it is.

        Raises what the host raises; then no file is left.
        """
        if not self.exists:
            new = self._file.with_suffix(".new")
            try:
                with new.open("wb") as file:
                    new.chmod(0o600)
                    file.truncate(size)
                kind.format(self._host, new)
                new.rename(self._file)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
        kind.attach(self._host, self._file, self._place)

    def attach(self, kind: type[LoopBacked]) -> None:
        """Make the storage usable, if it is not."""
        kind.attach(self._host, self._file, self._place)

    def remove(self, kind: type[LoopBacked]) -> None:
        """Let go of the file and remove it. Raises :class:`lamina.errors.MountBusyError` while something in it is in use."""
        kind.detach(self._host, self._file, self._place)
        self._file.unlink(missing_ok=True)
