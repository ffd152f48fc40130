"""Sorting a mount's options by who takes them: the mount itself, or the filesystem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lamina.host import syscalls

if TYPE_CHECKING:
    from lamina.model import Mount

#: Options of one mount, which leave the filesystem alone: as MOUNT_ATTR_* and as MS_*.
_ATTRIBUTES: Final = {
    "ro": (syscalls.MOUNT_ATTR_RDONLY, syscalls.MS_RDONLY),
    "nosuid": (syscalls.MOUNT_ATTR_NOSUID, syscalls.MS_NOSUID),
    "nodev": (syscalls.MOUNT_ATTR_NODEV, syscalls.MS_NODEV),
    "noexec": (syscalls.MOUNT_ATTR_NOEXEC, syscalls.MS_NOEXEC),
    "nosymfollow": (syscalls.MOUNT_ATTR_NOSYMFOLLOW, syscalls.MS_NOSYMFOLLOW),
    "noatime": (syscalls.MOUNT_ATTR_NOATIME, syscalls.MS_NOATIME),
    "strictatime": (syscalls.MOUNT_ATTR_STRICTATIME, syscalls.MS_STRICTATIME),
    "relatime": (syscalls.MOUNT_ATTR_RELATIME, syscalls.MS_RELATIME),
    "nodiratime": (syscalls.MOUNT_ATTR_NODIRATIME, syscalls.MS_NODIRATIME),
}
_ATIMES: Final = frozenset({"noatime", "strictatime", "relatime"})
#: What holds without being said.
_DEFAULTS: Final = frozenset({"rw", "suid", "dev", "exec", "symfollow", "atime", "diratime", "defaults"})
_BINDS: Final = frozenset({"bind", "rbind"})
_REMOUNT: Final = "remount"


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The options of one mount, understood."""

    bind: bool
    #: Whether a bind mount shows what is mounted below its source, too.
    recursive: bool
    #: Whether it changes the options of what is mounted there, and mounts nothing.
    remount: bool
    #: Options of the mount: as MOUNT_ATTR_* with the mask of what they replace, and as MS_*.
    attributes: int
    replaced: int
    flags: int
    #: Options of the filesystem in their order; the value of a mere flag is None.
    settings: tuple[tuple[str, str | None], ...]


def parse_options(mount: Mount) -> MountOptions:
    """Sort the options of ``mount``; what is unknown goes to the filesystem."""
    attributes = replaced = flags = 0
    settings = []
    for option in mount.options:
        if option in _ATTRIBUTES:
            attribute, flag = _ATTRIBUTES[option]
            attributes |= attribute
            flags |= flag
            if option in _ATIMES:
                replaced = syscalls.MOUNT_ATTR_ATIME
        elif option not in _DEFAULTS and option not in _BINDS and option != _REMOUNT:
            key, equals, value = option.partition("=")
            settings.append((key, value if equals else None))
    return MountOptions(
        bind=mount.type in _BINDS,
        recursive="rbind" in (mount.type, *mount.options),
        remount=_REMOUNT in mount.options,
        attributes=attributes,
        replaced=replaced,
        flags=flags,
        settings=tuple(settings),
    )
