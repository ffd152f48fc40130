"""What a user may ask of the ``aufs`` driver."""

from __future__ import annotations

from dataclasses import dataclass, field

#: What makes the union.
KERNEL, FUSE = "kernel", "fuse-overlayfs"
_CHOICES = ("auto", KERNEL, FUSE)

#: Where a mount takes its parts from, and what the driver relies on.
_DECIDED = frozenset(
    ("append", "br", "dirs", "lowerdir", "lowerdir+", "plugins", "remount", "ro", "rw", "upperdir", "workdir", "writeback")
)


@dataclass(frozen=True, slots=True)
class AufsOptions:
    """Options of the aufs driver. Raises ``ValueError`` for what does not exist, or is the driver's to decide."""

    union: str = field(
        default="auto",
        metadata={"help": "what shows layers as one: kernel, fuse-overlayfs, or auto (the kernel's aufs where there is one)"},
    )
    mount_options: str = field(
        default="",
        metadata={"help": "further options of every union mount, separated by commas, such as nodev or noacl"},
    )

    def __post_init__(self) -> None:
        if self.union not in _CHOICES:
            raise ValueError(f"union is one of {', '.join(_CHOICES)}, not {self.union!r}")
        for option in self.extra:
            name = option.partition("=")[0].partition(":")[0]
            if name in _DECIDED:
                raise ValueError(f"the mount option {name!r} is the driver's to decide: leave it out")

    @property
    def extra(self) -> tuple[str, ...]:
        """The further mount options, one by one."""
        return tuple(option for option in self.mount_options.split(",") if option)
