"""Trees to streams and back.

================  ===================================================================================================
``entries``       one member of a layer tar, as plain data
``limits``        how much a stream from outside may ask of this machine
``streams``       what a stream is here: a ``read`` or a ``write``
``tar_reader``    bytes to entries, strictly and in one pass
``tar_writer``    entries to bytes, the same everywhere
``compression``   gzip and zstd, in threads of their own
``digests``       sizes and SHA-256 digests of what goes by
``whiteouts``     the names by which a layer says that something below is gone
================  ===================================================================================================
"""

from __future__ import annotations

from lamina.diff.entries import Entry, EntryKind
from lamina.diff.limits import Limits

__all__ = ["Entry", "EntryKind", "Limits"]
