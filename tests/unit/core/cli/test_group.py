from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner, Result

from lamina.cli.group import OWN, Command, Group, LazyGroup
from lamina.cli.session import Session, pass_session
from lamina.hooks import hookimpl
from lamina.plugins import Plugins

if TYPE_CHECKING:
    from pathlib import Path


class Greeter:
    @hookimpl
    def lamina_register_commands(self, cli: click.Group) -> None:
        cli.add_command(click.Command("greet", callback=lambda: click.echo("hello")))


class Grumbler:
    @hookimpl
    def lamina_register_commands(self, cli: click.Group) -> None:
        raise RuntimeError("not today")


def run(group: click.Group, *words: str, plugins: tuple[object, ...] = ()) -> Result:
    session = Session()
    session.plugins = Plugins()
    for plugin in plugins:
        session.plugins.register(plugin, type(plugin).__name__, "acme")
    return CliRunner().invoke(group, words, obj=session)


@pytest.fixture
def echo() -> Group:
    """A group `g` with a command `c` that prints the settings it got."""

    @click.group("g", cls=Group)
    def group() -> None: ...

    @group.command("c", cls=Command)
    @pass_session
    def command(session: Session) -> None:
        found = session.config
        click.echo(f"{found.root} {found.driver} {dict(found.options)} {found.format}")

    return group


def test_the_global_options_may_stand_anywhere(echo: Group, tmp_path: Path) -> None:
    options = ["--config=/dev/null", f"--root={tmp_path}", "--driver=vfs", "--option=a=1", "--format=json"]

    printed = {run(echo, *options[:place], "c", *options[place:]).output for place in range(len(options) + 1)}

    assert printed == {f"{tmp_path} vfs {{'a': '1'}} json\n"}


def test_the_last_of_an_option_wins_and_pairs_add_up(echo: Group) -> None:
    words = ["--config=/dev/null", "--root=/a", "--option=a=1", "--option=b=1", "c", "--root=/b", "--option=b=2"]

    assert run(echo, *words).output == "/b auto {'a': '1', 'b': '2'} table\n"


def test_help_of_a_command_is_about_the_command(echo: Group) -> None:
    assert "--root" not in run(echo, "c", "--help").output


def test_examples_are_printed_as_they_were_written() -> None:
    command = Command("c", help="First.\n\nExample:\n  one   two\n  three")

    assert "  Example:\n    one   two\n    three\n" in CliRunner().invoke(command, ["--help"]).output


def test_own_commands_come_first_in_their_order() -> None:
    cli = LazyGroup("lamina")

    names = cli.list_commands(click.Context(cli, obj=Session()))

    assert names[: len(OWN)] == list(OWN)


def test_a_plugins_command_is_found_and_listed() -> None:
    cli = LazyGroup("lamina")

    assert run(cli, "greet", plugins=(Greeter(),)).output == "hello\n"
    assert "greet" in run(cli, "--help").output


def test_a_plugin_cannot_take_an_own_commands_place() -> None:
    class Usurper:
        @hookimpl
        def lamina_register_commands(self, cli: click.Group) -> None:
            cli.add_command(click.Command("store", callback=lambda: click.echo("mine now")))

    assert "mine now" not in run(LazyGroup("lamina"), "store", plugins=(Usurper(),)).output


def test_a_plugin_that_fails_costs_only_its_own_commands(caplog: pytest.LogCaptureFixture) -> None:
    ended = run(LazyGroup("lamina"), "greet", plugins=(Grumbler(), Greeter()))

    assert ended.output == "hello\n"
    assert caplog.messages == ["plugin Grumbler adds no commands: not today"]
