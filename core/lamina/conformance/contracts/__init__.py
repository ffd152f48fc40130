"""The cases, by area. To bind them to a driver of your own see :mod:`lamina.conformance.fixtures`."""

from __future__ import annotations

from lamina.conformance.contracts.apply import ApplyContract
from lamina.conformance.contracts.capabilities import CapabilityContract
from lamina.conformance.contracts.content import ContentContract
from lamina.conformance.contracts.diff import DiffContract
from lamina.conformance.contracts.lifecycle import LifecycleContract
from lamina.conformance.contracts.randomized import RandomizedContract
from lamina.conformance.contracts.recovery import RecoveryContract
from lamina.conformance.contracts.scoping import ScopingContract
from lamina.conformance.contracts.usage import UsageContract
from lamina.conformance.contracts.whiteouts import WhiteoutContract

__all__ = [
    "ApplyContract",
    "CapabilityContract",
    "ContentContract",
    "DiffContract",
    "LifecycleContract",
    "RandomizedContract",
    "RecoveryContract",
    "ScopingContract",
    "UsageContract",
    "WhiteoutContract",
]
