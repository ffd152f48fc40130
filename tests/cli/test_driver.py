"""`lamina driver` on plugins that are made up here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from click.testing import CliRunner, Result

from lamina.cli import cli
from lamina.cli.session import Session
from lamina.driver import Chain, Check, Driver, ProbeReport, StoredObject
from lamina.errors import DriverUnavailableError
from lamina.hooks import hookimpl
from lamina.model import Capability, Mount, Usage
from lamina.plugins import Plugins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.hooks import DriverRegister
    from lamina.host import Host


@dataclass(frozen=True)
class Pool:
    pool: str = field(default="tank", metadata={"help": "where it keeps things"})


class PoolDriver(Driver):
    name = "pool"
    summary = "keeps things in a pool"
    capabilities = frozenset({Capability.SHARED_DATA})
    Options = Pool

    @classmethod
    def probe(cls, host: Host, root: Path, options: object) -> ProbeReport:
        assert isinstance(options, Pool)
        there = Check("pool is there", options.pool == "lake", f"looked for {options.pool}", "make one with mkpool")
        return ProbeReport(cls.name, (Check("water", ok=True, evidence="it is wet"), there))

    def prepare(self, id: int, chain: Chain) -> None:
        raise NotImplementedError

    def mounts(self, id: int, chain: Chain, *, writable: bool) -> tuple[Mount, ...]:
        raise NotImplementedError

    def commit(self, id: int, chain: Chain, *, durable: bool) -> None:
        raise NotImplementedError

    def remove(self, id: int) -> None:
        raise NotImplementedError

    def usage(self, id: int, chain: Chain) -> Usage:
        raise NotImplementedError

    def objects(self) -> Iterator[StoredObject]:
        raise NotImplementedError


class PoolPlugin:
    @hookimpl
    def lamina_register_drivers(self, register: DriverRegister) -> None:
        register.add(PoolDriver)


class BrokenPlugin:
    @hookimpl
    def lamina_register_drivers(self, register: DriverRegister) -> None:
        raise RuntimeError("no lifeguard")


def run(*words: str) -> Result:
    """Run a command in a world of one driver and one broken plugin."""
    session = Session()
    session.plugins = Plugins()
    session.plugins.register(PoolPlugin(), "pool", "acme-pool")
    session.plugins.register(BrokenPlugin(), "beach", "acme-beach")
    return CliRunner().invoke(cli, ["--config=/dev/null", *words], obj=session)


def test_a_list_tells_what_keeps_a_driver_and_a_plugin_from_running() -> None:
    assert run("driver", "list").stdout.splitlines() == [
        "DRIVER  RUNS  FROM        ABOUT",
        "pool    no    acme-pool   pool is there: looked for tank",
        "beach   no    acme-beach  broken plugin: no lifeguard",
    ]


def test_a_list_tells_what_a_driver_is_that_runs() -> None:
    found = json.loads(run("--driver=pool", "--option=pool=lake", "--format=json", "driver", "list").stdout)

    assert found[0] == {
        "name": "pool",
        "distribution": "acme-pool",
        "runs": True,
        "about": "keeps things in a pool",
        "capabilities": ["shared-data"],
    }


def test_a_probe_tells_the_evidence_and_the_cure_and_ends_with_the_errors_code() -> None:
    ended = run("driver", "probe", "pool")

    assert ended.stdout.splitlines() == [
        "- pool  cannot run here",
        "  - ok       water  it is wet",
        "  - fails    pool is there  looked for tank",
        "    - cure: make one with mkpool",
    ]
    assert isinstance(ended.exception, DriverUnavailableError)
    assert str(ended.exception) == "driver 'pool' cannot run here: pool is there: looked for tank; make one with mkpool"


def test_a_probe_takes_the_options_that_are_meant_for_the_driver() -> None:
    assert run("--driver=pool", "driver", "probe", "pool", "--option", "pool=lake").exit_code == 0


def test_a_probe_of_all_says_what_auto_takes() -> None:
    ended = run("driver", "probe", "--driver", "pool", "--option", "pool=lake")

    assert ended.stdout.splitlines()[-1] == "auto takes pool for a new store: the first that runs, of pool"


def test_an_option_that_the_driver_does_not_have_is_refused() -> None:
    ended = run("--driver=pool", "--option=pol=lake", "driver", "probe", "pool")

    assert str(ended.exception) == "option 'pol' of driver 'pool': unknown: did you mean 'pool'?"


def test_info_shows_the_options_with_their_help() -> None:
    assert run("driver", "info", "pool").stdout.splitlines()[-1] == "options       pool=tank  (str) where it keeps things"
