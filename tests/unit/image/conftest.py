from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import lamina

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store on plain copies; at the end its records, objects and files must agree."""
    with lamina.open(tmp_path / "store", driver="vfs") as opened:
        yield opened
        assert opened.check(deep=True) == []
        assert list((tmp_path / "store" / "staging").iterdir()) == []
