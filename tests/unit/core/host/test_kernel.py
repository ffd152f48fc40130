from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from lamina.host import Host
from lamina.host.kernel import KernelHost

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", [name for name in vars(Host) if not name.startswith("_")])
def test_what_drivers_may_ask_for_takes_the_promised_arguments(name: str) -> None:
    promised = list(inspect.signature(getattr(Host, name)).parameters.values())[1:]
    offered = list(inspect.signature(getattr(KernelHost, name)).parameters.values())

    assert [(p.name, p.kind, p.default) for p in offered[: len(promised)]] == [(p.name, p.kind, p.default) for p in promised]
    assert all(p.default is not p.empty for p in offered[len(promised) :])


def test_a_host_has_no_state_of_its_own(tmp_path: Path) -> None:
    host: Host = KernelHost()

    (tmp_path / "a").mkdir()
    host.copy_tree(tmp_path / "a", tmp_path / "b")
    host.remove_tree(tmp_path / "a")

    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert host.run(["true"]).stdout == ""
