"""The names by which an OCI layer says that something below is gone (OCI image-spec, layer.md, "Whiteouts")."""

from __future__ import annotations

from enum import Enum

from lamina.diff.entries import printable
from lamina.errors import UnsafeEntryError

#: What the last component of a whiteout's name starts with.
PREFIX = b".wh."
#: The last component of the name that hides everything below its directory that lower layers brought.
OPAQUE = b".wh..wh..opq"
#: What AUFS keeps its own records under (``.wh..wh.aufs``, ``.wh..wh.orph``, ``.wh..wh.plnk``); old layers still hold some.
META_PREFIX = b".wh..wh."


class Whiteout(Enum):
    """What a component of a name that starts with ``.wh.`` stands for."""

    #: One name of the same directory is hidden.
    PLAIN = "plain"
    #: All names of the same directory are hidden.
    OPAQUE = "opaque"
    #: A record of AUFS, nothing of the layer. Hard links of old layers may point below ``.wh..wh.plnk``.
    META = "meta"


def classify(component: bytes) -> tuple[Whiteout, bytes] | None:
    """Tell what one component of a path means, and which name it hides (empty unless ``PLAIN``); None for an ordinary one.

    Only the last component of an entry's name can be a whiteout; a directory called ``.wh.x`` on the way is an ordinary one.
    Raises :class:`lamina.errors.UnsafeEntryError` for ``.wh.``, ``.wh..`` and ``.wh...``, which would hide the directory itself
    or its parent.
    """
    if not component.startswith(PREFIX):
        return None
    if component == OPAQUE:
        return Whiteout.OPAQUE, b""
    if component.startswith(META_PREFIX):
        return Whiteout.META, b""
    hidden = component[len(PREFIX) :]
    if hidden in (b"", b".", b".."):
        raise UnsafeEntryError(printable(component), "a whiteout that names no file")
    return Whiteout.PLAIN, hidden
