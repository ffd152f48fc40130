"""Every error that lamina raises on purpose, in one tree; each class owns the exit code of the command line.

::

    LaminaError
    ├── SnapshotError            a key of the layer graph is the obstacle          .key
    │   ├── SnapshotNotFoundError
    │   ├── SnapshotExistsError
    │   ├── SnapshotInUseError                                                      .users
    │   └── SnapshotStateError                                                      .kind
    ├── DriverError              a storage driver is the obstacle                  .driver
    │   ├── DriverNotFoundError
    │   ├── DriverConflictError
    │   ├── DriverUnavailableError                                                  .reason .remedy
    │   └── UnsupportedError
    ├── StoreError               the store's directory or its records              .root
    │   ├── StoreNotFoundError
    │   ├── StoreBusyError
    │   ├── StoreCorruptError
    │   ├── StoreVersionError
    │   ├── StoreDriverError
    │   └── StoreExistsError
    ├── ArchiveError             bytes that came from outside                      .entry
    │   ├── MalformedArchiveError
    │   ├── UnsafeEntryError
    │   ├── LimitExceededError
    │   ├── UnrepresentableError
    │   └── DigestMismatchError
    ├── ImageError               images and their names                            .name
    │   ├── ImageNotFoundError
    │   ├── ImageInUseError
    │   ├── InvalidReferenceError
    │   ├── ManifestError
    │   └── ImageExistsError
    ├── ContainerError                                                              .name
    │   ├── ContainerNotFoundError
    │   ├── ContainerExistsError
    │   └── ContainerStateError
    ├── ConfigError              options, variables, files                         .option
    ├── PluginError              a plugin that broke the rules of its hook         .plugin
    └── HostError                the kernel or a tool said no                      .path
        ├── CommandFailedError                                                      .argv .status .stderr
        ├── MountFailedError
        ├── MountBusyError
        └── ToolMissingError

``str(error)`` is one lower-case line that names the thing and the cure. Programming mistakes stay ``TypeError`` and
``ValueError``; a failed system call without a better name stays ``OSError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class LaminaError(Exception):
    """The base of all errors raised on purpose."""

    #: The exit code of the command line; unique to each concrete class.
    exit_code: ClassVar[int] = 1


# --- the layer graph ---------------------------------------------------------------------------------------------------


class SnapshotError(LaminaError):
    """A snapshot of the graph stands in the way."""

    exit_code = 10

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        #: The key of the snapshot.
        self.key = key


class SnapshotNotFoundError(SnapshotError):
    """No visible snapshot has this key."""

    exit_code = 11

    def __init__(self, key: str, *, role: str = "snapshot") -> None:
        super().__init__(key, f"{role} {key!r} does not exist: `lamina layer list` shows what does")


class SnapshotExistsError(SnapshotError):
    """The key is taken, by a snapshot of any kind."""

    exit_code = 12

    def __init__(self, key: str) -> None:
        super().__init__(key, f"snapshot {key!r} exists already: choose another key or remove it first")


class SnapshotInUseError(SnapshotError):
    """The snapshot cannot go while others need it."""

    exit_code = 13

    def __init__(self, key: str, users: Sequence[str], *, verb: str = "remove") -> None:
        shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        super().__init__(key, f"cannot {verb} {key!r}: in use by {shown}; remove or unmount those first")
        #: What needs it, as a person would name it: ``layer …``, ``image …``, ``container …``, ``mount …``.
        self.users = tuple(users)


class SnapshotStateError(SnapshotError):
    """The snapshot exists, but its kind or state does not allow the operation."""

    exit_code = 14

    def __init__(self, key: str, kind: str, wanted: str) -> None:
        super().__init__(key, f"snapshot {key!r} is {kind}: {wanted}")
        #: What the snapshot is: ``committed``, ``active`` or ``view``.
        self.kind = kind


# --- drivers -----------------------------------------------------------------------------------------------------------


class DriverError(LaminaError):
    """A storage driver stands in the way."""

    exit_code = 20

    def __init__(self, driver: str, message: str) -> None:
        super().__init__(message)
        #: The driver's name.
        self.driver = driver


class DriverNotFoundError(DriverError):
    """No plugin registers a driver of this name."""

    exit_code = 21

    def __init__(self, driver: str, known: Sequence[str], *, broken: str = "") -> None:
        why = f"its plugin is broken ({broken})" if broken else f"known are {', '.join(known) or 'none'}"
        super().__init__(driver, f"driver {driver!r} cannot be found: {why}; see `lamina driver list`")


class DriverConflictError(DriverError):
    """Two distributions register a driver of the same name."""

    exit_code = 22

    def __init__(self, driver: str, first: str, second: str) -> None:
        super().__init__(driver, f"driver {driver!r} is registered by both {first} and {second}: uninstall one of them")


class DriverUnavailableError(DriverError):
    """The driver was asked for, and this machine cannot run it."""

    exit_code = 23

    def __init__(self, driver: str, reason: str, remedy: str = "") -> None:
        cure = remedy or f"see `lamina driver probe {driver}`"
        super().__init__(driver, f"driver {driver!r} cannot run here: {reason}; {cure}")
        self.reason = reason
        self.remedy = remedy


class UnsupportedError(DriverError):
    """The driver runs, and lacks the ability that was asked for, or a limit of it was reached."""

    exit_code = 24

    def __init__(self, driver: str, what: str) -> None:
        super().__init__(driver, f"driver {driver!r} does not support {what}")


# --- the store ---------------------------------------------------------------------------------------------------------


class StoreError(LaminaError):
    """The store as a whole stands in the way."""

    exit_code = 30

    def __init__(self, root: Path, message: str) -> None:
        super().__init__(message)
        #: The store's directory.
        self.root = root


class StoreNotFoundError(StoreError):
    """The directory holds no store, and none was to be made."""

    exit_code = 31

    def __init__(self, root: Path) -> None:
        super().__init__(root, f"no store at {root}: give --root, or make one by loading an image")


class StoreBusyError(StoreError):
    """Somebody else holds what is needed, longer than the deadline."""

    exit_code = 32

    def __init__(self, root: Path, what: str, owner: str) -> None:
        super().__init__(root, f"{what} is busy: held by {owner}; try again when that has ended")


class StoreCorruptError(StoreError):
    """The records cannot be read or contradict themselves."""

    exit_code = 33

    def __init__(self, root: Path, detail: str) -> None:
        super().__init__(root, f"the records of {root} are damaged: {detail}; run `lamina store check`")


class StoreVersionError(StoreError):
    """The store was made by a newer lamina."""

    exit_code = 34

    def __init__(self, root: Path, found: int, known: int) -> None:
        super().__init__(root, f"{root} has format {found}, this lamina reads up to {known}: upgrade lamina")


class StoreDriverError(StoreError):
    """The store was made with another driver."""

    exit_code = 35

    def __init__(self, root: Path, made_with: str, asked_for: str) -> None:
        cure = f"use --driver {made_with}, or another --root for {asked_for}"
        super().__init__(root, f"{root} was made with driver {made_with!r}, not {asked_for!r}: {cure}")
        self.made_with = made_with
        self.asked_for = asked_for


class StoreExistsError(StoreError):
    """A store was to be made where there is one."""

    exit_code = 36

    def __init__(self, root: Path) -> None:
        super().__init__(root, f"{root} is a store already: choose another --root, or remove it with `lamina store destroy`")


# --- archives ----------------------------------------------------------------------------------------------------------


class ArchiveError(LaminaError):
    """A stream of layer or image bytes cannot be believed, read or written."""

    exit_code = 40

    def __init__(self, entry: str, message: str) -> None:
        super().__init__(message)
        #: The entry, file or stream at fault, printable.
        self.entry = entry


class MalformedArchiveError(ArchiveError):
    """The bytes break the rules of their format, or end too early."""

    exit_code = 41

    def __init__(self, entry: str, detail: str) -> None:
        super().__init__(entry, f"{entry}: malformed archive: {detail}; get a fresh copy")
        self.detail = detail


class UnsafeEntryError(ArchiveError):
    """An entry would act outside its layer, or means different things to different readers."""

    exit_code = 42

    def __init__(self, entry: str, detail: str) -> None:
        super().__init__(entry, f"{entry}: refused: {detail}; do not trust the source of this archive")
        self.detail = detail


class LimitExceededError(ArchiveError):
    """A limit of :class:`lamina.diff.Limits` was exceeded."""

    exit_code = 43

    def __init__(self, entry: str, limit: str, allowed: int, found: int | None = None) -> None:
        seen = "" if found is None else f" ({found} found)"
        super().__init__(entry, f"{entry}: more than {allowed} {limit}{seen}: raise the limit {limit!r} if you trust it")
        self.limit = limit
        self.allowed = allowed


class UnrepresentableError(ArchiveError):
    """A file of a tree has no faithful form in an OCI layer (a name that starts with ``.wh.``)."""

    exit_code = 44

    def __init__(self, entry: str, detail: str) -> None:
        super().__init__(entry, f"{entry}: cannot be stored in a layer: {detail}; rename or remove it")


class DigestMismatchError(ArchiveError):
    """The bytes are not those that the digest or the size names."""

    exit_code = 45

    def __init__(self, entry: str, expected: str, found: str) -> None:
        super().__init__(entry, f"{entry}: expected {expected}, found {found}: get a fresh copy")
        self.expected = expected
        self.found = found


# --- images and containers ---------------------------------------------------------------------------------------------


class ImageError(LaminaError):
    """An image or its name stands in the way."""

    exit_code = 50

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class ImageNotFoundError(ImageError):
    """No image has this name or digest."""

    exit_code = 51

    def __init__(self, name: str, *, where: str = "", known: Sequence[str] = ()) -> None:
        if where:
            super().__init__(name, f"no image {name!r} in {where}: it has {', '.join(known) or 'none with a name'}")
        else:
            super().__init__(name, f"no image {name!r}: `lamina image list` shows what there is")


class ImageInUseError(ImageError):
    """Containers still need the image."""

    exit_code = 52

    def __init__(self, name: str, users: Sequence[str]) -> None:
        super().__init__(name, f"image {name!r} is in use by {', '.join(users)}: remove those first")
        self.users = tuple(users)


class InvalidReferenceError(ImageError):
    """The text is no image name."""

    exit_code = 53

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, f"{name!r} is no image name: {detail}")


class ManifestError(ImageError):
    """A manifest, index, config or layout breaks its specification."""

    exit_code = 54

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, f"{name}: {detail}")


class ImageExistsError(ImageError):
    """The name means another image already."""

    exit_code = 55

    def __init__(self, name: str) -> None:
        super().__init__(name, f"image {name!r} exists already: choose another name, or remove it first")


class ContainerError(LaminaError):
    """A container stands in the way."""

    exit_code = 60

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class ContainerNotFoundError(ContainerError):
    """No container has this name or id."""

    exit_code = 61

    def __init__(self, name: str) -> None:
        super().__init__(name, f"no container {name!r}: `lamina container list` shows what there is")


class ContainerExistsError(ContainerError):
    """The container's name is taken."""

    exit_code = 62

    def __init__(self, name: str) -> None:
        super().__init__(name, f"container {name!r} exists already: choose another --name or remove it first")


