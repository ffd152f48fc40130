"""Real images, made by real tools: slow to build, so kept outside of the checkout, by a hash of their recipe."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.config import cache_directory

if TYPE_CHECKING:
    from collections.abc import Callable

RECIPES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Material:
    """A Debian image of four layers, in each form in which images travel."""

    #: The base alone, a root filesystem.
    tar: Path
    #: The layout's directory; its only tag is ``debian``.
    layout: Path
    oci_archive: Path
    docker_archive: Path


def debian_root() -> Path:
    """Return the root filesystem of a minimal Debian as a tar, making it if no earlier session did."""
    recipe = RECIPES / "debian.sh"
    return cached("debian", recipe.read_bytes(), lambda place: run("sh", recipe, place)) / "debian.tar"


def debian() -> Material:
    """Return the image, making it if no earlier session did."""
    base, recipe = debian_root(), RECIPES / "layers.sh"
    key = base.parent.name.encode() + recipe.read_bytes()
    made = cached("debian-layers", key, lambda place: run("sh", recipe, base, place))
    return Material(base, made / "oci", made / "debian.oci.tar", made / "debian.docker.tar")


def cached(name: str, recipe: bytes, build: Callable[[Path], object]) -> Path:
    """Return the directory that ``build`` filled, in this session or an earlier one. Others who want it wait.

    A build that fails or is killed leaves nothing that could be taken for a result.
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"{name}-{hashlib.sha256(recipe).hexdigest()[:16]}"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            for abandoned in cache.glob(f".{name}-*"):  # its builder is dead: we hold the lock
                shutil.rmtree(abandoned)
            staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
            build(staging)
            staging.rename(place)
    return place


def run(*command: str | Path) -> str:
    """Run a program that has to succeed and return what it printed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout
