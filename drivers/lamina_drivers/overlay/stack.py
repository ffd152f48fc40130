"""The mount that shows a stack of directories as one, and how deep a stack the kernel takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lamina.model import Mount

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Most lower directories of one overlay mount: OVL_MAX_STACK in the kernel's fs/overlayfs/params.h.
MAX_LOWER = 500

#: The first Linux that takes lower directories one by one (``lowerdir+``, Documentation/filesystems/overlayfs.rst). Before it,
#: all options of a mount together had to fit into one page.
ONE_BY_ONE = (6, 8)

_PAGE = os.sysconf("SC_PAGE_SIZE") - 1

#: What keeps a snapshot's changes readable: nothing is renamed by reference, and no metadata are without their data. And
#: ``index=off``, since an index ties an upper directory to the inodes below it, and refuses it (ESTALE) after a store was copied.
#: All are known since Linux 4.19; some distributions have other values as defaults.
_PLAIN = ("index=off", "redirect_dir=nofollow", "metacopy=off")


def stack(lowers: Sequence[str], upper: str = "", work: str = "", *, extra: Sequence[str] = ()) -> Mount:
    """Return the mount of the directories ``lowers``, nearest first; read-only unless ``upper`` and ``work`` are given."""
    options = [f"lowerdir+={lower}" for lower in lowers]
    options += [f"upperdir={upper}", f"workdir={work}"] if upper else ["ro"]
    return Mount("overlay", "overlay", (*options, *_PLAIN, *extra))


def too_deep(mount: Mount, release: tuple[int, int]) -> str:
    """Return the limit that ``mount`` exceeds on the kernel ``release``, in words; empty when it fits."""
    lowers = sum(option.startswith("lowerdir+=") for option in mount.options)
    if lowers > MAX_LOWER:
        return f"{lowers} layers in one stack: the kernel's limit is {MAX_LOWER}"
    if release < ONE_BY_ONE:
        length = sum(len(os.fsencode(option)) + 1 for option in mount.options)
        if length > _PAGE:
            return (
                f"{lowers} layers in one stack at this place: they need {length} bytes of mount options and Linux"
                f" {release[0]}.{release[1]} takes {_PAGE}; use a shorter --root, or Linux {ONE_BY_ONE[0]}.{ONE_BY_ONE[1]}"
            )
    return ""
