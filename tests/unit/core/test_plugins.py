"""Plugins: taken in, kept apart when broken, asked in order."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from lamina.driver import Check, Driver, ProbeReport
from lamina.errors import DriverConflictError, DriverNotFoundError, DriverUnavailableError, PluginError
from lamina.hooks import hookimpl
from lamina.plugins import Plugins, load

if TYPE_CHECKING:
    from collections.abc import Generator

    from lamina.hooks import DriverRegister


def driver(name: str, *, preference: int = 100, works: bool = True) -> type[Driver]:
    """Make a driver class that can only be registered and probed."""

    def probe(_cls: type[Driver], _host: object, _root: Path, _options: object) -> ProbeReport:
        return ProbeReport(name, (Check("a kernel", works, "asked it", "" if works else "get one"),))

    return type(name, (Driver,), {"name": name, "summary": "", "preference": preference, "probe": classmethod(probe)})


def bringing(*drivers: type[Driver]) -> object:
    class Plugin:
        @hookimpl
        def lamina_register_drivers(self, register: DriverRegister) -> None:
            for each in drivers:
                register.add(each)

    return Plugin()


def choose(plugins: Plugins) -> str:
    return plugins.choose(SimpleNamespace(), Path("/"), dict.fromkeys(plugins.drivers)).driver


def test_the_built_in_drivers_arrive_through_the_entry_points() -> None:
    plugins = load()

    assert {"overlay", "vfs"} <= set(plugins.drivers)
    assert plugins.distribution("overlay") == "lamina"
    assert plugins.broken == ()


def test_a_plugin_that_raises_is_kept_apart_and_the_rest_works() -> None:
    class Raising:
        @hookimpl
        def lamina_register_drivers(self) -> None:
            raise RuntimeError("no libfoo")

    plugins = Plugins()
    plugins.register(Raising(), "foo", "foo-dist")
    plugins.register(bringing(driver("good")), "good", "good-dist")

    assert list(plugins.drivers) == ["good"]
    assert [(broken.name, broken.distribution, str(broken.error)) for broken in plugins.broken] == [
        ("foo", "foo-dist", "no libfoo")
    ]


def test_asking_for_the_driver_of_a_broken_plugin_tells_its_error() -> None:
    class Raising:
        @hookimpl
        def lamina_register_drivers(self) -> None:
            raise RuntimeError("no libfoo")

    plugins = Plugins()
    plugins.register(Raising(), "foo", "foo-dist")

    with pytest.raises(DriverNotFoundError, match="foo-dist: no libfoo"):
        plugins.driver("foo")


def test_a_misspelt_hook_is_kept_apart() -> None:
    class Misspelt:
        @hookimpl
        def lamina_register_driver(self) -> None: ...

    plugins = Plugins()
    plugins.register(Misspelt(), "typo", "typo-dist")

    assert "lamina_register_driver" in str(plugins.broken[0].error)


def test_a_second_answer_to_a_layer_operation_is_kept_apart() -> None:
    class Usurper:
        @hookimpl
        def lamina_layer_prepare(self, snapshot: object) -> object:
            return snapshot

    plugins = Plugins()
    plugins.register(Usurper(), "usurper", "dist")

    assert isinstance(plugins.broken[0].error, PluginError)
    assert "wrapper=True" in str(plugins.broken[0].error)


def test_a_wrapper_of_a_layer_operation_is_taken() -> None:
    class Wrapper:
        @hookimpl(wrapper=True)
        def lamina_layer_prepare(self) -> Generator[None, object, object]:
            return (yield)

    plugins = Plugins()
    plugins.register(Wrapper(), "wrapper", "dist")

    assert plugins.broken == ()


def test_two_drivers_of_one_name_name_both_distributions() -> None:
    plugins = Plugins()
    plugins.register(bringing(driver("twin")), "a", "dist-a")
    plugins.register(bringing(driver("twin")), "b", "dist-b")

    error = plugins.broken[0].error
    assert isinstance(error, DriverConflictError)
    assert "dist-a" in str(error)
    assert "dist-b" in str(error)
    assert plugins.distribution("twin") == "dist-a"


def test_auto_takes_the_most_preferred_driver_that_works() -> None:
    plugins = Plugins()
    plugins.register(
        bringing(driver("last", preference=90), driver("best", preference=1, works=False), driver("good", preference=5)), "p", "d"
    )

    assert choose(plugins) == "good"


def test_auto_without_any_that_works_says_why() -> None:
    plugins = Plugins()
    plugins.register(bringing(driver("only", works=False)), "p", "d")

    with pytest.raises(DriverUnavailableError, match="only: asked it"):
        choose(plugins)


def test_a_site_policy_chooses_first() -> None:
    class Policy:
        @hookimpl
        def lamina_choose_driver(self, candidates: tuple[str, ...]) -> str:
            return candidates[-1]

    plugins = Plugins()
    plugins.register(bringing(driver("best", preference=1), driver("last", preference=9)), "p", "d")
    plugins.register(Policy(), "policy", "d")

    assert choose(plugins) == "last"


def test_a_policy_that_chooses_what_does_not_exist_is_an_error() -> None:
    class Policy:
        @hookimpl
        def lamina_choose_driver(self) -> str:
            return "moon"

    plugins = Plugins()
    plugins.register(Policy(), "policy", "d")

    with pytest.raises(PluginError, match="moon"):
        choose(plugins)
