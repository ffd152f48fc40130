"""The mount that shows a stack of directories as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.model import Mount

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Most lower directories of one overlay mount: OVL_MAX_STACK in the kernel's fs/overlayfs/params.h.
MAX_LOWER = 500

#: What keeps a snapshot's changes readable: nothing is renamed by reference, and no metadata are without their data. And
#: ``index=off``, since an index ties an upper directory to the inodes below it, and refuses it (ESTALE) after a store was copied.
#: All are known since Linux 4.19; some distributions have other values as defaults.
_PLAIN = ("index=off", "redirect_dir=nofollow", "metacopy=off")


def stack(lowers: Sequence[str], upper: str = "", work: str = "", *, extra: Sequence[str] = ()) -> Mount:
    """Return the mount of the directories ``lowers``, nearest first; read-only unless ``upper`` and ``work`` are given."""
    options = [f"lowerdir+={lower}" for lower in lowers]
    options += [f"upperdir={upper}", f"workdir={work}"] if upper else ["ro"]
    return Mount("overlay", "overlay", (*options, *_PLAIN, *extra))
