"""How much a stream from outside may ask of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.diff.entries import EntryKind, printable
from lamina.diff.whiteouts import PREFIX
from lamina.errors import LimitExceededError

if TYPE_CHECKING:
    from lamina.diff.entries import Entry

_MIB = 1 << 20
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds on untrusted input, inclusive: what reaches one is taken, what passes it raises
    :class:`lamina.errors.LimitExceededError`, which names the field.

    The defaults take every image known to be in use, with room to spare, and stop what is made to exhaust.
    """

    #: Entries of one layer.
    entries: int = 5_000_000
    #: Components of a path, ``.`` and empty ones not counted.
    depth: int = 1024
    #: Bytes of one component of a path; Linux filesystems take 255.
    name_bytes: int = 255
    #: Bytes of a path, or of a hard link's target. More than PATH_MAX, since a layer is unpacked component by component.
    path_bytes: int = 64 << 10
    #: Bytes of a symbolic link's target; Linux takes 4095.
    symlink_bytes: int = 4095
    #: Extended attributes of one entry, bytes of one of their names, bytes of one value (xattr(7)).
    xattrs: int = 1024
    xattr_name_bytes: int = 255
    xattr_bytes: int = 64 << 10
    #: Bytes of one extended header (PAX ``x`` and ``g``, GNU ``L`` and ``K``). Go's reader has the same.
    header_bytes: int = _MIB
    #: Data segments of one sparse file.
    sparse_segments: int = 65_536
    #: Bytes of one uncompressed layer; apart from that, of its files together, holes included.
    unpacked_bytes: int = 256 * _GIB
    #: Uncompressed bytes for each compressed one, asked of streams that unpack to more than ``ratio_free_bytes``.
    ratio: int = 500
    ratio_free_bytes: int = _GIB
    #: Bytes of the window that a zstd frame may ask for; what ``zstd --long=27`` makes.
    window_bytes: int = 128 * _MIB
    #: Layers of one image.
    layers: int = 500
    #: Bytes of one manifest, index or config, and how deep its JSON may nest.
    manifest_bytes: int = 4 * _MIB
    json_depth: int = 64

    def check(self, entry: Entry, label: str) -> None:
        """Raise :class:`lamina.errors.LimitExceededError` if the names or the extended attributes of ``entry`` are too much."""
        components = [part for part in entry.name.split(b"/") if part not in (b"", b".")]
        link_limit = "symlink_bytes" if entry.kind is EntryKind.SYMLINK else "path_bytes"
        for limit, found in (
            ("path_bytes", len(entry.name)),
            ("depth", len(components)),
            # A whiteout makes no file of its name: any name that a filesystem takes can be deleted.
            ("name_bytes", max((len(part.removeprefix(PREFIX)) for part in components), default=0)),
            (link_limit, len(entry.link)),
            ("xattrs", len(entry.xattrs)),
            ("xattr_name_bytes", max(map(len, entry.xattrs), default=0)),
            ("xattr_bytes", max(map(len, entry.xattrs.values()), default=0)),
        ):
            allowed: int = getattr(self, limit)
            if found > allowed:
                raise LimitExceededError(f"{label}, entry {printable(entry.name[:200])}", limit, allowed, found)


#: The limits wherever none are given.
DEFAULT_LIMITS = Limits()
