"""The driver against the contracts that every driver of lamina keeps. Needs root.

For as long as the driver needs no options, ``pytest --pyargs lamina.conformance --lamina-driver example`` does the same.
"""

from __future__ import annotations

import pytest
from lamina.conformance import contracts
from lamina.conformance.subject import Subject


class Example:
    """The driver under test."""

    @pytest.fixture
    def subject(self) -> Subject:
        """Return its name, and options if it needs any: ``Subject("example", {"pool": "test"})``."""
        return Subject("example")


class TestLifecycle(Example, contracts.LifecycleContract): ...


class TestContent(Example, contracts.ContentContract): ...


class TestApply(Example, contracts.ApplyContract): ...


class TestWhiteouts(Example, contracts.WhiteoutContract): ...


class TestDiff(Example, contracts.DiffContract): ...


class TestScoping(Example, contracts.ScopingContract): ...


class TestUsage(Example, contracts.UsageContract): ...


class TestRecovery(Example, contracts.RecoveryContract): ...


class TestCapabilities(Example, contracts.CapabilityContract): ...


class TestRandomized(Example, contracts.RandomizedContract): ...
