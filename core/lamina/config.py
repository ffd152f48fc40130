"""Settings from flags, ``LAMINA_*`` variables and ``lamina.toml``, in that order of strength, and texts made into typed options.

The file is the one that ``--config`` or ``LAMINA_CONFIG`` names, else the first that exists of
``$XDG_CONFIG_HOME/lamina/lamina.toml`` and ``/etc/lamina/lamina.toml``::

    root = "/srv/lamina"        # the store's directory
    driver = "overlay"          # or "auto"
    durability = "full"         # or "relaxed"
    loop = "20G"                # a new store's storage is made in a sparse file of this size
    format = "table"            # or "json"

    [options]                   # of the driver: see `lamina driver info NAME`
    [limits]                    # of what a foreign archive may ask for: the fields of lamina.diff.Limits
    entries = 1_000_000

The variables are ``LAMINA_ROOT``, ``LAMINA_DRIVER``, ``LAMINA_DURABILITY``, ``LAMINA_LOOP``, ``LAMINA_FORMAT``, and as
``name=value,name=value`` ``LAMINA_OPTIONS`` and ``LAMINA_LIMITS``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from lamina.errors import ConfigError
from lamina.model import Durability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lamina.driver import Driver

    Flags = Mapping[str, str | Iterable[str] | None]

T = TypeVar("T")
Setting = str | Durability | Mapping[str, str]

SYSTEM_FILE = Path("/etc/lamina/lamina.toml")
_NOTHING: Mapping[str, str] = MappingProxyType({})
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Format(StrEnum):
    """How the command line prints results."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What was asked for, by whichever means. Whether the driver and its options exist is for the store to say."""

    root: Path
    driver: str = "auto"
    #: Of the driver, as texts; :func:`parse_options` types them.
    options: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    durability: Durability = Durability.FULL
    #: Size, as :func:`parse_size` takes it, of a file to make a new store's storage in; empty for none.
    loop: str = ""
    format: Format = Format.TABLE
    #: Limits that differ from the defaults, as texts; :func:`parse_fields` types them.
    limits: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


SETTINGS = tuple(setting.name for setting in fields(Config))
_TABLES = frozenset({"options", "limits"})


def load(flags: Flags = MappingProxyType({}), environ: Mapping[str, str] = os.environ) -> Config:
    """Read every source and return what holds.

    ``flags`` has the names of :class:`Config`'s fields and ``config``; what is None or empty was not given, and tables are
    sequences of ``name=value``. Tables are merged name by name. Options belong to the driver beside which they stand: a stronger
    source that names another driver begins with none.

    Raises :class:`lamina.errors.ConfigError` for an unknown key, a wrong type, a malformed or missing file.
    """
    named = flags.get("config") or environ.get("LAMINA_CONFIG")
    merged: dict[str, Setting] = {}
    for source in (_from_file(named, environ), _from_variables(environ), _from_flags(flags)):
        if source.get("driver", merged.get("driver")) != merged.get("driver"):
            merged.pop("options", None)
        for key, value in source.items():
            weaker = merged.get(key)
            merged[key] = {**weaker, **value} if isinstance(value, Mapping) and isinstance(weaker, Mapping) else value
    merged.setdefault("root", str(default_root(environ)))
    return Config(
        root=Path(str(merged.pop("root"))).absolute(),
        **merged,  # type: ignore[arg-type]  # each value was typed by its key in _typed
    )


def default_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the store is unless somebody says otherwise: ``/var/lib/lamina`` for root, else below ``$XDG_DATA_HOME``."""
    if os.geteuid() == 0:
        return Path("/var/lib/lamina")
    return _xdg("XDG_DATA_HOME", ".local/share", environ) / "lamina"


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where to keep what can be made again: below ``$XDG_CACHE_HOME``."""
    return _xdg("XDG_CACHE_HOME", ".cache", environ) / "lamina"


def parse_options(driver: type[Driver], options: Mapping[str, str]) -> object:
    """Make the ``Options`` of ``driver`` from texts.

    Raises :class:`lamina.errors.ConfigError` for a name that the driver does not have and a value that is not of the field's type
    or that the class refuses (by a ``ValueError`` of its ``__post_init__``).
    """
    return parse_fields(driver.Options, options, lambda name: f"option {name!r} of driver {driver.name!r}")


def parse_fields(made: type[T], texts: Mapping[str, str], label: Callable[[str], str]) -> T:
    """Make the dataclass ``made`` from texts by its fields' types: str, int (also ``64K``, ``20G``, powers of 1024), bool, Path.

    ``label`` names a field for the error, a :class:`lamina.errors.ConfigError`.
    """
    known = {each.name: each for each in fields(made)}  # type: ignore[arg-type]  # T is a dataclass
    values: dict[str, object] = {}
    for name, text in texts.items():
        if name not in known:
            raise ConfigError(label(name), _unknown(name, known))
        kind = known[name].type
        values[name] = _value(text, kind if isinstance(kind, str) else kind.__name__, label(name))
    try:
        return made(**values)
    except ValueError as error:
        raise ConfigError(label(", ".join(texts)), str(error)) from error


