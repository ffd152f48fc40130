"""Filters over snapshots, with the grammar and meaning of containerd's
(https://github.com/containerd/containerd/blob/main/pkg/filters/filter.go).

One filter is a comma-separated list of conditions that must all hold; of several filters one must hold. A condition is a
field alone (it is set and not empty) or ``FIELD OPERATOR VALUE`` with ``==``, ``!=`` or ``~=`` (a regular expression found in
it). Fields are ``name``, ``kind``, ``parent`` and ``labels.NAME``; a name that holds other characters than letters, digits,
``_``, ``-`` and ``/`` is quoted: ``labels."containerd.io/gc.root"``. Values may be quoted the same way, with JSON's escapes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from lamina.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lamina.model import Snapshot

    Predicate = Callable[[Snapshot], bool]

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_CONDITION = re.compile(
    rf"\s*(?P<field>[a-z]+)(?:\.(?P<label>{_QUOTED}|[\w/.-]+))?\s*(?:(?P<operator>==|!=|~=)\s*(?P<value>{_QUOTED}|[^,\"]*))?\s*(?:,|$)"
)


def compile_filters(filters: Sequence[str]) -> Predicate:
    """Return the predicate that ``filters`` describe; no filter at all lets everything through.

    Raises :class:`ConfigError` for a filter that cannot be read.
    """
    alternatives = [_conjunction(text) for text in filters]
    if not alternatives:
        return lambda _snapshot: True
    return lambda snapshot: any(alternative(snapshot) for alternative in alternatives)


def _conjunction(text: str) -> Predicate:
    conditions: list[Predicate] = []
    position = 0
    while position < len(text):
        match = _CONDITION.match(text, position)
        if match is None or match.end() == position:
            raise ConfigError("filter", f"cannot read {text[position:]!r} in {text!r}; write for example kind==active,labels.app")
        conditions.append(_condition(match, text))
        position = match.end()
    return lambda snapshot: all(condition(snapshot) for condition in conditions)


def _condition(match: re.Match[str], text: str) -> Predicate:
    field = _field(match["field"], match["label"], text)
    operator, value = match["operator"], _plain(match["value"] or "", text)
    if operator is None:
        return lambda snapshot: bool(field(snapshot))
    if operator == "==":
        return lambda snapshot: field(snapshot) == value
    if operator == "!=":
        return lambda snapshot: field(snapshot) != value
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise ConfigError("filter", f"{value!r} in {text!r} is no regular expression: {error}") from error
    return lambda snapshot: pattern.search(field(snapshot) or "") is not None


def _field(name: str, label: str | None, text: str) -> Callable[[Snapshot], str | None]:
    if name == "labels" and label is not None:
        key = _plain(label, text)
        return lambda snapshot: snapshot.labels.get(key)
    if label is None and name in ("name", "kind", "parent"):
        attribute = "key" if name == "name" else name
        return lambda snapshot: str(getattr(snapshot, attribute))
    raise ConfigError("filter", f"no field {name!r} in {text!r}: there are name, kind, parent and labels.NAME")


def _plain(value: str, text: str) -> str:
    if not value.startswith('"'):
        return value.strip()
    try:
        return str(json.loads(value))
    except ValueError as error:
        raise ConfigError("filter", f"cannot read the quoted {value} in {text!r}") from error
