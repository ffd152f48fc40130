"""``lamina demo``: the tour on this machine."""

from __future__ import annotations

import os
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamina.cli.group import Command
from lamina.cli.session import Session, pass_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.host import Host

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(cls=Command)
@pass_session
def command(session: Session) -> None:
    """Take a tour on this machine, with a real image.

    A Debian is made by mmdebstrap (and kept in ~/.cache/lamina for the next time), imported, extended by two layers, and turned
    into containers, of which one is changed; the result is saved and handed to skopeo and umoci. Every step prints the command
    that does the same. The store is a temporary one below TMPDIR, on the driver of --driver; nothing of it is left.

    Examples:
      lamina demo
      lamina demo --driver vfs
    """
    from lamina import store
    from lamina.cli.tour.acts import Tour
    from lamina.cli.tour.stage import Stage

    if os.geteuid() != 0:
        raise PermissionError(1, "mounting takes root: run it with sudo")
    stage = Stage()
    asked = session.config
    with _scratch(session.host) as scratch:
        made = store.open(scratch / "store", driver=asked.driver, options=asked.options, plugins=session.plugins)
        with made:
            Tour(stage, session, made, scratch).run()
    stage.step("The end", "Nothing is left of this: no store, no mount, no process.")
    stage.command("lamina --help")


@contextmanager
def _scratch(host: Host) -> Iterator[Path]:
    """Yield a directory that is gone after the block, with whatever is still mounted in it, however the block ends."""
    scratch = Path(tempfile.mkdtemp(prefix="lamina-demo-"))
    try:
        yield scratch
    finally:
        # Who presses Ctrl-C twice wants an end, but not half of one; this takes a moment.
        before = [signal.signal(each, signal.SIG_IGN) for each in _STOPS]
        for entry in reversed(host.mount_table()):
            if entry.target.startswith(f"{scratch}/"):
                host.unmount(Path(entry.target), detach=True)
        host.remove_tree(scratch)
        for each, handler in zip(_STOPS, before, strict=True):
            signal.signal(each, handler)
