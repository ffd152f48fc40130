from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina import config
from lamina.config import Config, Format
from lamina.driver import Driver
from lamina.errors import ConfigError
from lamina.model import Durability

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Pool:
    """A driver's options, one of each type."""

    name: str = "pool"
    blocks: int = 0
    sparse: bool = False
    place: Path = field(default=Path("/"), metadata={"help": "where"})

    def __post_init__(self) -> None:
        if self.blocks < 0:
            raise ValueError("blocks cannot be negative")


class PoolDriver(Driver):
    """Declarations only: nothing here makes one."""

    name = "pool"
    Options = Pool


def written(folder: Path, text: str) -> Mapping[str, str]:
    """Put a configuration where the variables that are returned lead to it."""
    (folder / "lamina").mkdir()
    (folder / "lamina/lamina.toml").write_text(text)
    return {"XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}


@pytest.fixture(autouse=True)
def _no_system_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "SYSTEM_FILE", tmp_path / "etc/lamina.toml")


def test_without_any_source_the_defaults_hold(tmp_path: Path) -> None:
    found = config.load({}, {"HOME": str(tmp_path)})

    assert found == Config(root=config.default_root({"HOME": str(tmp_path)}))
    assert (found.driver, found.durability, found.format) == ("auto", Durability.FULL, Format.TABLE)


def test_root_keeps_its_store_in_var_lib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert config.default_root({}) == Path("/var/lib/lamina")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/home/u"}, "/home/u/.local/share/lamina"),
        ({"HOME": "/home/u", "XDG_DATA_HOME": "/data"}, "/data/lamina"),
        ({"HOME": "/home/u", "XDG_DATA_HOME": "relative"}, "/home/u/.local/share/lamina"),
    ],
)
def test_others_keep_it_where_the_base_directory_specification_says(
    environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert config.default_root(environ) == Path(expected)


def test_every_key_of_the_file_is_understood(tmp_path: Path) -> None:
    environ = written(
        tmp_path,
        """
        root = "/srv/lamina"
        driver = "pool"
        durability = "relaxed"
        format = "json"
        [options]
        blocks = 64
        sparse = true
        [limits]
        entries = 1_000
        """,
    )

    found = config.load({}, environ)

    assert found == Config(
        root=Path("/srv/lamina"),
        driver="pool",
        options={"blocks": "64", "sparse": "true"},
        durability=Durability.RELAXED,
        format=Format.JSON,
        limits={"entries": "1000"},
    )


def test_a_flag_beats_a_variable_beats_the_file(tmp_path: Path) -> None:
    environ = {
        **written(tmp_path, 'root = "/file"\ndurability = "relaxed"\nformat = "json"'),
        "LAMINA_ROOT": "/variable",
        "LAMINA_FORMAT": "table",
    }

    found = config.load({"root": "/flag"}, environ)

    assert (found.root, found.format, found.durability) == (Path("/flag"), Format.TABLE, Durability.RELAXED)


def test_tables_of_all_sources_are_merged_name_by_name(tmp_path: Path) -> None:
    environ = {**written(tmp_path, "[limits]\nentries = 1\ndepth = 2"), "LAMINA_LIMITS": "depth=3,ratio=4"}

    found = config.load({"limits": ("ratio=5",)}, environ)

    assert found.limits == {"entries": "1", "depth": "3", "ratio": "5"}


def test_options_do_not_follow_to_a_driver_named_by_a_stronger_source(tmp_path: Path) -> None:
    environ = written(tmp_path, 'driver = "pool"\n[options]\nblocks = 64')

    assert config.load({"driver": "vfs"}, environ).options == {}
    assert config.load({"driver": "pool"}, environ).options == {"blocks": "64"}
    assert config.load({"driver": "vfs", "options": ("a=b",)}, environ).options == {"a": "b"}


def test_the_users_file_is_taken_before_the_systems(tmp_path: Path) -> None:
    config.SYSTEM_FILE.parent.mkdir()
    config.SYSTEM_FILE.write_text('root = "/system"\ndurability = "relaxed"')

    without = config.load({}, {"HOME": str(tmp_path)})
    found = config.load({}, written(tmp_path, 'root = "/user"'))

    assert without.root == Path("/system")
    assert (found.root, found.durability) == (Path("/user"), Durability.FULL)


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_named_file_is_read_instead_of_the_usual_ones(by: str, tmp_path: Path) -> None:
    environ = dict(written(tmp_path, 'root = "/usual"'))
    named = tmp_path / "other.toml"
    named.write_text('root = "/named"')

    found = (
        config.load({"config": str(named)}, environ)
        if by == "flag"
        else config.load({}, {**environ, "LAMINA_CONFIG": str(named)})
    )

    assert found.root == Path("/named")


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config: .*nowhere\.toml does not exist"):
        config.load({"config": str(tmp_path / "nowhere.toml")}, {})


def test_a_relative_root_of_a_flag_is_relative_to_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert config.load({"root": "store"}, {}).root == tmp_path / "store"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drvier = 'vfs'", "drvier: unknown: did you mean 'driver'?"),
        ("colour = 'red'", "colour: unknown: known are driver, durability, format, limits, loop, options, root"),
        ("driver = 1", "driver: must be a text in quotes, not 1"),
        ("root = 'srv'", "root: 'srv' is relative: write the whole path"),
        ("format = 'yaml'", "format: 'yaml' is not one of table, json"),
        ("durability = 'none'", "durability: 'none' is not one of full, relaxed"),
        ("options = 'a=b'", r"options: must be a table, not 'a=b': write [options] and a line for each"),
        ("[options]\nx = [1]", "options.x: must be a text, a whole number, true or false, not [1]"),
        ("driver =", "not a TOML file: Invalid value (at end of document)"),
    ],
)
def test_a_mistake_in_the_file_names_file_key_and_cure(text: str, message: str, tmp_path: Path) -> None:
    environ = written(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        config.load({}, environ)

    assert str(caught.value).startswith(f"{tmp_path}/lamina/lamina.toml: ")
    assert str(caught.value).endswith(message)


def test_a_mistake_in_a_variable_names_the_variable() -> None:
    with pytest.raises(ConfigError, match="LAMINA_OPTIONS: 'blocks' has no value: write name=value"):
        config.load({}, {"LAMINA_OPTIONS": "blocks"})


def test_a_mistake_in_a_flag_names_the_flag() -> None:
    with pytest.raises(ConfigError, match="--option: '=4' has no value: write name=value"):
        config.load({"options": ("=4",)}, {})


def test_options_take_the_types_of_their_fields() -> None:
    made = config.parse_options(PoolDriver, {"name": "p", "blocks": "64K", "sparse": "yes", "place": "/srv"})  # type: ignore[type-abstract]

    assert made == Pool(name="p", blocks=65536, sparse=True, place=Path("/srv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": "1"}, "option 'block' of driver 'pool': unknown: did you mean 'blocks'?"),
        ({"blocks": "many"}, "option 'blocks' of driver 'pool': 'many' is no whole number: write one, such as 4096 or 64K"),
        ({"sparse": "perhaps"}, "option 'sparse' of driver 'pool': 'perhaps' is neither true nor false"),
        ({"blocks": "-1"}, "option 'blocks' of driver 'pool': blocks cannot be negative"),
    ],
)
def test_an_option_that_cannot_be_taken_is_named_with_its_driver(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_options(PoolDriver, options)  # type: ignore[type-abstract]

    assert str(caught.value) == message
