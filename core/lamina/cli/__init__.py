"""The command line: one file a noun, and here the only place that turns errors into lines and exit codes.

================================================================  =======================================================
``group`` ``session``                                             how commands are found and what they are told
``render`` ``progress`` ``logs`` ``output``                       tables, trees and JSON; long work on a terminal; warnings; files
``names`` ``layer_tree``                                          what people call things; layers as they stand on each other
``image`` ``container`` ``layer`` ``union`` ``driver`` ``store``  the nouns
``conformance`` ``demo`` ``tour`` ``completion``                  the suite, the tour, the shells
================================================================  =======================================================
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from lamina.cli.group import LazyGroup
from lamina.cli.session import Session, pass_session
from lamina.errors import LaminaError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

#: Exit codes that no error class owns.
SYSTEM_ERROR, USAGE_ERROR, INTERNAL_ERROR = 1, 2, 3
INTERRUPTED, BROKEN_PIPE = 128 + signal.SIGINT, 128 + signal.SIGPIPE

_COMPLETE = "_LAMINA_COMPLETE"


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"lamina {version('lamina')}")
        context.exit()


@click.group("lamina", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version.")
@pass_session
def cli(session: Session) -> None:
    """Keep filesystems as layers: container images, and containers on top of them.

    A container image is a stack of read-only layers; a container adds one writable layer. lamina stores the layers, and a
    driver (overlay, plain copies and others) makes a stack look like one directory. The options below may stand anywhere
    on the line.

    Examples:
      lamina demo                                      a tour on this machine
      lamina image import debian.tar.gz -t debian      a root filesystem becomes an image
      lamina container create debian --name work       a writable layer on top of it
      cd "$(lamina container mount work)"              the tree, to work in
    """
    from lamina.cli import logs

    logs.configure(debug=session.debug)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every error becomes one line on stderr."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a real stream: this is the program's entry
    for stop in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(stop) is signal.SIG_DFL:  # nohup(1) ignores SIGHUP, and so it stays
            signal.signal(stop, _stop)
    session = Session()
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments), session)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()  # the reader has what it wanted
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  whatever it is, it ends as a line
        if session.debug:
            import traceback

            traceback.print_exception(error)
        line, code = describe(error)
        _complain(line)
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
    return code


def describe(error: Exception) -> tuple[str, int]:
    """Return the line and the exit code that an exception ends the command line with."""
    if isinstance(error, LaminaError):
        return str(error), error.exit_code
    if isinstance(error, click.UsageError):
        return _describe_usage(error), USAGE_ERROR
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, OSError):
        places = [os.fsdecode(place) for place in (error.filename, error.filename2) if isinstance(place, str | bytes)]
        return ": ".join([*places, error.strerror or str(error)]), SYSTEM_ERROR
    return f"a mistake of lamina itself ({type(error).__name__}: {error}): report it, with what --debug shows", INTERNAL_ERROR


def _describe_usage(error: click.UsageError) -> str:
    message = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption):
        near = f": did you mean {' or '.join(error.possibilities[:1])}?" if error.possibilities else ""
        message = f"no option {error.option_name}{near}"
    cure = f"; see `{error.ctx.command_path} --help`" if error.ctx else ""
    return message[:1].lower() + message[1:] + cure


def _run(arguments: list[str], session: Session) -> int:
    if instruction := os.environ.get(_COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(cli, {"obj": session}, "lamina", _COMPLETE, instruction)
    try:
        with cli.make_context("lamina", arguments, obj=session) as context:
            cli.invoke(context)
    except click.exceptions.Exit as asked:
        return asked.exit_code
    return 0


def _drop_output() -> None:
    """Forget what is still buffered: it must not fail again, with an exit code of Python's own, while Python shuts down."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(line: str) -> None:
    from lamina.cli.render import printable

    word = click.style("error: ", fg="red", bold=True) if sys.stderr.isatty() else ""
    click.echo(f"lamina: {word}{printable(line)}", err=True)


def _stop(number: int, _frame: FrameType | None) -> None:
    """Unwind as after Ctrl-C, so that whatever was mounted or begun is undone."""
    raise SystemExit(128 + number)
