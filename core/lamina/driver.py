"""The contract between the layer graph and a storage driver, and the report in which a driver explains itself.

A driver knows numbers, chains of numbers, and its own layout on disk. It keeps no names, no reference counts and no database;
the graph decides what may happen, the driver makes it so. The smallest complete driver is ``contrib/driver-template``.

The life of a layer, seen from a driver::

    prepare(7, ())                      an empty writable tree
    mounts(7, (), writable=True)        … the host mounts it, somebody unpacks a root filesystem
    commit(7, (), durable=True)         from here on 7 never changes
    prepare(8, (7,))                    a container on top: sees 7, and 7 never sees it
    mounts(8, (7,), writable=True)
    commit(8, (7,), durable=True)       the container's changes, as the next layer
    mounts(8, (7,), writable=False)     a look at it
    remove(8)                           children go before parents

Every method is idempotent: what a crash left behind is cleaned up or completed, never reported as an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from lamina.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lamina.host import Host
    from lamina.model import Capability, Limit, Mount, Usage

#: Internal snapshot numbers, nearest ancestor first.
Chain = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One precondition of a driver, tried on this machine."""

    #: What is needed, in a few words: ``kernel has overlay``.
    name: str
    ok: bool
    #: What was tried and what the kernel or the tool answered.
    evidence: str
    #: What would make it pass; empty when it did.
    remedy: str = ""
    #: Whether the driver cannot run without it. A failed check that is not required costs an ability, not the driver.
    required: bool = True

    @classmethod
    def attempt(cls, name: str, trial: str, act: Callable[[], object], remedy: str, *, required: bool = True) -> Check:
        """Return how it went to ``act``, which fails by raising ``OSError`` or :class:`lamina.errors.HostError`.

        ``trial`` says what is tried, ``remedy`` what would make it work.
        """
        try:
            act()
        except OSError as error:
            return cls(name, ok=False, evidence=f"{trial}: {error.strerror}", remedy=remedy, required=required)
        except HostError as error:
            return cls(name, ok=False, evidence=f"{trial}: {error}", remedy=remedy, required=required)
        return cls(name, ok=True, evidence=f"{trial}: done", required=required)


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """Whether a driver runs on this machine at this place, and why."""

    driver: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every required precondition holds."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The required preconditions that do not hold, in order."""
        return tuple(check for check in self.checks if check.required and not check.ok)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One thing of a driver on disk or in the kernel, for comparing with the records."""

    #: The snapshot it belongs to; None when the driver does not know what it is.
    id: int | None
    #: Where it is: a path, a dataset, a device.
    location: str
    #: False for what an operation that was cut short left: not the snapshot's data, and gone with :meth:`Driver.remove`.
    whole: bool = True


class Driver(ABC):
    """A storage backend; see the module's own text for the life it leads.

    Subclasses set the class attributes and implement the abstract methods. The constructor may create the driver's own
    directories below ``root`` and must be cheap: it runs at every opening of a store.
    """

    #: Unique among all plugins; what ``--driver`` takes.
    name: ClassVar[str]
    #: One sentence for ``lamina driver list``.
    summary: ClassVar[str]
    #: What a driver of this class can do at best. A constructor may take away what does not hold at its ``root``, such as
    #: ``SHARED_DATA`` on a filesystem without reflinks; what an instance declares is what the conformance suite holds it to.
    capabilities: frozenset[Capability] = frozenset()
    #: What its mounts cannot do; a constructor may take away, as with capabilities.
    limits: frozenset[Limit] = frozenset()
    #: A frozen dataclass whose fields are the driver's options (``--option``); every field has a default and a docstring-like
    #: ``field(metadata={"help": …})``. Types: str, int, bool, Path.
    Options: ClassVar[type]
    #: The place in the order in which ``driver = "auto"`` tries: the lowest that proves to work wins.
    preference: ClassVar[int] = 100

    def __init__(self, host: Host, root: Path, options: object) -> None:
        self.host = host
        #: The driver's own directory; it exists, is private, and nobody else writes there.
        self.root = root
        self.options = options

    @classmethod
    @abstractmethod
    def probe(cls, host: Host, root: Path, options: object) -> ProbeReport:
        """Try every precondition at ``root``, an existing directory, and leave nothing there.

        Never raises for a precondition that fails: that is what the report is for.
        """

    @abstractmethod
    def prepare(self, id: int, chain: Chain) -> None:
        """Make a writable tree ``id`` that shows the top of ``chain``; empty, root mode 0755, for an empty chain."""

    @abstractmethod
    def mounts(self, id: int, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        """Return the mounts that show ``id`` on top of ``chain``; performed in order at one target they give the tree.

        Read-only mounts are asked for of any snapshot, also of an active one that is mounted writable elsewhere. Writable ones
        are asked for of active snapshots alone, also after a commit that was cut short or came too late for its name: what that
        did to ``id`` may be undone here. Nothing is mounted by this call.
        """

    @abstractmethod
    def commit(self, id: int, chain: Chain, *, durable: bool) -> None:
        """Make ``id`` immutable, as far as the backend can enforce it. With ``durable``, its data are on stable storage
        when this returns; any error of a sync is raised."""

    @abstractmethod
    def remove(self, id: int) -> None:
        """Remove ``id`` and everything that belongs to it. It has no children and is not mounted. Unknown ids are fine."""

    @abstractmethod
    def usage(self, id: int, chain: Chain) -> Usage:
        """Return the space that ``id`` itself takes, ``chain`` apart; hard links counted once, holes not at all."""

    @abstractmethod
    def objects(self) -> Iterator[StoredObject]:
        """Yield everything of this driver that exists, whether or not the records know of it."""

    def close(self) -> None:
        """Let go of what the driver holds in this process. Snapshots and mounts stay."""


@dataclass(frozen=True, slots=True)
class Touched:
    """A path that may differ from the parent; the core looks at both trees and decides."""

    #: Relative to the root, without leading slash; ``b"."`` is the root itself.
    path: bytes
    #: Whether anything below ``path`` may differ too, so that both subtrees must be compared.
    subtree: bool = False


class NativeDiff(ABC):
    """``Capability.NATIVE_DIFF``: tells what may have changed at a cost that follows the change, not the tree."""

    @abstractmethod
    def touched(self, id: int, chain: Chain) -> Iterator[Touched]:
        """Yield every path of ``id`` that may differ from the top of ``chain``, in any order, duplicates allowed.

        Too much is slow, too little is wrong: a path that is not covered is taken to be unchanged. A created directory needs
        no entries for what is in it. Raises :class:`lamina.errors.UnsupportedError` where the answer cannot be given
        for this pair; the core then walks both trees.
        """


class LoopBacked(ABC):
    """A driver whose storage can be made in a file, for whoever has no disk to spare: ``lamina store init --loop SIZE``.

    All of this is done before the driver is opened, by one process at a time, and may be asked for again after a crash.
    """

    @classmethod
    @abstractmethod
    def format(cls, host: Host, file: Path) -> None:
        """Make empty storage of ``file``, which is sparse and of its final size; whatever was in it is gone."""

    @classmethod
    @abstractmethod
    def attach(cls, host: Host, file: Path, place: Path) -> None:
        """Make the storage in ``file`` usable, if it is not: the driver's root is going to be below the directory ``place``."""

    @classmethod
    @abstractmethod
    def detach(cls, host: Host, file: Path, place: Path) -> None:
        """Let go of ``file``, if it is attached. Raises :class:`lamina.errors.MountBusyError` while it is in use."""


