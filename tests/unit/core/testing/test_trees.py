from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

import pytest

from lamina.host.kernel import KernelHost
from lamina.testing.trees import assert_same_tree, manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.root


def make_device(path: Path, minor: int) -> Path:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, minor))
    return path


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Path, Path]:
    """Two trees that are the same in everything."""
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "d").mkdir(parents=True)
    (one / "d" / "f").write_text("data")
    (one / "g").write_text("data")
    os.link(one / "g", one / "h")
    (one / "s").symlink_to("d")
    make_device(one / "c", 3)
    KernelHost().copy_tree(one, other)
    return one, other


def test_copy_is_the_same(twins: tuple[Path, Path]) -> None:
    assert_same_tree(*twins)


@pytest.mark.parametrize(
    ("path", "act", "told"),
    [
        ("d", lambda path: path.chmod(0o700), "d: mode 755 / 700"),
        ("d", lambda path: os.chown(path, 1, -1), "d: uid 0 / 1"),
        ("g", lambda path: os.chown(path, -1, 2), "g: gid 0 / 2"),
        ("d/f", lambda path: path.write_text("DATA"), "d/f: .*content"),
        ("d/f", lambda path: path.write_text("longer data"), "size 4 / 11"),
        ("d/f", lambda path: os.setxattr(path, "user.x", b"1"), r"d/f: xattrs \(\) / "),
        ("d/f", lambda path: os.utime(path, ns=(0, 5)), "d/f: mtime .* / 5"),
        ("s", lambda path: (path.unlink(), path.symlink_to("g")), "s: .*target b'd' / b'g'"),
        ("c", lambda path: (path.unlink(), make_device(path, 5)), "c: .*rdev 259 / 261"),
        ("h", lambda path: (path.unlink(), path.write_text("data")), r"links \(b'g', b'h'\) / \(\)"),
        ("h", lambda path: path.unlink(), "h: file only on the left"),
        ("n", lambda path: path.touch(), "n: file only on the right"),
        ("d/f", lambda path: (path.unlink(), path.mkdir()), "d/f: kind file / directory"),
    ],
)
def test_difference_is_told(twins: tuple[Path, Path], path: str, act: Callable[[Path], object], told: str) -> None:
    one, other = twins

    act(other / path)

    with pytest.raises(AssertionError, match=told):
        assert_same_tree(one, other)


def test_what_shall_not_count_does_not(twins: tuple[Path, Path]) -> None:
    one, other = twins
    (other / "h").unlink()
    (other / "h").write_text("data")
    os.setxattr(other / "d", "trusted.overlay.origin", b"x")

    assert_same_tree(one, other, mtimes=False, hard_links=False)


def test_manifest_comes_in_the_order_of_paths_from_a_path_and_from_a_handle(tmp_path: Path) -> None:
    for name in ("z!", "z/y", "a/b/c"):
        (tmp_path / name).mkdir(parents=True)
    fd = os.open(tmp_path, os.O_PATH)
    try:
        found = manifest(fd)
    finally:
        os.close(fd)

    assert list(found) == [b".", b"a", b"a/b", b"a/b/c", b"z", b"z/y", b"z!"]
    assert found == manifest(tmp_path)


def test_names_are_shown_without_control_characters(tmp_path: Path) -> None:
    for side in ("one", "other"):
        (tmp_path / side).mkdir()
    (tmp_path / "one" / "a\x1b[31m\n").touch()

    with pytest.raises(AssertionError) as raised:
        assert_same_tree(tmp_path / "one", tmp_path / "other", mtimes=False)

    assert re.search(r"a\\x1b\[31m\\n: file only on the left", str(raised.value))
