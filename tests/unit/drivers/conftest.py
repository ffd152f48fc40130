from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Protocol

import pytest

from lamina.host.kernel import KernelHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lamina.driver import Chain, Driver


class Show(Protocol):
    """Mounts a snapshot for the time of a block."""

    def __call__(self, driver: Driver, id: int, chain: Chain = (), *, writable: bool = True) -> AbstractContextManager[Path]: ...


@pytest.fixture
def host() -> KernelHost:
    return KernelHost()


@pytest.fixture
def show(host: KernelHost, tmp_path: Path) -> Show:
    numbers = count()

    @contextmanager
    def show(driver: Driver, id: int, chain: Chain = (), *, writable: bool = True) -> Iterator[Path]:
        target = tmp_path / f"shown-{next(numbers)}"
        target.mkdir()
        host.mount(driver.mounts(id, chain, writable=writable), target)
        try:
            yield target
        finally:
            host.unmount(target)

    return show
