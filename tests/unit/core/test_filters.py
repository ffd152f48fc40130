"""Filters mean what containerd's mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lamina.errors import ConfigError
from lamina.filters import compile_filters
from lamina.model import Kind, Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE = Snapshot(id=1, key="base", kind=Kind.COMMITTED, created=NOW, updated=NOW)
CHILD = Snapshot(
    id=2,
    key="c 1",
    kind=Kind.ACTIVE,
    parent="base",
    labels={"app": "web", "example.org/owner": "a,b", "empty": ""},
    created=NOW,
    updated=NOW,
)


def selected(*filters: str) -> list[str]:
    wanted = compile_filters(filters)
    return [snapshot.key for snapshot in (BASE, CHILD) if wanted(snapshot)]


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        ((), ["base", "c 1"]),
        (("kind==active",), ["c 1"]),
        (("kind!=active",), ["base"]),
        (("name==base",), ["base"]),
        (('name=="c 1"',), ["c 1"]),
        (("name == base",), ["base"]),
        (("name~=^b",), ["base"]),
        (("parent==base",), ["c 1"]),
        (('parent!=""',), ["c 1"]),
        (("parent",), ["c 1"]),
        (("labels.app",), ["c 1"]),
        (("labels.empty",), []),
        (("labels.app==web",), ["c 1"]),
        (("labels.app!=web",), ["base"]),
        (('labels."example.org/owner"=="a,b"',), ["c 1"]),
        (("kind==active,labels.app==web",), ["c 1"]),
        (("kind==active,labels.app==db",), []),
        (("kind==active", "name==base"), ["base", "c 1"]),
        (("name==nothing",), []),
    ],
)
def test_a_filter_selects(filters: tuple[str, ...], keys: list[str]) -> None:
    assert selected(*filters) == keys


@pytest.mark.parametrize(
    "text", ["size==1", "name==", "kind=active", "name~=(", "labels==x", "labels", ",", "==x", 'name=="open', "name.first==x"]
)
def test_what_cannot_be_read_is_refused_and_named(text: str) -> None:
    if text == "name==":  # a comparison with nothing is one
        assert selected(text) == []
        return

    with pytest.raises(ConfigError) as refusal:
        compile_filters([text])

    assert text.strip('"')[:4] in str(refusal.value)
