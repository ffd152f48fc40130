"""Groups and commands of click as lamina uses them: loaded when asked for, with the global options accepted anywhere."""

from __future__ import annotations

from importlib import import_module
from inspect import cleandoc
from typing import Any

import click

from lamina.cli.session import Session
from lamina.config import Format
from lamina.model import Durability

#: The commands of lamina itself, in the order in which a newcomer meets them; each is ``command`` of the module of its name.
OWN = ("demo", "image", "container", "layer", "union", "driver", "store", "conformance", "completion")


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """Make the options that stand before or after any command; their values go to the :class:`Session`."""

    def option(*names: str, **settings: Any) -> click.Option:  # Any: the settings of click.Option
        return click.Option(names, expose_value=False, callback=_keep, hidden=hidden, **settings)

    durabilities = click.Choice([each.value for each in Durability])
    formats = click.Choice([each.value for each in Format])
    pair = {"multiple": True, "metavar": "NAME=VALUE"}
    return [
        option("--root", metavar="DIR", help="The store's directory. Default: /var/lib/lamina for root, else in ~/.local/share."),
        option("--driver", metavar="NAME", help="The storage driver, or auto: the best that works.", shell_complete=_drivers),
        option("--option", "options", **pair, help="An option of the driver; see `lamina driver info`."),
        option("--durability", type=durabilities, help="Whether a commit waits for stable storage. Default: full."),
        option("--limit", "limits", **pair, help="How much a foreign archive may ask for, such as entries=2M."),
        option("--config", metavar="FILE", help="The settings. Default: lamina.toml in ~/.config/lamina or /etc/lamina."),
        option("--format", type=formats, help="How results are printed. Default: table."),
        option("--debug", is_flag=True, help="Show the traceback of an error, and what plugins log."),
    ]


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value and parameter.name:
        context.ensure_object(Session).tell(parameter.name, value)


def _drivers(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in ("auto", *context.ensure_object(Session).plugins.drivers) if name.startswith(incomplete)]


def _with_examples_as_they_are(text: str | None) -> str | None:
    """Keep click from filling paragraphs of examples: it leaves alone what follows a backspace."""
    return text and cleandoc(text).replace("\n\nExample", "\n\n\b\nExample")


class Command(click.Command):
    """A command that takes the global options too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: click's own signature
        super().__init__(*args, **kwargs)
        self.params += global_options(hidden=True)
        self.help = _with_examples_as_they_are(self.help)


class Group(click.Group):
    """A noun: its commands are verbs."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: click's own signature
        super().__init__(*args, **kwargs)
        self.params += global_options(hidden=True)
        self.help = _with_examples_as_they_are(self.help)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's own signature
        """In the order of definition, which is the order of a life."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and with the cure in the error for a name that is none."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            import difflib

            known = self.list_commands(ctx)
            near = difflib.get_close_matches(name, known, 1)
            cure = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise click.UsageError(f"`{ctx.command_path}` has no command {name!r}: {cure}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """The whole command line: a module is imported when its command is named, plugins when nothing else answers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: click's own signature
        super().__init__(*args, **kwargs)
        self._plugins_were_asked = False
        self.params = [*global_options(hidden=False), *(param for param in self.params if not getattr(param, "hidden", False))]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Lamina's own commands, then those of plugins."""
        self._ask_plugins(ctx)
        return [*OWN, *sorted(self.commands.keys() - set(OWN))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module, or ask the plugins."""
        if cmd_name in OWN:
            command: click.Command = import_module(f"lamina.cli.{cmd_name}").command
            return command
        self._ask_plugins(ctx)
        return super().get_command(ctx, cmd_name)

    def _ask_plugins(self, context: click.Context) -> None:
        if not self._plugins_were_asked:
            self._plugins_were_asked = True
            context.ensure_object(Session).plugins.register_commands(self)
