"""Loading plugins, keeping broken ones apart, and calling the hooks: the one user of pluggy besides ``lamina.hooks``."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

import pluggy

from lamina import hooks
from lamina.errors import DriverConflictError, DriverNotFoundError, DriverUnavailableError, PluginError
from lamina.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import click

    from lamina.driver import Chain, Driver, ProbeReport
    from lamina.host import Host
    from lamina.model import Mount, Snapshot

_log = logging.getLogger("lamina.plugins")

#: The entry-point group that every plugin uses, ours included.
GROUP = "lamina"

_OPERATIONS = frozenset({"lamina_layer_prepare", "lamina_layer_mounts", "lamina_layer_commit", "lamina_layer_remove"})


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A plugin in quarantine: it could not be imported, or broke the rules of a hook."""

    name: str
    distribution: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Choice:
    """The driver that "auto" took, and the report on every candidate that was tried before it, its own last."""

    driver: str
    reports: tuple[ProbeReport, ...]


class _Register:
    """Collects the drivers of one plugin."""

    def __init__(self, distribution: str, known: Mapping[str, str]) -> None:
        self.drivers: dict[str, type[Driver]] = {}
        self._distribution = distribution
        self._known = known

    def add(self, driver: type[Driver]) -> None:
        if driver.name in self.drivers or driver.name in self._known:
            raise DriverConflictError(driver.name, self._known.get(driver.name, self._distribution), self._distribution)
        self.drivers[driver.name] = driver


class Plugins:
    """The plugins of this process. A broken one is kept in :attr:`broken`, and stops nobody else."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("lamina")
        self._manager.add_hookspecs(hooks)
        self._drivers: dict[str, type[Driver]] = {}
        self._distributions: dict[str, str] = {}
        self._broken: list[BrokenPlugin] = []

    @property
    def drivers(self) -> Mapping[str, type[Driver]]:
        """The drivers by name, in the order in which "auto" prefers them."""
        return dict(sorted(self._drivers.items(), key=lambda item: (item[1].preference, item[0])))

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """The plugins in quarantine, in the order in which they were found out."""
        return tuple(self._broken)

    def distribution(self, driver: str) -> str:
        """Return the name of the distribution that brought a driver."""
        return self._distributions[driver]

    def driver(self, name: str) -> type[Driver]:
        """Return a driver's class. Raises :class:`DriverNotFoundError`, with the plugin's error when it is one in quarantine."""
        try:
            return self._drivers[name]
        except KeyError:
            broken = next((plugin for plugin in self._broken if plugin.name == name), None)
            reason = f"{broken.distribution}: {broken.error}" if broken else ""
            raise DriverNotFoundError(name, list(self.drivers), broken=reason) from (broken.error if broken else None)

    def register(self, plugin: object, name: str, distribution: str) -> None:
        """Take a plugin in, or into quarantine when it breaks a rule."""
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
            self._refuse_answers(plugin, name)
            register = _Register(distribution, self._distributions)
            others = [other for other in self._manager.get_plugins() if other is not plugin]
            self._manager.subset_hook_caller("lamina_register_drivers", others)(register=register)
        except Exception as error:  # noqa: BLE001  whatever a stranger's module does must not stop the rest
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            self._quarantine(name, distribution, error)
        else:
            self._drivers |= register.drivers
            self._distributions |= dict.fromkeys(register.drivers, distribution)

    def load_entry_points(self) -> None:
        """Import and take in every plugin that an installed distribution names."""
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            distribution = entry.dist.name if entry.dist else "unknown"
            try:
                plugin = entry.load()
            except Exception as error:  # noqa: BLE001  see register()
                self._quarantine(entry.name, distribution, error)
            else:
                self.register(plugin, entry.name, distribution)

    def choose(self, host: Host, root: Path, options: Mapping[str, object]) -> Choice:
        """Choose a driver for a new store at ``root``, an existing directory; ``options`` are each candidate's, by name.

        Raises :class:`DriverUnavailableError` when none can run.
        """
        proof = _Proof(host, self.drivers, options)
        self._manager.register(proof, "lamina.proof")
        try:
            name: str | None = self._manager.hook.lamina_choose_driver(root=root, candidates=tuple(self.drivers))
        finally:
            self._manager.unregister(proof)
        if name is None:
            failures = "; ".join(f"{report.driver}: {report.failures[0].evidence}" for report in proof.reports)
            raise DriverUnavailableError("auto", failures or "no driver is installed", "see `lamina driver probe`")
        if name not in self._drivers:
            raise PluginError("lamina_choose_driver", f"chose the driver {name!r}, which does not exist")
        return Choice(name, tuple(proof.reports))

    def bind(self, driver: Driver, root: Path) -> Operations:
        """Return the layer operations of ``driver`` at ``root``, surrounded by the plugins' wrappers."""
        return Operations(self._manager, driver, root)

    def register_commands(self, cli: click.Group) -> None:
        """Let plugins add their commands. One that fails adds none, which is logged, and stops nobody else."""
        plugins = self._manager.list_name_plugin()
        for name, plugin in plugins:
            others = [other for _, other in plugins if other is not plugin]
            try:
                self._manager.subset_hook_caller("lamina_register_commands", others)(cli=cli)
            except Exception as error:  # noqa: BLE001  see register()
                _log.warning("plugin %s adds no commands: %s", name, error)

    def _refuse_answers(self, plugin: object, name: str) -> None:
        """Raise for a plugin that would answer a layer operation in the driver's place instead of surrounding it."""
        for caller in self._manager.get_hookcallers(plugin) or ():
            if caller.name in _OPERATIONS:
                for implementation in caller.get_hookimpls():
                    if implementation.plugin is plugin and not (implementation.wrapper or implementation.hookwrapper):
                        raise PluginError(name, f"{caller.name} is the driver's to answer: declare it with wrapper=True")

    def _quarantine(self, name: str, distribution: str, error: Exception) -> None:
        _log.debug("plugin %s of %s is broken", name, distribution, exc_info=error)
        self._broken.append(BrokenPlugin(name, distribution, error))


