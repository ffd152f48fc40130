"""Every contract, bound to the driver that ``--lamina-driver`` names."""

from __future__ import annotations

from lamina.conformance import contracts


class TestLifecycle(contracts.LifecycleContract):
    """LC."""


class TestContent(contracts.ContentContract):
    """FS."""


class TestApply(contracts.ApplyContract):
    """AP."""


class TestWhiteouts(contracts.WhiteoutContract):
    """WH."""


class TestDiff(contracts.DiffContract):
    """DF."""


class TestScoping(contracts.ScopingContract):
    """SC."""


class TestUsage(contracts.UsageContract):
    """QU."""


class TestRecovery(contracts.RecoveryContract):
    """RB."""


class TestCapabilities(contracts.CapabilityContract):
    """CP."""


class TestRandomized(contracts.RandomizedContract):
    """RS."""
