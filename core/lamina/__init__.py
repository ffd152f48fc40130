r"""lamina keeps container images as layers and makes a stack of layers look like one directory.

::

    import lamina

    with lamina.open("/var/lib/lamina") as store:
        store.images.load("oci-archive:debian.tar", name="debian")
        with store.fork("debian") as work:
            (work.path / "etc/motd").write_text("hello\\n")
            print(*work.changes(), sep="\\n")
            work.commit("debian-hello")

The package, ground floor first; each room stands only on those before it:

- ``errors``, ``model``, ``config``, ``filters``: values and texts, no kernel
- ``host``: the only room that touches the kernel or starts a program
- ``driver``: the contract of the drivers; ``metadata``: records that survive; ``diff``: trees to layer streams and back
- ``hooks``, ``plugins``: how drivers arrive and plugins take part
- ``graph``: snapshots and their states; ``mounting``: where they are mounted
- ``layers``: content in and out of the graph; ``recovery``: after a crash; ``usage``: where the space goes
- ``image``: OCI images and containers
- ``store``: the door; ``testing``, ``conformance``, ``cli``: who knocks
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lamina.errors import LaminaError

if TYPE_CHECKING:
    from lamina.diff import Limits
    from lamina.driver import Driver
    from lamina.hooks import hookimpl
    from lamina.host import Host
    from lamina.model import Capability, Change, ChangeKind, Durability, Kind, Mount, Snapshot, Usage
    from lamina.store import Store, open
    from lamina.work import Work

__all__ = [
    "Capability",
    "Change",
    "ChangeKind",
    "Driver",
    "Durability",
    "Host",
    "Kind",
    "LaminaError",
    "Limits",
    "Mount",
    "Snapshot",
    "Store",
    "Usage",
    "Work",
    "hookimpl",
    "open",
]

_ROOMS = {
    "Capability": "model",
    "Change": "model",
    "ChangeKind": "model",
    "Driver": "driver",
    "Durability": "model",
    "Host": "host",
    "Kind": "model",
    "Limits": "diff",
    "Mount": "model",
    "Snapshot": "model",
    "Store": "store",
    "Usage": "model",
    "Work": "work",
    "hookimpl": "hooks",
    "open": "store",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line starts without the rooms that a command does not need."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"lamina.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value