def load() -> Plugins:
    """Return the plugins of the installed distributions."""
    plugins = Plugins()
    plugins.load_entry_points()
    return plugins


class _Proof:
    """The last to be asked which driver to take: the first that its probe proves to work."""

    def __init__(self, host: Host, drivers: Mapping[str, type[Driver]], options: Mapping[str, object]) -> None:
        self._host = host
        self._drivers = drivers
        self._options = options
        self.reports: list[ProbeReport] = []

    @hookimpl(trylast=True)
    def lamina_choose_driver(self, root: Path, candidates: Sequence[str]) -> str | None:
        for name in candidates:
            report = self._drivers[name].probe(self._host, root, self._options[name])
            self.reports.append(report)
            if report.ok:
                return name
        return None


class _BoundDriver:
    """Answers the operation hooks of one store by calling its driver; the only plain implementation of them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @hookimpl
    def lamina_layer_prepare(self, snapshot: Snapshot, chain: Chain) -> Snapshot:
        self._driver.prepare(snapshot.id, chain)
        return snapshot

    @hookimpl
    def lamina_layer_mounts(self, snapshot: Snapshot, chain: Chain, writable: bool) -> tuple[Mount, ...]:  # noqa: FBT001  pluggy passes by name
        return self._driver.mounts(snapshot.id, chain, writable=writable)

    @hookimpl
    def lamina_layer_commit(self, snapshot: Snapshot, chain: Chain, durable: bool) -> Snapshot:  # noqa: FBT001  pluggy passes by name
        self._driver.commit(snapshot.id, chain, durable=durable)
        return snapshot

    @hookimpl
    def lamina_layer_remove(self, snapshot: Snapshot) -> Snapshot:
        self._driver.remove(snapshot.id)
        return snapshot


class Operations:
    """The layer operations of one store: its driver's, with every plugin's wrapper around them. Errors pass through unchanged.

    Each method calls the hook of its name; :mod:`lamina.hooks` says what it means.
    """

    def __init__(self, shared: pluggy.PluginManager, driver: Driver, root: Path) -> None:
        self._root = root
        # A manager for each store: two stores in one process must not answer each other's calls.
        manager = pluggy.PluginManager("lamina")
        manager.add_hookspecs(hooks)
        for name, plugin in shared.list_name_plugin():
            manager.register(plugin, name)
        manager.register(_BoundDriver(driver), "lamina.driver")
        self._hook = manager.hook
        self._notices = {
            name: tuple(getattr(manager.hook, name).get_hookimpls())
            for name in ("lamina_layer_prepared", "lamina_layer_committed", "lamina_layer_removed")
        }

    def prepare(self, snapshot: Snapshot, chain: Chain) -> None:
        """Make a writable tree."""
        self._hook.lamina_layer_prepare(root=self._root, snapshot=snapshot, chain=chain)

    def mounts(self, snapshot: Snapshot, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        """Return the mounts that show it."""
        mounts = self._hook.lamina_layer_mounts(root=self._root, snapshot=snapshot, chain=chain, writable=writable)
        return cast("tuple[Mount, ...]", mounts)

    def commit(self, snapshot: Snapshot, chain: Chain, *, durable: bool) -> None:
        """Make it immutable."""
        self._hook.lamina_layer_commit(root=self._root, snapshot=snapshot, chain=chain, durable=durable)

    def remove(self, snapshot: Snapshot) -> None:
        """Remove its data."""
        self._hook.lamina_layer_remove(root=self._root, snapshot=snapshot)

    def prepared(self, snapshot: Snapshot) -> None:
        """Tell that it exists."""
        self._notify("lamina_layer_prepared", snapshot)

    def committed(self, snapshot: Snapshot) -> None:
        """Tell that it is a layer."""
        self._notify("lamina_layer_committed", snapshot)

    def removed(self, snapshot: Snapshot) -> None:
        """Tell that it is gone."""
        self._notify("lamina_layer_removed", snapshot)

    def _notify(self, notice: str, snapshot: Snapshot) -> None:
        arguments = {"root": self._root, "snapshot": snapshot}
        for implementation in cast("Iterable[pluggy.HookImpl]", self._notices[notice]):
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception:  # noqa: BLE001  a notice comes after the fact and cannot undo it
                _log.exception("plugin %s failed in %s", implementation.plugin_name, notice)
