"""``lamina completion``: scripts with which a shell completes commands, options and names."""

from __future__ import annotations

import click

from lamina.cli.group import Command


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script with which a shell completes what you type.

    It completes commands, options, and the names of images, containers, layers and drivers.

    Examples:
      lamina completion bash > /etc/bash_completion.d/lamina
      lamina completion zsh > "${fpath[1]}/_lamina"
      lamina completion fish > ~/.config/fish/completions/lamina.fish
    """
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    completes = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    completion = completes(context.find_root().command, {}, "lamina", "_LAMINA_COMPLETE")
    # Not source(): for bash it starts one, to learn its version.
    click.echo(completion.source_template % completion.source_vars())
