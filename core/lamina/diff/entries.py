"""One member of a layer tar, as plain data: what the reader yields and the writer takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The extended attributes of an entry that has none.
NO_XATTRS: Mapping[bytes, bytes] = MappingProxyType({})


class EntryKind(IntEnum):
    """What an entry makes."""

    FILE = 0
    HARDLINK = 1
    SYMLINK = 2
    CHAR = 3
    BLOCK = 4
    DIRECTORY = 5
    FIFO = 6


@dataclass(slots=True)
class Entry:
    """One member of a layer tar. Not frozen, because a frozen one takes three times as long to make; treat it as if it were."""

    #: The path as the archive spells it: any bytes but NUL, not empty; a leading ``/``, ``./``, ``..`` or trailing ``/`` is kept.
    name: bytes
    kind: EntryKind
    #: Permission bits, suid, sgid and sticky: 0 to 0o7777.
    mode: int
    #: 0 to 2**32 - 2.
    uid: int = 0
    gid: int = 0
    #: Bytes of data; 0 for everything but a file.
    size: int = 0
    #: Nanoseconds since the epoch, negative before it.
    mtime: int = 0
    #: Target of a symbolic link, or the name of the entry that a hard link repeats, as the archive spells it.
    link: bytes = b""
    #: Device numbers of ``CHAR`` and ``BLOCK``: 0 to 4095 and 0 to 1048575 (what Linux can express).
    major: int = 0
    minor: int = 0
    #: Extended attributes by full name (``b"user.note"``).
    xattrs: Mapping[bytes, bytes] = field(default_factory=lambda: NO_XATTRS)


def printable(name: bytes) -> str:
    """Return ``name`` as one line that is safe on a terminal: what is no printable UTF-8 shows as a backslash escape."""
    text = name.decode(errors="backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
