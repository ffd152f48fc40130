"""A whole driver: every snapshot is a directory ``<id>/tree`` below the driver's root, and begins as a copy of its parent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.directories import Directories
from lamina.driver import Check, Driver, ProbeReport
from lamina.model import Capability, Mount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.driver import Chain, StoredObject
    from lamina.host import Host
    from lamina.model import Usage


@dataclass(frozen=True, slots=True)
class ExampleOptions:
    """What ``--option NAME=VALUE`` may say: nothing yet.

    A field needs a type (str, int, bool, Path), a default and a help text::

        pool: str = field(default="tank", metadata={"help": "where the datasets are made"})
    """


class ExampleDriver(Driver):
    """Copies, and nothing clever."""

    name = "example"
    summary = "an example: every snapshot is a copy of its parent"
    # What a copy can do without trying. Declare what works and nothing else: the suite checks both.
    capabilities = frozenset({Capability.RENAME_DIRECTORY, Capability.SHARED_HARD_LINKS})
    Options = ExampleOptions
    # Where "auto" tries this driver: the lowest that runs wins; the built-in ones have 10 to 90.
    preference = 95

    def __init__(self, host: Host, root: Path, options: ExampleOptions) -> None:
        super().__init__(host, root, options)
        # Makes and removes a directory for each snapshot so that nothing half-made is ever found. Do without it if your
        # snapshots are volumes, datasets or devices.
        self._directories = Directories(host, root)

    @classmethod
    def probe(cls, host: Host, root: Path, options: object) -> ProbeReport:
        """Try what the driver needs; what fails is reported with what would help, and nothing is left at ``root``."""
        scratch = root / f"probe-{os.urandom(4).hex()}"
        writable = Check.attempt("directory is writable", f"making a directory in {root}", scratch.mkdir, "choose another --root")
        host.remove_tree(scratch)
        return ProbeReport(cls.name, (writable,))

    def prepare(self, id: int, chain: Chain) -> None:
        """An empty writable tree, or one that shows the layer ``chain[0]``, which must not notice what happens in it."""
        with self._directories.make(id) as new:
            if chain:
                self.host.copy_tree(self._tree(chain[0]), new / "tree")
            else:
                (new / "tree").mkdir()
                (new / "tree").chmod(0o755)

    def mounts(self, id: int, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        """How to see the tree: data, which lamina acts upon."""
        return (Mount("bind", str(self._tree(id)), ("rw" if writable else "ro",)),)

    def commit(self, id: int, chain: Chain, *, durable: bool) -> None:
        """From here on the tree never changes; when ``durable``, it outlives a power cut."""
        if durable:
            self.host.sync_filesystem(self.root)

    def remove(self, id: int) -> None:
        """All of the snapshot goes, also if a crash left only part of it, or none."""
        self._directories.remove(id)

    def usage(self, id: int, chain: Chain) -> Usage:
        """What would be free if the snapshot were gone."""
        return self.host.tree_usage(self._tree(id))

    def objects(self) -> Iterator[StoredObject]:
        """Whatever is there, known or not: ``lamina store check`` compares it with the records."""
        return self._directories.objects()

    def _tree(self, id: int) -> Path:
        return self._directories.path(id) / "tree"
