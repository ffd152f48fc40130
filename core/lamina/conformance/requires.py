"""``@requires(Capability.X)``, ``@unless(Limit.X)``: a case that asks for what a driver declares, never for a driver by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lamina.model import Capability, Limit


def requires(capability: Capability) -> pytest.MarkDecorator:
    """Skip the case, naming the capability, unless the driver declares it.

    Nothing goes untested that way: the cases CP hold drivers to declaring exactly what works.
    """
    return pytest.mark.lamina_requires(capability)


def unless(limit: Limit) -> pytest.MarkDecorator:
    """Skip the case, naming the limit, where the driver declares it; it is tried as well whether it does so rightly."""
    return pytest.mark.lamina_unless(limit)
