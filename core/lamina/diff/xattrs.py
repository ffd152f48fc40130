"""Which extended attributes belong to a layer's content, and which to the machine or to the driver that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: ``trusted.`` is the kernel's own namespace for root (overlayfs keeps its marks there); ``user.overlay.`` and
#: ``user.fuseoverlayfs.`` are the same for union filesystems without privileges.
_PRIVATE_PREFIXES = (b"trusted.", b"user.overlay.", b"user.fuseoverlayfs.")
#: What the policy of one machine, or its file server, says about a file: wrong anywhere else.
_LOCAL_NAMES = frozenset((b"security.selinux", b"security.ima", b"security.evm", b"system.nfs4_acl"))


def is_carried(name: bytes) -> bool:
    """Whether layers carry the extended attribute ``name`` (``b"user.note"``); apply, compare and pack follow this rule."""
    return name not in _LOCAL_NAMES and not name.startswith(_PRIVATE_PREFIXES)


def carried(xattrs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return those of ``xattrs`` that layers carry, in the same order."""
    return {name: value for name, value in xattrs.items() if is_carried(name)}
