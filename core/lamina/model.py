"""The values that all of lamina speaks in: frozen, and without any I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Kind(StrEnum):
    """What a snapshot is. Only a committed one may be a parent; only an active one is writable."""

    COMMITTED = "committed"
    ACTIVE = "active"
    VIEW = "view"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One node of the layer graph, as the records hold it."""

    #: Internal number: never reused, unchanged by commit, and all of this record that a driver ever sees.
    id: int
    #: The user's name for it: a key while active or a view, a name once committed.
    key: str
    kind: Kind
    #: Key of the parent layer; empty for a snapshot on top of nothing.
    parent: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    created: datetime
    #: Time of the last change of kind or labels; equals ``created`` at first.
    updated: datetime
    #: OCI diff id (``sha256:…`` of the uncompressed layer tar) of a layer that came from or went into an image, else empty.
    diff_id: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount to perform, as plain data: a driver describes it, the host performs it.

    ``type`` is a filesystem type, or ``bind``. ``options`` are as mount(8) takes them, ``ro`` and ``rw`` among them. An option
    that occurs several times (``lowerdir+=…``) keeps its order; values are never escaped, since each is handed to the kernel
    on its own (fsconfig(2)) where it can be.
    """

    type: str
    source: str
    options: tuple[str, ...] = ()


class ChangeKind(StrEnum):
    """How a path differs from the parent."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs from the parent.

    A removed tree is one deletion, at its top; of a created tree every node is listed.
    """

    #: Relative to the root of the tree, without leading slash; ``b"."`` is the root itself.
    path: bytes
    kind: ChangeKind


@dataclass(frozen=True, slots=True)
class Usage:
    """Space that a snapshot itself takes, its parents apart."""

    #: Bytes allocated on disk.
    size: int
    #: Number of inodes; 0 where the backend cannot tell.
    inodes: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.size + other.size, self.inodes + other.inodes)


class Capability(StrEnum):
    """An optional ability of a driver. The conformance suite holds a driver to it: declared if and only if it works."""

    #: Tells which paths may differ from the parent without walking the tree: :class:`lamina.driver.NativeDiff`.
    NATIVE_DIFF = "native-diff"
    #: A directory into which a layer is unpacked without mounting anything: :class:`lamina.driver.DirectApply`.
    DIRECT_APPLY = "direct-apply"
    #: A directory of a layer below can be renamed in a writable mount; without it rename(2) answers EXDEV.
    RENAME_DIRECTORY = "rename-directory"
    #: Names that are hard links of each other in a layer stay so in a child when one of them is written to.
    SHARED_HARD_LINKS = "shared-hard-links"
    #: A child shares the unchanged data of its parent on disk.
    SHARED_DATA = "shared-data"
    #: Shows any directories as one: :class:`lamina.driver.UnionMount`.
    UNION = "union"


class Limit(StrEnum):
    """Where the mounts of a driver fall short of a plain directory. The conformance suite holds a driver to it: declared if and
    only if it shows. What none of these names works as in a directory."""

    #: A directory's time changes when something in it that is of a layer below is changed, and not only when names in it are.
    DIRECTORY_TIMES = "directory-times"
    #: A file of a layer below loses its holes when it is written to.
    HOLES = "holes"
    #: ``st_nlink`` counts the names that were looked at since the mount was made, so names that are one file may not be told as
    #: such in a layer's stream.
    LINK_COUNTS = "link-counts"
    #: Names of over 251 bytes are refused, at the latest when a snapshot is committed.
    LONG_NAMES = "long-names"
    #: Mode, owner and times of devices and FIFOs stay as they were made; changing them fails with EIO.
    NODE_ATTRIBUTES = "node-attributes"


class Durability(StrEnum):
    """What "committed" promises about a power cut."""

    #: The data are on stable storage before the record says so.
    FULL = "full"
    #: The kernel writes back when it likes; a power cut may lose or damage the latest layers.
    RELAXED = "relaxed"
