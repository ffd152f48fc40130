"""JSON documents from outside, read so that no other reader can read them differently.

Python's own reader takes UTF-16, keeps the last of duplicate members, and accepts NaN; Go's matches the names of members without
regard to case. A manifest that means one thing here and another there is a known attack (CVE-2021-41190 is one of several),
so whatever is ambiguous is refused.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from lamina.errors import LimitExceededError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.diff.limits import Limits


def read_json(data: bytes, where: str, limits: Limits) -> object:
    """Return the value that ``data`` holds; ``where`` names the document in errors.

    Raises :class:`ManifestError` for what is not strict JSON in UTF-8 without duplicate members, and
    :class:`LimitExceededError` for deep nesting. The size of ``data`` is for the caller to limit, before reading it.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ManifestError(where, "is not UTF-8") from error
    except RecursionError as error:
        raise LimitExceededError(where, "json_depth", limits.json_depth) from error
    except ValueError as error:  # JSONDecodeError, _unique's, and a number of more digits than int() takes
        raise ManifestError(where, f"is not strict JSON: {error}") from error
    _inspect(value, where, limits.json_depth)
    return value


def write_json(value: object) -> bytes:
    """Return ``value`` as compact UTF-8 JSON; members keep their order, so equal values give equal bytes."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class Fields:
    """The members of one JSON object, taken out by name and type; ``null`` counts as absent, as Go writes empty slices.

    ``known`` are the names that the specification gives a meaning. Others are ignored, unless they differ from a known one in
    case only: some readers would then take the one, some the other.
    """

    __slots__ = ("_where", "members")

    def __init__(self, value: object, where: str, known: Mapping[str, str]) -> None:
        if not isinstance(value, dict):
            raise ManifestError(where, f"should be an object, not {_kind(value)}")
        for name in value:
            if known.get(name.casefold(), name) != name:
                raise ManifestError(where, f"has a member {name!r} which some take for {known[name.casefold()]!r}")
        #: All of them, unknown ones too.
        self.members: Mapping[str, object] = value
        self._where = where

    def __contains__(self, name: str) -> bool:
        return self.members.get(name) is not None

    def raw(self, name: str) -> object:
        """Return the member as it is; None when absent."""
        return self.members.get(name)

    def text(self, name: str) -> str:
        """Return a string; empty when absent."""
        value = self.members.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._unexpected(name, "a string", value)
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean; False when absent."""
        value = self.members.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._unexpected(name, "true or false", value)
        return value

    def number(self, name: str, limit: int) -> int:
        """Return an integer between 0 and ``limit``; being absent is an error."""
        value = self.members.get(name)
        if type(value) is not int:  # a bool is an int in Python
            raise self._unexpected(name, "an integer", value)
        if not 0 <= value <= limit:
            raise ManifestError(self._where, f"{name!r} should be between 0 and {limit}, not {value}")
        return value

    def values(self, name: str) -> list[object]:
        """Return an array; empty when absent."""
        value = self.members.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._unexpected(name, "an array", value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of strings; empty when absent."""
        found = []
        for value in self.values(name):
            if not isinstance(value, str):
                raise self._unexpected(name, "an array of strings", value)
            found.append(value)
        return tuple(found)

    def mapping(self, name: str) -> dict[str, str]:
        """Return an object of strings; empty when absent."""
        found = {}
        for key, value in self._object(name).items():
            if not isinstance(value, str):
                raise self._unexpected(name, "an object of strings", value)
            found[key] = value
        return found

    def names(self, name: str) -> tuple[str, ...]:
        """Return the names of an object whose values say nothing (Go's ``map[string]struct{}``); empty when absent."""
        return tuple(self._object(name))

    def _object(self, name: str) -> dict[str, object]:
        value = self.members.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._unexpected(name, "an object", value)
        return value

    def _unexpected(self, name: str, wanted: str, found: object) -> ManifestError:
        return ManifestError(self._where, f"{name!r} should be {wanted}, not {_kind(found)}")


def known_names(*names: str) -> dict[str, str]:
    """Return ``names`` in the form that :class:`Fields` compares with."""
    return {name.casefold(): name for name in names}


def _kind(value: object) -> str:
    if value is None:
        return "absent"
    kinds = {bool: "a boolean", int: "an integer", float: "a fraction", str: "a string", list: "an array", dict: "an object"}
    return kinds[type(value)]


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the member {twice!r} occurs twice")
    return members


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _inspect(value: object, where: str, allowed: int) -> None:
    """Refuse deep nesting, and strings that no UTF-8 can hold (a surrogate written as an escape)."""
    todo = [(value, 1)]
    while todo:
        item, depth = todo.pop()
        if isinstance(item, (dict, list)) and depth > allowed:
            raise LimitExceededError(where, "json_depth", allowed)
        if isinstance(item, dict):
            todo += [(name, depth) for name in item]
            todo += [(member, depth + 1) for member in item.values()]
        elif isinstance(item, list):
            todo += [(member, depth + 1) for member in item]
        elif isinstance(item, str) and not item.isascii():
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise ManifestError(where, "holds half of a surrogate pair") from error
