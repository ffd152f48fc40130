"""What a case, or a whole session, left behind in the kernel below a directory."""

from __future__ import annotations

from pathlib import Path

from lamina.host.kernel import KernelHost


def left_behind(root: Path) -> list[str]:
    """Name every mount below ``root`` and every loop device whose file lies there."""
    below = f"{root}/"
    mounts = [f"{entry.type} mounted at {entry.target}" for entry in KernelHost().mount_table() if entry.target.startswith(below)]
    loops = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        file = backing.read_text().rstrip("\n")
        if file.startswith(below):
            loops.append(f"{backing.parts[3]} on {file}")
    return mounts + loops


def tear_down(root: Path) -> None:
    """Detach what is still mounted below ``root``, innermost first, and remove it: a failed case must not stop the next."""
    host = KernelHost()
    for entry in reversed(host.mount_table()):
        if entry.target.startswith(f"{root}/"):
            host.unmount(Path(entry.target), detach=True)
    host.remove_tree(root)
