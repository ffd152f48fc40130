"""Where a real root filesystem comes from: Debian's packages, or else this machine's own programs."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.config import cache_directory
from lamina.errors import CommandFailedError, ToolMissingError
from lamina.host.command import run, which

if TYPE_CHECKING:
    from lamina.cli.tour.stage import Stage

SUITE = "bookworm"

#: What a small tree takes of this machine: enough to look around and to change things.
_PROGRAMS = ("sh", "cat", "chmod", "cp", "env", "grep", "ls", "mkdir", "mv", "rm", "sed", "touch")
_FILES = ("etc/passwd", "etc/group", "etc/os-release", "etc/nsswitch.conf")
_EMPTY = ("dev", "proc", "root", "srv", "tmp", "var", "usr/local/bin")

#: The longest that downloading and unpacking a Debian may take, seconds.
_PATIENCE = 900.0


@dataclass(frozen=True, slots=True)
class RealRoot:
    """A root filesystem to make an image of."""

    #: What to call the image.
    name: str
    #: A tar or a directory.
    source: Path
    #: Whether packages can be installed in it.
    is_debian: bool


def find(stage: Stage, scratch: Path) -> RealRoot:
    """Return a Debian from the cache, a new one, or a tree of this machine's own programs; say which, and why."""
    architecture = os.uname().machine
    cached = cache_directory() / f"debian-{SUITE}-{architecture}.tar"
    stage.command(f"mmdebstrap --variant=minbase {SUITE} debian.tar")
    if cached.exists():
        stage.say(f"made earlier: {cached} (remove that to have it made again)")
        return RealRoot("debian", cached, is_debian=True)
    try:
        with stage.busy(f"mmdebstrap makes a Debian {SUITE} from its packages"):
            _bootstrap(scratch, cached)
    except (ToolMissingError, CommandFailedError) as error:
        stage.missing(f"no Debian can be made here: {_reason(error)}")
        stage.say("so the root is a small tree of this machine's own programs and their libraries")
        return RealRoot("machine", _collect(scratch / "machine"), is_debian=False)
    stage.say(f"kept for the next time: {cached}")
    return RealRoot("debian", cached, is_debian=True)


def _reason(error: ToolMissingError | CommandFailedError) -> str:
    if isinstance(error, ToolMissingError):
        return str(error)
    return f"mmdebstrap said {error.stderr.strip().splitlines()[0]!r}; is there a network?"


def _bootstrap(scratch: Path, kept: Path) -> None:
    made = scratch / "debian.tar"
    # Its own temporary files go where the tour's are, so that they end with it whatever happens.
    run(["env", f"TMPDIR={scratch}", "mmdebstrap", "--quiet", "--variant=minbase", SUITE, str(made)], timeout=_PATIENCE)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(f".{os.getpid()}")
    try:
        shutil.copyfile(made, partial)
        partial.replace(kept)
    finally:
        partial.unlink(missing_ok=True)
        made.unlink()


def _collect(tree: Path) -> Path:
    """Copy programs of this machine, what they are linked with, and some of its files to ``tree``, and return that."""
    tree.mkdir()
    for name in ("bin", "sbin", "lib", "lib64"):
        here = Path("/", name)
        if here.is_symlink():  # usr-merge
            (tree / name).symlink_to(here.readlink())
            (tree / "usr" / name).mkdir(parents=True)
    programs = [found for program in _PROGRAMS if (found := which(program))]
    words = run(["ldd", *map(str, programs)]).stdout.split()
    libraries = {Path(word.rstrip(":")) for word in words if word.startswith("/")}
    for path in {*programs, *libraries, *(Path("/", name) for name in _FILES)}:
        if path.exists():
            copy = tree / path.relative_to("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
    for name in _EMPTY:
        (tree / name).mkdir(parents=True, exist_ok=True)
    return tree
