"""How many layers a stack may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]


def stack(store: lamina.Store, base: str, names: range) -> str:
    """Put a layer with one file for each name on top of ``base`` and return the topmost's key."""
    for name in names:
        with store.fork(base) as work:
            (work.path / str(name)).write_text(f"{name}\n")
            base = work.commit().key
    return base


def test_300_layers_on_overlay_show_all_their_files(tmp_path: Path) -> None:
    with lamina.open(tmp_path / "store", driver="overlay") as store:
        top = stack(store, "", range(300))

        with store.fork(top) as work:
            found = {entry.name: entry.read_text() for entry in work.path.iterdir()}

    assert found == {str(name): f"{name}\n" for name in range(300)}


def test_on_top_of_500_layers_on_overlay_the_error_names_the_limit(tmp_path: Path) -> None:
    with lamina.open(tmp_path / "store", driver="overlay", durability="relaxed") as store:
        top = stack(store, "", range(500))

        with pytest.raises(UnsupportedError, match="500"), store.fork(top):
            pass

        assert store.check() == []
        assert len(store.layers.list()) == 500
