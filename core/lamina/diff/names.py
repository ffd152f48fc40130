"""Names of archive entries as paths of a tree, and the order in which paths come."""

from __future__ import annotations

from lamina.diff.entries import printable
from lamina.diff.whiteouts import PREFIX
from lamina.errors import UnsafeEntryError

#: The directory of AUFS's own that hard links of old layers point into, at the root of the layer.
PLINKS = b".wh..wh.plnk"


def normalized(name: bytes) -> bytes:
    """Return the one spelling of a path: relative, components joined by single slashes; empty for the root.

    ``/x``, ``./x``, ``x/`` and ``a//./x`` are spellings of paths inside the root. A ``..`` anywhere raises
    :class:`lamina.errors.UnsafeEntryError`, also where it would stay inside: no honest archiver writes one.
    """
    path = name[2:] if name.startswith(b"./") else name
    path = path.strip(b"/")
    if path.startswith(b".") or b"/." in path or b"//" in path:
        components = [component for component in path.split(b"/") if component not in (b"", b".")]
        if b".." in components:
            raise UnsafeEntryError(printable(name), "a path that goes up with '..'")
        path = b"/".join(components)
    return path


def is_reserved(path: bytes) -> bool:
    """Whether a normalised path leads through a directory whose name starts with ``.wh.``.

    Some readers take such an entry for a whiteout and others for a file, and no layer could delete the directory again.
    """
    above = path.rpartition(b"/")[0]
    return above.startswith(PREFIX) or b"/" + PREFIX in above


def order(path: bytes) -> bytes:
    """Key that sorts paths by components: a directory, then all that is below it, then the sibling whose name comes next."""
    return b"" if path == b"." else path.replace(b"/", b"\0")
