"""Print docs/cli.md: the command reference, out of the command line's own help. ``make docs`` writes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from lamina import errors
from lamina.cli import BROKEN_PIPE, INTERNAL_ERROR, INTERRUPTED, SYSTEM_ERROR, USAGE_ERROR, cli
from lamina.cli.session import Session
from lamina.cli.store import FOUND

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENING = """\
# Command reference

Written by `make docs` from the commands' own help: `lamina COMMAND --help` says the same. The options of `lamina` itself may
stand anywhere on the line.

Results go to stdout, everything else to stderr. Each kind of error has an [exit code](#exit-codes) of its own.
"""

CODES = """\
## Exit codes

An error is one line on stderr that names the thing and the cure. `--debug` adds the traceback.

| code | error | meaning |
|---|---|---|
| 0 | | success |
"""

#: How a docstring quotes code, for Markdown.
ROLE = re.compile(r":\w+:`~?|``")

#: What no class of lamina.errors stands for.
OTHERS = {
    SYSTEM_ERROR: "a system call failed, and there is no better name for it",
    USAGE_ERROR: "the command line cannot be understood",
    INTERNAL_ERROR: "a mistake of lamina itself: please report it",
    FOUND: "`store check` found that something disagrees",
    INTERRUPTED: "interrupted (Ctrl-C)",
    BROKEN_PIPE: "whoever read the output went away",
}


def reference() -> str:
    """Return the whole document."""
    session = Session()
    chapters = []
    for path, text in pages(cli, None, session):
        depth = "#" * min(path.count(" ") + 2, 3)
        chapters.append(f"{depth} {path}\n\n```text\n{text}\n```\n")
    return "\n".join([OPENING, *chapters, CODES + "".join(exit_codes())])


def exit_codes() -> Iterator[str]:
    """Yield the rows of the table of exit codes, in their order."""
    rows = {code: ("", meaning) for code, meaning in OTHERS.items()}
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.LaminaError) and kind is not errors.LaminaError:
            meaning = ROLE.sub("`", (kind.__doc__ or "").split("\n\n")[0].replace("\n   ", ""))
            rows[kind.exit_code] = (f"`{name}`", meaning[:1].lower() + meaning[1:].rstrip("."))
    for code, (name, meaning) in sorted(rows.items()):
        yield f"| {code} | {name} | {meaning} |\n"


def pages(command: click.Command, parent: click.Context | None, session: Session) -> Iterator[tuple[str, str]]:
    """Yield the words and the help text of a command and of all below it, in the order of ``--help``."""
    context = click.Context(
        command, parent=parent, info_name=command.name, obj=session, terminal_width=100, **command.context_settings
    )
    yield context.command_path, command.get_help(context).rstrip()
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                below.name = name
                yield from pages(below, context, session)


if __name__ == "__main__":
    print(reference(), end="")
