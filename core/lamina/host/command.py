"""Running a program with a deadline, found on a fixed path, in a fixed environment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lamina.errors import CommandFailedError, ToolMissingError
from lamina.host import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Where tools are looked for. Not the caller's PATH: we are root, and whoever sets that need not be.
_SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT: Final = {"PATH": _SEARCH_PATH, "LC_ALL": "C"}


def which(tool: str) -> Path | None:
    """Return where a tool is installed, or None."""
    found = shutil.which(tool, path=_SEARCH_PATH)
    return Path(found) if found else None


def run(
    argv: Sequence[str],
    *,
    input: bytes = b"",
    timeout: float = 60.0,
    handles: Sequence[int] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Completed:
    """Run ``argv`` and return what it printed.

    The program is looked up on a fixed path unless named by an absolute one; it gets that path, ``LC_ALL=C`` and
    ``environment`` as all of its environment, ``/`` as its directory, no descriptors but the three and ``handles`` (under their
    numbers here), and a session of its own. Output that is not UTF-8 comes out as :func:`os.fsdecode` makes it. Raises
    :class:`ToolMissingError`; and :class:`CommandFailedError` for a status other than 0, where minus N stands for signal N, and
    after ``timeout`` seconds, when all that it started is killed.
    """
    program = which(argv[0])
    if program is None:
        raise ToolMissingError(argv[0])
    with subprocess.Popen(
        [str(program), *argv[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={**_ENVIRONMENT, **environment},
        pass_fds=handles,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except subprocess.TimeoutExpired as expired:
            os.killpg(process.pid, signal.SIGKILL)
            said = os.fsdecode(expired.stderr or b"")
            raise CommandFailedError(argv, -signal.SIGKILL, f"{said}\nstopped after {timeout:g} s") from expired
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise CommandFailedError(argv, process.returncode, os.fsdecode(stderr))
    return Completed(os.fsdecode(stdout), os.fsdecode(stderr))