class Encoding(StrEnum):
    """How a directory that is unpacked into says "deleted" and "nothing from below"."""

    #: The directory is the whole tree: deleted is gone.
    PLAIN = "plain"
    #: overlayfs: character device 0:0, and the xattr ``trusted.overlay.opaque``.
    OVERLAY = "overlay"
    #: AUFS: ``.wh.NAME`` and ``.wh..wh..opq``.
    AUFS = "aufs"


@dataclass(frozen=True, slots=True)
class ApplyTarget:
    """Where a layer's files go when no mount is needed."""

    directory: Path
    encoding: Encoding


class DirectApply(ABC):
    """``Capability.DIRECT_APPLY``: a directory to unpack into without mounting."""

    @abstractmethod
    def apply_target(self, id: int, chain: Chain) -> ApplyTarget:
        """Return the directory that holds what ``id`` adds, and how it encodes deletions. Only asked for a snapshot that was
        just prepared and has never been mounted."""


#: The source of a mount that :class:`UnionMount` describes, by which it is told from others in the mount table.
UNION_SOURCE = "lamina-union"


class UnionMount(ABC):
    """``Capability.UNION``: shows directories of anywhere, not layers of a store, as one."""

    @classmethod
    @abstractmethod
    def union(cls, directories: Sequence[Path], options: object, *, upper: Path | None = None, work: Path | None = None) -> Mount:
        """Return the mount that shows ``directories``, the first above the others, with :data:`UNION_SOURCE` as its source.

        Read-only, unless ``upper`` is given: that lies above all others and takes every change. ``work`` is then an empty
        directory on its filesystem. The paths are absolute and none is inside another. Raises
        :class:`lamina.errors.UnsupportedError` for more directories than can be united.
        """
