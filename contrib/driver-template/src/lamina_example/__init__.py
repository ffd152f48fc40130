"""The plugin. It is imported whenever lamina starts, so it imports the driver only when asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.hooks import hookimpl

if TYPE_CHECKING:
    from lamina.hooks import DriverRegister


@hookimpl
def lamina_register_drivers(register: DriverRegister) -> None:
    """Bring the driver."""
    from lamina_example.driver import ExampleDriver

    register.add(ExampleDriver)
