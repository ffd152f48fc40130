"""The ``aufs`` driver as a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.hooks import hookimpl

if TYPE_CHECKING:
    from lamina.hooks import DriverRegister


@hookimpl
def lamina_register_drivers(register: DriverRegister) -> None:
    from lamina_drivers.aufs.driver import AufsDriver

    register.add(AufsDriver)
