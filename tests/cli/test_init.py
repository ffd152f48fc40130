"""Making and removing a store, through the installed command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.conformance.leaks import left_behind, tear_down
from tests.cli.process import lamina

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "store"
    tear_down(tmp_path)


def test_a_store_on_a_driver_in_a_file_is_made_used_and_destroyed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    made = lamina("store", "init", "--driver", "btrfs", "--loop", "256M", "--root", root)
    assert (made.code, made.out, made.err) == (0, f"{root}\n", "")
    assert lamina("--root", root, "image", "import", tmp_path / "tree", "-t", "base").code == 0

    ended = lamina("--root", root, "store", "destroy")

    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert not root.exists()
    assert left_behind(tmp_path) == []


def test_the_size_may_come_from_the_configuration(root: Path, tmp_path: Path) -> None:
    (tmp_path / "lamina.toml").write_text(f"root = '{root}'\ndriver = 'btrfs'\nloop = '256M'\n")

    made = lamina("--config", tmp_path / "lamina.toml", "store", "init")

    assert (made.code, (root / "backing.img").stat().st_size) == (0, 256 << 20)


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["--driver", "vfs", "--loop", "1G"], 24, "driver 'vfs' does not support storage in a file: leave --loop out"),
        (["--loop", "1G"], 70, "--loop: storage is made for one driver: name it with --driver"),
        (["--driver", "btrfs", "--loop", "much"], 70, "--loop: 'much' is no whole number: write one, such as 4096 or 64K"),
    ],
)
def test_what_cannot_be_in_a_file_is_refused_and_nothing_is_made(root: Path, words: list[str], code: int, line: str) -> None:
    ended = lamina("--root", root, "store", "init", *words)

    assert (ended.code, ended.err) == (code, f"lamina: {line}\n")
    assert not root.exists()


def test_a_store_is_not_made_over_another(root: Path) -> None:
    assert lamina("--root", root, "--driver", "vfs", "store", "init").code == 0

    again = lamina("--root", root, "--driver", "vfs", "store", "init")

    assert (again.code, again.err.count("already")) == (36, 1)
    assert lamina("--root", root, "store", "destroy").code == 0


def test_a_store_in_use_is_destroyed_by_force_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    lamina("--root", root, "--driver", "vfs", "image", "import", tmp_path / "tree", "-t", "base")
    lamina("--root", root, "container", "create", "base", "--name", "one")
    place = lamina("--root", root, "container", "mount", "one").out.strip()

    refused = lamina("--root", root, "store", "destroy")
    assert (refused.code, place in refused.err) == (32, True)

    assert lamina("--root", root, "store", "destroy", "--force").code == 0
    assert not root.exists()
