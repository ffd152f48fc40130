"""Trees to streams and back.

================  ===================================================================================================
``entries``       one member of a layer tar, as plain data
``limits``        how much a stream from outside may ask of this machine
``streams``       what a stream is here: a ``read`` or a ``write``
``tar_reader``    bytes to entries, strictly and in one pass
``tar_writer``    entries to bytes, the same everywhere
``header``        … for both: the header block
``pax``           … extended headers
``sparse``        … for the reader: sparse files
``compression``   gzip and zstd, in and out
``gunzip``        … every member of gzip
``unzstd``        … every frame of zstd
``threads``       … each in a thread of its own
``digests``       sizes and SHA-256 digests of what goes by
``whiteouts``     the names by which a layer says that something below is gone
``xattrs``        which extended attributes are content
``names``         names of entries as paths, and the order of paths
``nodes``         making one inode as an entry describes it, and the other way round
``apply``         a layer stream into a directory, on the next six:
``tree``          … a directory that is the complete tree
``union``         … the upper directory of a union, and ``marks`` in it
``upper``         … reading it again: what it says that changed
``directories``   … open directories that get their proper time back
``sweep``         … removing what this layer did not bring
``walk``          what a tree changed relative to its parent
``same``          … whether a node is equal in both
``links``         … what hard links make of that
``pack``          changes into a layer stream
================  ===================================================================================================
"""

from __future__ import annotations

from lamina.diff.apply import ApplyOptions, ApplyResult, apply
from lamina.diff.compression import decompressed
from lamina.diff.digests import DigestingReader, DigestingWriter
from lamina.diff.entries import Entry, EntryKind
from lamina.diff.limits import Limits
from lamina.diff.pack import PackResult, pack
from lamina.diff.streams import NullWriter, Readable, Writable
from lamina.diff.walk import changes_of, compare

__all__ = [
    "ApplyOptions",
    "ApplyResult",
    "DigestingReader",
    "DigestingWriter",
    "Entry",
    "EntryKind",
    "Limits",
    "NullWriter",
    "PackResult",
    "Readable",
    "Writable",
    "apply",
    "changes_of",
    "compare",
    "decompressed",
    "pack",
]
