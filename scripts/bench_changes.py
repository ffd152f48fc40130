"""Time how ten changes are found on top of a small and of a large layer.

::

    scripts/bench_changes.py DRIVER DIRECTORY

In ``DIRECTORY``, on a filesystem that suits the driver, a store is made for each size and removed again. A figure is the best of
several runs; "walk" compares both trees, as is done for drivers that cannot tell what changed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import lamina
from lamina.diff.walk import compare
from lamina.host.kernel import KernelHost

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (1_000, 100_000)
PER_DIRECTORY = 100
RUNS = 3


def fill(tree: Path, files: int) -> None:
    """Make so many small files, in directories of a hundred."""
    for number in range(files):
        directory = tree / f"{number // PER_DIRECTORY}"
        if number % PER_DIRECTORY == 0:
            directory.mkdir()
        (directory / f"{number}").write_text(f"{number}")


def change(tree: Path, files: int) -> None:
    """Change ten files, spread over all."""
    for number in range(0, files, files // 10):
        (tree / f"{number // PER_DIRECTORY}" / f"{number}").write_text("changed")


def best(act: Callable[[], int]) -> tuple[float, int]:
    """Return the least time that ``act`` took, in milliseconds, and what it returned."""
    times = []
    result = 0
    for _ in range(RUNS):
        start = time.perf_counter()
        result = act()
        times.append(time.perf_counter() - start)
    return min(times) * 1000, result


def measure(driver: str, place: Path, files: int) -> str:
    """Return one line of the table."""
    root = Path(tempfile.mkdtemp(prefix="lamina-bench-", dir=place))
    try:
        with lamina.open(root, driver=driver, durability="relaxed") as store:
            with store.fork() as work:
                fill(work.path, files)
                base = work.commit()
            store.graph.prepare("work", base.key)
            change(store.mounts.mount("work"), files)
            told, found = best(lambda: len(list(store.layers.changes("work"))))
            with ExitStack() as stack:
                handles = [KernelHost().open_mounts(store.graph.tree(key)) for key in (base.key, "work")]
                for handle in handles:
                    stack.callback(os.close, handle)
                walked, expected = best(lambda: len(list(compare(*handles))))
            store.mounts.unmount("work")
        if (found, expected) != (10, 10):
            sys.exit(f"{driver} tells {found} changes, a walk finds {expected}: there are 10")
        return f"{driver:10} {files:>8,} {told:>10.1f} ms {walked:>10.1f} ms"
    finally:
        KernelHost().remove_tree(root)


def main() -> None:
    """Print the table."""
    if len(sys.argv) != 3:
        sys.exit((__doc__ or "").split("\n\n")[2].strip())
    print(f"{'driver':10} {'files':>8} {'told':>13} {'walk':>13}")
    for files in SIZES:
        print(measure(sys.argv[1], Path(sys.argv[2]), files))


if __name__ == "__main__":
    main()
