"""One run of the command line: what it was told, what that means, and the store it opens."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import click

from lamina import config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.config import Config, Format
    from lamina.diff.limits import Limits
    from lamina.host.kernel import KernelHost
    from lamina.plugins import Plugins
    from lamina.store import Store


class Session:
    """What the flags said, gathered from wherever on the line they stood; the rest is found out when it is needed."""

    def __init__(self) -> None:
        self.debug = False
        self._flags: dict[str, str | tuple[str, ...]] = {}

    def tell(self, name: str, value: object) -> None:
        """Take the value of a global option; the last one wins, and repeatable ones add up."""
        if name == "debug":
            self.debug = True
        elif isinstance(value, tuple):
            self._flags[name] = (*self._flags.get(name, ()), *value)
        else:
            self._flags[name] = str(value)

    @cached_property
    def config(self) -> Config:
        """Flags over variables over the file over the defaults."""
        return config.load(self._flags)

    @property
    def format(self) -> Format:
        """How results are printed."""
        return self.config.format

    @cached_property
    def plugins(self) -> Plugins:
        """The installed plugins, loaded."""
        from lamina import plugins

        return plugins.load()

    @cached_property
    def host(self) -> KernelHost:
        """This machine."""
        from lamina.host.kernel import KernelHost

        return KernelHost()

    @cached_property
    def limits(self) -> Limits:
        """How much a foreign archive may ask for."""
        from lamina.diff.limits import Limits

        return config.parse_fields(Limits, self.config.limits, lambda name: f"limit {name!r}")

    @contextmanager
    def store(self, *, create: bool = False) -> Iterator[Store]:
        """Open the store that the configuration names; with ``create`` make it when it is not there yet."""
        from lamina import store

        asked = self.config
        with store.open(
            asked.root,
            driver=asked.driver,
            options=asked.options,
            durability=asked.durability,
            loop=config.parse_size(asked.loop, "--loop") if asked.loop else 0,
            limits=self.limits,
            create=create,
            plugins=self.plugins,
        ) as opened:
            yield opened


#: Hands the :class:`Session` to a command as its first argument.
pass_session = click.make_pass_decorator(Session)
