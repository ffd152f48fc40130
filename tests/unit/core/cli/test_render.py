from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from lamina.cli import render
from lamina.cli.render import Column, Line
from lamina.config import Format
from lamina.model import Change, ChangeKind, Kind, Mount, Snapshot


@dataclass(frozen=True)
class Tool:
    name: str
    weight: int
    secret: str = field(default="", repr=False)


TOOLS = (Tool("hammer", 1200), Tool("pin", 3))
COLUMNS: tuple[Column[Tool], ...] = (
    Column("NAME", lambda tool: tool.name),
    Column("GRAMS", lambda tool: str(tool.weight), right=True),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_in_a_pipe_is_aligned_text_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(Format.TABLE, TOOLS, COLUMNS, empty="no tools")

    assert capsys.readouterr().out == "NAME    GRAMS\nhammer   1200\npin         3\n"


def test_an_empty_table_says_so_on_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(Format.TABLE, (), COLUMNS, empty="no tools")

    assert capsys.readouterr() == ("", "no tools\n")


def test_an_empty_table_is_an_empty_list_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(Format.JSON, (), COLUMNS, empty="no tools")

    assert capsys.readouterr() == ("[]\n", "")


def test_json_prints_every_field_but_those_kept_out_of_the_repr(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(Format.JSON, TOOLS, COLUMNS, empty="no tools")

    assert json.loads(capsys.readouterr().out) == [{"name": "hammer", "weight": 1200}, {"name": "pin", "weight": 3}]


def test_json_has_a_form_for_every_type_of_the_model() -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    snapshot = Snapshot(id=7, key="a", kind=Kind.ACTIVE, labels=MappingProxyType({"l": "v"}), created=moment, updated=moment)

    assert render.plain((snapshot, Mount("bind", "/a", ("ro",)), Change(b"caf\xc3\xa9/\xff", ChangeKind.ADDED), Path("/x"))) == [
        {
            "id": 7,
            "key": "a",
            "kind": "active",
            "parent": "",
            "labels": {"l": "v"},
            "created": "2026-03-01T12:00:00+00:00",
            "updated": "2026-03-01T12:00:00+00:00",
            "diff_id": "",
        },
        {"type": "bind", "source": "/a", "options": ["ro"]},
        {"path": "café/\udcff", "kind": "added"},
        "/x",
    ]


def test_json_of_bytes_that_are_no_utf8_can_be_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    render.json([b"\xff\n"])

    assert json.loads(capsys.readouterr().out)[0].encode(errors="surrogateescape") == b"\xff\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é", "plain é"),
        ("a\nb", "a\\nb"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("abc\u202etxt", "abc\\u202etxt"),
        (b"\xff\xc3\xa9", "\\xffé"),
    ],
)
def test_nothing_that_is_printed_acts_on_the_terminal(text: str | bytes, expected: str) -> None:
    assert render.printable(text) == expected


def test_names_with_control_characters_keep_a_table_in_shape(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(Format.TABLE, [Tool("a\nb", 1)], COLUMNS, empty="")

    assert capsys.readouterr().out.splitlines() == ["NAME  GRAMS", "a\\nb      1"]


STACK = (Line("base", "12 MiB"), Line("tools", joined=True), Line("web", depth=1), Line("db", depth=1), Line("other"))


def test_a_tree_in_a_pipe_is_indented_text(capsys: pytest.CaptureFixture[str]) -> None:
    render.tree(Format.TABLE, None, STACK, empty="")

    assert capsys.readouterr().out == "- base  12 MiB\n  tools\n  - web\n  - db\n- other\n"


def test_a_tree_on_a_terminal_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")

    render.tree(Format.TABLE, None, STACK, empty="")

    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert [line.rstrip() for line in lines] == ["base  12 MiB", "tools", "├── web", "└── db", "other"]


def test_a_stack_of_a_thousand_lines_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)

    render.tree(Format.TABLE, None, [Line(str(number), joined=number > 0) for number in range(1000)], empty="")

    assert "999" in terminal.getvalue()


def test_changes_are_a_letter_and_a_path_from_the_root(capsys: pytest.CaptureFixture[str]) -> None:
    render.changes(
        Format.TABLE, [Change(b".", ChangeKind.MODIFIED), Change(b"a\n", ChangeKind.ADDED), Change(b"b", ChangeKind.DELETED)]
    )

    assert capsys.readouterr().out == "M /\nA /a\\n\nD /b\n"


def test_a_record_aligns_its_values_and_their_further_lines(capsys: pytest.CaptureFixture[str]) -> None:
    render.record(Format.TABLE, None, [("a", "1"), ("long", "first\nsecond")])

    assert capsys.readouterr().out == "a     1\nlong  first\n      second\n"


def test_a_terminal_gets_a_drawn_table_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm-256color")

    columns = (*COLUMNS, Column("TEXT", lambda _tool: "many words that do not fit on one line", wrap=True))
    render.table(Format.TABLE, TOOLS, columns, empty="")

    assert "\x1b[1m" in terminal.getvalue()
    assert "hammer" in terminal.getvalue()


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (102_350, "100 KiB"),
        (1_023_999, "1.0 MiB"),
        (170_401_280, "163 MiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_sizes_have_at_most_four_digits(count: int, expected: str) -> None:
    assert render.size(count) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sha256:" + "0123456789abcdef" * 4, "0123456789ab"),
        ("container/" + "0123456789abcdef" * 2, "container/0123456789ab"),
        ("work", "work"),
        ("sha256:short", "sha256:short"),
        ("k8s.io/" + "z" * 32, "k8s.io/" + "z" * 32),
    ],
)
def test_digests_and_numbers_are_shortened_and_other_keys_are_not(key: str, expected: str) -> None:
    assert render.short(key) == expected


def test_times_are_local_to_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 999, tzinfo=UTC)

    assert render.when(moment) == f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
    assert render.when(moment + timedelta(seconds=1)) != render.when(moment)


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_stay_away_where_they_are_not_wanted(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert render.coloured(Terminal())

    monkeypatch.setenv(variable, value)

    assert not render.coloured(Terminal())
    assert not render.coloured(io.StringIO())
