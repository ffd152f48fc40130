"""What a user may ask of the ``overlay`` driver."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Where a mount takes its parts from and in what form it records changes. With ``volatile``, the kernel would refuse to mount a
#: snapshot a second time.
_PARTS = frozenset({"lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir", "ro", "rw"})
_RECORDING = frozenset({"index", "metacopy", "redirect_dir", "userxattr", "volatile"})


@dataclass(frozen=True, slots=True)
class OverlayOptions:
    """Options of the overlay driver. Raises ``ValueError`` for mount options that are the driver's to decide."""

    mount_options: str = field(
        default="",
        metadata={"help": "further options of every overlay mount, separated by commas, such as nodev or uuid=null"},
    )

    def __post_init__(self) -> None:
        for option in self.extra:
            name = option.partition("=")[0]
            if name in _PARTS | _RECORDING:
                raise ValueError(f"the mount option {name!r} is the driver's to decide: leave it out")

    @property
    def extra(self) -> tuple[str, ...]:
        """The further mount options, one by one."""
        return tuple(option for option in self.mount_options.split(",") if option)
