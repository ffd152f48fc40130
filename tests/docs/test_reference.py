"""The command reference says what the commands say."""

from __future__ import annotations

from pathlib import Path

import click

from lamina.cli import cli
from lamina.cli.session import Session
from scripts.reference import pages, reference

DOCS = Path(__file__).parents[2] / "docs"


def test_the_command_reference_is_what_make_docs_writes() -> None:
    assert (DOCS / "cli.md").read_text() == reference(), "run `make docs`"


def test_every_option_of_every_command_is_explained() -> None:
    unexplained = []
    commands: list[click.Command] = [cli]
    while commands:
        command = commands.pop()
        context = click.Context(command, info_name=command.name, obj=Session())
        unexplained += [
            f"{command.name} {option.opts[0]}"
            for option in command.params
            if isinstance(option, click.Option) and not option.hidden and not option.help
        ]
        if isinstance(command, click.Group):
            below = [command.get_command(context, name) for name in command.list_commands(context)]
            commands += [each for each in below if each]

    assert unexplained == []


def test_every_command_shows_an_example() -> None:
    groups = ("Usage: lamina [OPTIONS] COMMAND", "Commands:")

    without = [path for path, text in pages(cli, None, Session()) if "Example" not in text and groups[1] not in text]

    assert without == []
