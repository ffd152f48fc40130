"""The kinds of directory that layers are unpacked into, each as a stack that shows what its layers add up to."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from lamina.diff import ApplyOptions, apply
from lamina.driver import Encoding
from lamina.host.kernel import KernelHost
from lamina.model import Mount
from lamina.testing.archives import archive
from lamina.testing.trees import manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.diff import ApplyResult
    from lamina.testing.archives import ArchiveEntry
    from lamina.testing.trees import Manifest

HOST = KernelHost()
DEFAULTS = ApplyOptions()


class Target:
    """Layers, unpacked one on top of the other in one encoding, in directories that have neighbours."""

    def __init__(self, encoding: Encoding, place: Path) -> None:
        self.encoding = encoding
        self._place = place
        #: The directories unpacked into, from the bottom; a complete tree is only one.
        self.directories: list[Path] = []

    def apply(self, *layer: ArchiveEntry, options: ApplyOptions = DEFAULTS) -> ApplyResult:
        """Unpack a layer on top of those that are there."""
        return self.unpack(archive(layer), options)

    def unpack(self, layer: bytes, options: ApplyOptions = DEFAULTS) -> ApplyResult:
        """Unpack a layer, given as an archive."""
        has_parent = bool(self.directories)
        options = replace(options, encoding=self.encoding, has_parent=has_parent)
        if self.encoding is Encoding.PLAIN:
            if not has_parent:
                self._grow("tree")
            with opened(self.directories[0]) as fd:
                return apply(io.BytesIO(layer), fd, options)
        if not has_parent:
            with opened(self._grow("layer-0")) as fd:
                return apply(io.BytesIO(layer), fd, options)
        with self.view() as below, opened(below) as lower, opened(self._grow(f"layer-{len(self.directories)}")) as fd:
            return apply(io.BytesIO(layer), fd, replace(options, lower=lower))

    def manifest(self) -> Manifest:
        """Describe what the layers add up to."""
        with self.view() as tree:
            return manifest(tree)

    @contextmanager
    def view(self) -> Iterator[Path]:
        """Show what the layers add up to."""
        if len(self.directories) == 1:
            yield self.directories[0]
            return
        with union(self.encoding, self._place, self.directories[-1], self.directories[-2::-1]) as tree:
            yield tree

    def _grow(self, name: str) -> Path:
        directory = self._place / name
        directory.mkdir(mode=0o755)
        self.directories.append(directory)
        return directory


@contextmanager
def union(encoding: Encoding, place: Path, upper: Path, lower: list[Path]) -> Iterator[Path]:
    """Mount a union; ``lower`` comes from the top."""
    target, work = place / "merged", place / "work"
    target.mkdir()
    work.mkdir()
    options = (f"upperdir={upper}", f"workdir={work}")
    if encoding is Encoding.AUFS:
        command = ["fuse-overlayfs", "-o", ",".join([f"lowerdir={':'.join(map(str, lower))}", *options]), str(target)]
        subprocess.run(command, check=True, capture_output=True, env={"FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT": "1"})
    else:
        HOST.mount([Mount("overlay", "overlay", (*(f"lowerdir+={path}" for path in lower), *options, "volatile"))], target)
    try:
        yield target
    finally:
        HOST.unmount(target)
        target.rmdir()
        shutil.rmtree(work)


@contextmanager
def opened(tree: Path) -> Iterator[int]:
    """Hold a directory open."""
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
