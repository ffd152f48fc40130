"""``lamina conformance``: grade a driver."""

from __future__ import annotations

import click

from lamina.cli.group import Command
from lamina.cli.session import Session, pass_session
from lamina.errors import ConfigError, ToolMissingError


@click.command(cls=Command)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGUMENT...]")
@click.pass_context
@pass_session
def command(session: Session, context: click.Context, arguments: tuple[str, ...]) -> None:
    """Grade a driver: hold it to the contract of all drivers.

    It is the one that --driver names. The suite runs on this machine, for real, and leaves nothing behind; what the driver does
    not claim to be able to do is skipped and named. The exit code is pytest's: 0 when everything holds, 1 when something does
    not, 4 when the driver cannot run here. What follows -- goes to pytest.

    Examples:
      lamina conformance --driver overlay
      lamina conformance --driver overlay -- --lamina-root=/mnt/btrfs -k whiteout
    """
    try:
        import pytest
    except ImportError:
        raise ToolMissingError("pytest", "lamina[conformance] with pip") from None
    asked = session.config
    if asked.driver == "auto":
        raise ConfigError("--driver", "name the driver to grade; `lamina driver list` shows what there is")
    options = [f"--lamina-option={name}={value}" for name, value in asked.options.items()]
    # Without the cache: it would be left in whatever directory this is.
    suite = ["-p", "no:cacheprovider", "--pyargs", "lamina.conformance", f"--lamina-driver={asked.driver}", *options]
    context.exit(int(pytest.main([*suite, *arguments])))