class ContainerStateError(ContainerError):
    """The container is mounted, or is not, where the operation needs the opposite."""

    exit_code = 63


# --- the rest ----------------------------------------------------------------------------------------------------------


class ConfigError(LaminaError):
    """A flag, a variable or a line of a configuration file cannot be used."""

    exit_code = 70

    def __init__(self, option: str, detail: str) -> None:
        super().__init__(f"{option}: {detail}")
        self.option = option


class PluginError(LaminaError):
    """A plugin broke the rules of its hook."""

    exit_code = 71

    def __init__(self, plugin: str, detail: str) -> None:
        super().__init__(f"plugin {plugin!r}: {detail}; see `lamina driver list`")
        self.plugin = plugin


class HostError(LaminaError):
    """The kernel or a tool refused."""

    exit_code = 80

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        #: The path or tool at which it happened.
        self.path = path


class CommandFailedError(HostError):
    """A tool ended with a status other than zero, or was stopped at its deadline."""

    exit_code = 81

    def __init__(self, argv: Sequence[str], status: int, stderr: str) -> None:
        last = stderr.strip().splitlines()[-1] if stderr.strip() else f"status {status}"
        super().__init__(argv[0], f"{' '.join(argv)} failed: {last}")
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr


class MountFailedError(HostError):
    """The kernel refused a mount or an unmount."""

    exit_code = 82

    def __init__(self, path: str, what: str, reason: str) -> None:
        super().__init__(path, f"cannot {what} {path}: {reason}")
        self.reason = reason


class MountBusyError(HostError):
    """A mount is in use by a process, or something is mounted where nothing may be."""

    exit_code = 83

    def __init__(self, path: str, holders: Sequence[str] = ()) -> None:
        who = f" by {', '.join(holders)}" if holders else ""
        super().__init__(path, f"{path} is busy: in use{who}; leave or stop that first")
        self.holders = tuple(holders)


class ToolMissingError(HostError):
    """A program that is needed is not installed."""

    exit_code = 84

    def __init__(self, tool: str, package: str = "") -> None:
        cure = f"install the package {package}" if package else "install it"
        super().__init__(tool, f"the program {tool!r} is missing: {cure}")
        self.package = package
