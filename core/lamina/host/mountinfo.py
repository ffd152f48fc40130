"""The mount table of this process's namespace (/proc/self/mountinfo, proc(5))."""

from __future__ import annotations

import os
import re
from typing import Final

from lamina.host import MountEntry

_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")


def mount_table() -> list[MountEntry]:
    """Return the mounts of this process's namespace, in order: of several at one target the uppermost is last."""
    with open("/proc/self/mountinfo", "rb") as file:
        return [parse_entry(line) for line in file]


def parse_entry(line: bytes) -> MountEntry:
    """Return what a line of mountinfo says. Names that are not UTF-8 come out as :func:`os.fsdecode` makes them."""
    # A hyphen ends the optional fields, of which there may be none. Blanks in names are escaped.
    mounted, _, filesystem = line.rstrip(b"\n").partition(b" - ")
    id, _parent, device, root, target, options = mounted.split(b" ")[:6]
    type, source, super_options = filesystem.split(b" ")
    major, minor = device.split(b":")
    return MountEntry(
        id=int(id),
        target=_text(target),
        type=_text(type),
        source=_text(source),
        root=_text(root),
        options=tuple(_text(option) for option in (options + b"," + super_options).split(b",")),
        device=os.makedev(int(major), int(minor)),
    )


def _text(field: bytes) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes((int(match[1], 8),)), field))
