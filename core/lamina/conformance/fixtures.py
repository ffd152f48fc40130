"""What a conformance case gets: a fresh store on the driver under test, and a flat twin beside it.

The contracts bring these fixtures along as methods. To run them from a tree of your own, override :meth:`Contract.subject`::

    class Acme:
        @pytest.fixture
        def subject(self):
            return Subject("acme", {"pool": "test"})

    class TestLifecycle(Acme, LifecycleContract): ...
    class TestContent(Acme, ContentContract): ...
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.conformance.leaks import left_behind, tear_down
from lamina.conformance.plugin import SUBJECT
from lamina.model import Capability, Durability, Limit
from lamina.testing.twin import Twin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.conformance.subject import Subject
    from lamina.store import Store


class Contract:
    """The fixtures that every contract stands on."""

    @pytest.fixture
    def subject(self, pytestconfig: pytest.Config) -> Subject:
        """The driver under test, from the command line unless overridden."""
        examined = pytestconfig.stash.get(SUBJECT, None)
        assert examined is not None, "give --lamina-driver NAME, or override the fixture `subject`"
        return examined.subject

    @pytest.fixture
    def root(self, lamina_root: Path) -> Iterator[Path]:
        """A directory for one case. The case fails when it leaves a mount or a loop device behind below it."""
        root = Path(tempfile.mkdtemp(dir=lamina_root))
        try:
            yield root
            assert left_behind(root) == [], "the case left things behind"
        finally:
            tear_down(root)

    @pytest.fixture
    def store(self, request: pytest.FixtureRequest, subject: Subject, root: Path) -> Iterator[Store]:
        """A new store on the driver. Nothing survives it, so nothing is synced: what durability costs is not in question here."""
        with self.open(root, subject) as store:
            for marker in request.node.iter_markers("lamina_requires"):
                capability: Capability = marker.args[0]
                if capability not in store.driver.capabilities:
                    pytest.skip(f"driver {subject.driver} does not declare the capability {capability}")
            for marker in request.node.iter_markers("lamina_unless"):
                limit: Limit = marker.args[0]
                if limit in store.driver.limits:
                    pytest.skip(f"driver {subject.driver} declares the limit {limit}")
            yield store

    @pytest.fixture
    def flat(self, root: Path) -> Path:
        """An empty directory, as an empty layer is."""
        flat = root / "flat"
        flat.mkdir()
        flat.chmod(0o755)
        return flat

    @pytest.fixture
    def twin(self, store: Store, flat: Path) -> Twin:
        """An empty stack of layers and its flat twin."""
        return Twin(store, flat)

    @staticmethod
    def open(root: Path, subject: Subject) -> Store:
        """Open the case's store, which exists already or not."""
        return lamina.open(root / "store", driver=subject.driver, options=subject.options, durability=Durability.RELAXED)
