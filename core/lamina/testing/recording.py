"""A host that writes down what it is asked and answers from a script.

It proves which commands a driver gives, and in which order: nothing about what a kernel would make of them. A test on it says so
in its name; what it tests is tested once more on a real kernel.
"""

# ruff: noqa: D102  # what a method means is written in lamina.host.Host

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lamina.host import Completed, Filesystem
from lamina.model import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lamina.host import MountEntry
    from lamina.model import Mount

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One thing that was asked of the host."""

    method: str
    arguments: tuple[object, ...]


class RecordingHost:
    """Takes the place of :class:`lamina.host.kernel.KernelHost` for a driver under test.

    ``answers`` maps a method's name to its answers, one for each call in turn, the last again and again; an exception among
    them is raised. Without an answer a method says what an idle machine would: nothing mounted, nothing found, success.
    """

    def __init__(self, answers: Mapping[str, Sequence[object]] | None = None) -> None:
        #: What was asked, in order.
        self.calls: list[Call] = []
        self._answers = {method: list(given) for method, given in (answers or {}).items()}

    def asked(self, method: str) -> list[tuple[object, ...]]:
        """Return the arguments of each call of one method, in order."""
        return [call.arguments for call in self.calls if call.method == method]

    def _answer(self, method: str, *arguments: object, idle: T) -> T:
        self.calls.append(Call(method, arguments))
        given = self._answers.get(method)
        if not given:
            return idle
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[return-value]  # the script is the test's own

    def mount(self, mounts: Sequence[Mount], target: Path) -> None:
        self._answer("mount", tuple(mounts), target, idle=None)

    def unmount(self, target: Path, *, detach: bool = False) -> None:
        self._answer("unmount", target, detach, idle=None)

    def open_mounts(self, mounts: Sequence[Mount]) -> int:
        return self._answer("open_mounts", tuple(mounts), idle=-1)

    def mount_table(self) -> list[MountEntry]:
        return self._answer("mount_table", idle=[])

    def filesystem(self, path: Path) -> Filesystem:
        roomy = Filesystem(type="ext4", device=1, free=2**40, size=2**40, free_inodes=2**20, read_only=False)
        return self._answer("filesystem", path, idle=roomy)

    def can_reflink(self, directory: Path) -> bool:
        return self._answer("can_reflink", directory, idle=False)

    def copy_tree(self, source: Path, target: Path) -> None:
        self._answer("copy_tree", source, target, idle=None)

    def remove_tree(self, path: Path) -> None:
        self._answer("remove_tree", path, idle=None)

    def sync_filesystem(self, path: Path) -> None:
        self._answer("sync_filesystem", path, idle=None)

    def sync_tree(self, path: Path) -> None:
        self._answer("sync_tree", path, idle=None)

    def tree_usage(self, path: Path) -> Usage:
        return self._answer("tree_usage", path, idle=Usage(0, 0))

    def get_xattr(self, path: Path, name: str) -> bytes | None:
        return self._answer("get_xattr", path, name, idle=None)

    def set_xattr(self, path: Path, name: str, value: bytes) -> None:
        self._answer("set_xattr", path, name, value, idle=None)

    def send_differences(self, subvolume: Path, parent: int) -> Iterator[bytes]:
        return iter(self._answer("send_differences", subvolume, parent, idle=()))

    def loop_device(self, file: Path) -> AbstractContextManager[str]:
        return nullcontext(self._answer("loop_device", file, idle="/dev/loop0"))

    def run(self, argv: Sequence[str], *, input: bytes = b"", timeout: float = 60.0) -> Completed:  # noqa: ARG002  # no program runs
        return self._answer("run", tuple(argv), input, idle=Completed("", ""))

    def which(self, tool: str) -> Path | None:
        return self._answer("which", tool, idle=None)

    def kernel_release(self) -> tuple[int, int]:
        return self._answer("kernel_release", idle=(6, 1))

    def kernel_filesystems(self) -> frozenset[str]:
        return self._answer("kernel_filesystems", idle=frozenset({"ext4", "overlay", "tmpfs"}))

    def effective_capability(self, name: str) -> bool:
        return self._answer("effective_capability", name, idle=True)
