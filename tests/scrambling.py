"""Random things that happen to a tree."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random


def scramble(tree: Path, random: Random, steps: int) -> None:
    """Do ``steps`` random things to ``tree``, as long as they are possible."""
    for _ in range(steps):
        directories = [top for top, _, _ in os.walk(tree)]
        paths = [os.path.join(top, name) for top, names, files in os.walk(tree) for name in names + files]
        fresh = os.path.join(random.choice(directories), random.choice("abcdef"))
        path = random.choice(paths or [fresh])
        action = random.choice(["write", "mkdir", "symlink", "remove", "remake", "rename", "link", "chmod", "utime", "xattr"])
        try:
            if action == "write":
                with open(fresh, "w") as file:
                    file.write(str(random.random()))
            elif action == "mkdir":
                os.mkdir(fresh)
            elif action == "symlink":
                os.symlink("target", fresh)
            elif action == "rename":
                os.rename(path, fresh)
            elif action == "link":
                os.link(path, fresh, follow_symlinks=False)
            elif action == "chmod" and not os.path.islink(path):
                os.chmod(path, random.choice([0o700, 0o755, 0o644]))
            elif action == "utime":
                os.utime(path, ns=(0, random.randrange(10**18)), follow_symlinks=False)
            elif action == "xattr":
                os.setxattr(path, "trusted.note", b"x", follow_symlinks=False)
            elif action in ("remove", "remake"):
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                    if action == "remake":
                        os.mkdir(path)
                else:
                    os.unlink(path)
        except OSError:
            continue