def parse_size(text: str, label: str) -> int:
    """Make a whole number of a text such as ``4096``, ``64K`` or ``20G``, powers of 1024; ``label`` names it for the error, a
    :class:`lamina.errors.ConfigError`."""
    unit = _UNITS.get(text[-1:].upper(), 1)
    number = text[:-1] if unit > 1 else text
    try:
        return int(number) * unit
    except ValueError:
        raise ConfigError(label, f"{text!r} is no whole number: write one, such as 4096 or 64K") from None


def pairs(texts: Iterable[str], where: str) -> dict[str, str]:
    """Take ``name=value`` apart, the last of a name winning; ``where`` names the source for the error."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals):
            raise ConfigError(where, f"{text!r} has no value: write name=value")
        found[name.strip()] = value.strip()
    return found


def _from_flags(flags: Flags) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for key in SETTINGS:
        given = flags.get(key)
        if not given:
            continue
        flag = f"--{key.removesuffix('s')}" if key in _TABLES else f"--{key}"
        found[key] = _typed(key, given if isinstance(given, str) else pairs(given, flag), flag)
    return found


def _from_variables(environ: Mapping[str, str]) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for key in SETTINGS:
        name = f"LAMINA_{key.upper()}"
        if text := environ.get(name):
            found[key] = _typed(key, pairs(filter(None, text.split(",")), name) if key in _TABLES else text, name)
    return found


def _from_file(named: object, environ: Mapping[str, str]) -> dict[str, Setting]:
    places = (Path(str(named)),) if named else (_xdg("XDG_CONFIG_HOME", ".config", environ) / "lamina/lamina.toml", SYSTEM_FILE)
    for place in places:
        try:
            content = place.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return _parsed(place, content)
    if named:
        raise ConfigError("--config", f"{named} does not exist: name a file, or leave the option out")
    return {}


def _parsed(place: Path, content: bytes) -> dict[str, Setting]:
    import tomllib  # most runs have no file to read

    try:
        document = tomllib.loads(content.decode())
    except ValueError as error:  # both kinds: not UTF-8, not TOML
        raise ConfigError(str(place), f"not a TOML file: {error}") from error
    found: dict[str, Setting] = {}
    for key, value in document.items():
        where = f"{place}: {key}"
        if key not in SETTINGS:
            raise ConfigError(where, _unknown(key, SETTINGS))
        if key in _TABLES:
            if not isinstance(value, dict):
                raise ConfigError(where, f"must be a table, not {value!r}: write [{key}] and a line for each")
            found[key] = {name: _text(each, f"{place}: {key}.{name}") for name, each in value.items()}
        elif isinstance(value, str):
            found[key] = _typed(key, value, where)
        else:
            raise ConfigError(where, f"must be a text in quotes, not {value!r}")
        if key == "root" and not Path(str(found[key])).is_absolute():
            raise ConfigError(where, f"{value!r} is relative: write the whole path")
    return found


def _text(value: object, where: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | str):
        return str(value)
    raise ConfigError(where, f"must be a text, a whole number, true or false, not {value!r}")


def _typed(key: str, value: str | dict[str, str], where: str) -> Setting:
    if isinstance(value, dict):
        return value
    if key == "root":
        return str(Path(value).expanduser())
    choices = {"durability": Durability, "format": Format}.get(key)
    if choices is None:
        return value
    try:
        return choices(value)
    except ValueError:
        raise ConfigError(where, f"{value!r} is not one of {', '.join(choices)}") from None


def _value(text: str, kind: str, label: str) -> str | int | bool | Path:
    if kind == "int":
        return parse_size(text, label)
    if kind == "bool":
        try:
            return _TRUTH[text.lower()]
        except KeyError:
            raise ConfigError(label, f"{text!r} is neither true nor false") from None
    return Path(text) if kind == "Path" else text


def _unknown(name: str, known: Iterable[str]) -> str:
    import difflib  # nor a mistake to explain

    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"unknown: did you mean {near[0]!r}?" if near else f"unknown: known are {', '.join(names) or 'none'}"


def _xdg(variable: str, fallback: str, environ: Mapping[str, str]) -> Path:
    """A base directory; the specification has relative values ignored."""
    given = Path(environ.get(variable, ""))
    return given if given.is_absolute() else Path(environ.get("HOME") or Path.home()) / fallback
