from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.driver import Encoding
from lamina.testing.trees import manifest
from tests.unit.diff.targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=list(Encoding), ids=str)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    """An empty stack of layers, once for each encoding."""
    place = tmp_path / "place"
    place.mkdir()
    return Target(request.param, place)


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A directory that no layer may reach, beside and above what layers are unpacked into; it must be untouched at the end."""
    outside = tmp_path / "victim"
    outside.mkdir(mode=0o700)
    (outside / "secret").write_text("secret")
    (outside / "secret").chmod(0o400)
    (outside / "deeper").mkdir()
    before = manifest(outside)
    neighbours = sorted(path.name for path in tmp_path.iterdir())
    yield outside
    assert manifest(outside) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == neighbours
