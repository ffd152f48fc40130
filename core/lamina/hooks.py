"""The hooks through which drivers arrive and plugins take part.

A plugin is a module named by an entry point of the group ``lamina``. A whole one that brings a driver::

    from lamina.hooks import hookimpl

    @hookimpl
    def lamina_register_drivers(register):
        from acme_lamina.driver import AcmeDriver
        register.add(AcmeDriver)

The layer operations (``lamina_layer_…`` in the imperative) are answered by the store's driver. A plugin surrounds one with
``@hookimpl(wrapper=True)``: to time it, to allow or refuse it (raise a :class:`lamina.errors.PluginError`), to work before
and after. The notices (``lamina_layer_…ed``) come after the fact: they cannot refuse, and an error in one is logged and goes
no further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import click

    from lamina.driver import Chain, Driver
    from lamina.model import Mount, Snapshot

#: Marks the functions of a plugin that implement a hook.
hookimpl = pluggy.HookimplMarker("lamina")

_hookspec = pluggy.HookspecMarker("lamina")


class DriverRegister(Protocol):
    """What :func:`lamina_register_drivers` hands to plugins."""

    def add(self, driver: type[Driver]) -> None:
        """Register a driver. Raises :class:`lamina.errors.DriverConflictError` when its name is taken, naming both
        distributions."""


@_hookspec
def lamina_register_drivers(register: DriverRegister) -> None:
    """Called once for each plugin when plugins are loaded; call ``register.add(MyDriver)``. Importing must be cheap here:
    whether the driver can run is asked later, through :meth:`lamina.driver.Driver.probe`. An exception quarantines the
    plugin. Since 0.1."""


@_hookspec(firstresult=True)
def lamina_choose_driver(root: Path, candidates: Sequence[str]) -> str | None:
    """Called when a new store is made with ``driver = "auto"``: return the name of one of ``candidates`` (in order of
    preference), or None to leave the choice to the next. The last to be asked is lamina itself, which takes the first that
    its probe proves to work at ``root``. Since 0.1."""


@_hookspec(firstresult=True)
def lamina_layer_prepare(root: Path, snapshot: Snapshot, chain: Chain) -> Snapshot:  # type: ignore[empty-body]  # a specification
    """The driver makes a writable tree for ``snapshot`` on top of ``chain`` (numbers, nearest first), in the store at
    ``root``. Returns ``snapshot``. The snapshot is not visible yet; raising leaves nothing of it. Since 0.1."""


@_hookspec(firstresult=True)
def lamina_layer_mounts(root: Path, snapshot: Snapshot, chain: Chain, writable: bool) -> tuple[Mount, ...]:  # type: ignore[empty-body]  # noqa: FBT001  pluggy passes by name
    """The driver describes the mounts that show ``snapshot``. Returns them; what a wrapper returns instead is what gets
    mounted. Since 0.1."""


@_hookspec(firstresult=True)
def lamina_layer_commit(root: Path, snapshot: Snapshot, chain: Chain, durable: bool) -> Snapshot:  # type: ignore[empty-body]  # noqa: FBT001  pluggy passes by name
    """The driver makes ``snapshot`` immutable and, when ``durable``, brings its data to stable storage. Returns ``snapshot``.
    Raising leaves it active. Since 0.1."""


@_hookspec(firstresult=True)
def lamina_layer_remove(root: Path, snapshot: Snapshot) -> Snapshot:  # type: ignore[empty-body]  # a specification
    """The driver removes all of ``snapshot``, which nothing needs any more and no name leads to. Returns ``snapshot``. After
    an exception the removal is tried again when the store is opened next. Since 0.1."""


@_hookspec
def lamina_layer_prepared(root: Path, snapshot: Snapshot) -> None:
    """``snapshot`` exists from now on. Since 0.1."""


@_hookspec
def lamina_layer_committed(root: Path, snapshot: Snapshot) -> None:
    """``snapshot`` is a layer from now on. Since 0.1."""


@_hookspec
def lamina_layer_removed(root: Path, snapshot: Snapshot) -> None:
    """``snapshot`` is gone. Since 0.1."""


@_hookspec
def lamina_register_commands(cli: click.Group) -> None:
    """Called when the command line looks for a command that is not lamina's own, and for ``--help``: call
    ``cli.add_command(…)``. Since 0.1."""
