"""The command `lamina trace`."""

from __future__ import annotations

import click

from lamina_contrib.trace import recording


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": ["-h", "--help"]}
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def trace(context: click.Context, command: tuple[str, ...]) -> None:
    r"""Run a lamina command and show the layer operations it performed, on stderr.

    \b
    Example:
      lamina trace container create debian
    """
    cli = context.find_root().command
    with recording() as steps:
        try:
            with cli.make_context("lamina", list(command), obj=context.obj) as inner:
                cli.invoke(inner)
        finally:
            for step in steps:
                took = "done" if step.seconds is None else f"{step.seconds * 1e3:9.2f} ms{'  failed' * step.failed}"
                click.echo(f"{step.operation:<10}{step.snapshot:<34}{took}", err=True)
