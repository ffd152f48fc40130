"""How results look: tables and trees for people, JSON of the very values for programs.

On a terminal rich draws; in a pipe the same columns are plain text, without colours, boxes or cut words. Text that came from
images, archives or trees goes through :func:`printable`, so that no name can act on the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from string import hexdigits
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

from lamina.config import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from rich.console import Console

    from lamina.model import Change

T = TypeVar("T")
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table."""

    title: str
    text: Callable[[T], str]
    #: Numbers stand at the right.
    right: bool = False
    #: Long text that may wrap on a narrow terminal; other columns keep their width.
    wrap: bool = False
    #: A rich style for a cell, on terminals.
    style: Callable[[T], str] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a drawn tree. Trees are flat here: layers may stand on each other deeper than Python likes to recurse."""

    text: str
    #: Said after the text, less loudly.
    note: str = ""
    depth: int = 0
    style: str = ""
    #: Continues the node of the line before, as a stack does, instead of beginning one.
    joined: bool = False


def table(form: Format, rows: Iterable[T], columns: Sequence[Column[T]], *, empty: str) -> None:
    """Print rows; ``empty`` is what a person is told, on stderr, when there are none."""
    found = list(rows)
    if form is Format.JSON:
        json(found)
    elif not found:
        print(empty, file=sys.stderr)
    elif sys.stdout.isatty():
        _draw_table(found, columns)
    else:
        cells = [[column.title for column in columns], *([printable(column.text(row)) for column in columns] for row in found)]
        _print_columns(cells, [column.right for column in columns])


def record(form: Format, value: object, lines: Sequence[tuple[str, str]]) -> None:
    """Print one value: ``lines`` of name and text for people, all of it as JSON."""
    if form is Format.JSON:
        json(value)
        return
    width = max((len(name) for name, _ in lines), default=0)
    bold, plain = ("\x1b[1m", "\x1b[0m") if coloured(sys.stdout) else ("", "")
    for name, text in lines:
        first, *others = text.split("\n")
        print(f"{bold}{name:{width}}{plain}  {printable(first)}".rstrip())
        for line in others:
            print(f"{'':{width}}  {printable(line)}".rstrip())


def one(form: Format, value: object, text: str) -> None:
    """Print the one thing that a script wants, alone; as JSON, ``value``."""
    if form is Format.JSON:
        json(value)
    else:
        print(text)


def tree(form: Format, value: object, lines: Sequence[Line], *, empty: str) -> None:
    """Print trees; as JSON, ``value``."""
    if form is Format.JSON:
        json(value)
    elif not lines:
        print(empty, file=sys.stderr)
    elif sys.stdout.isatty():
        _draw_trees(lines)
    else:
        for line in lines:
            mark = " " if line.joined else "-"
            print(f"{'  ' * line.depth}{mark} {printable(line.text)}  {printable(line.note)}".rstrip())


def changes(form: Format, found: Iterable[Change]) -> None:
    """Print changes as they come: a letter for the kind, and the path from the root of the tree."""
    if form is Format.JSON:
        json(list(found))
        return
    for each in found:
        print(change(each))


def change(found: Change) -> str:
    """Return a change as one line."""
    path = b"" if found.path == b"." else found.path
    return f"{found.kind[0].upper()} /{printable(path)}"


def json(value: object) -> None:
    """Print what ``value`` holds: dataclasses field by field (but those that they keep out of their own repr), times as ISO 8601,
    bytes as text, with those that are not UTF-8 as Python spells them (U+DC80 to U+DCFF)."""
    from json import dumps

    print(dumps(plain(value), indent=2))


def plain(value: object) -> object:
    """Return ``value`` in the types that JSON has."""
    if isinstance(value, str):
        return str(value)  # a StrEnum as its text
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(str(plain(each)) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.repr}
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat else str(value)


def printable(text: str | bytes) -> str:
    """Return ``text`` with everything that would move the cursor, hide or reorder text, spelled out."""
    if isinstance(text, bytes):
        text = text.decode(errors="surrogateescape")
    return text if text.isprintable() else "".join(_spelled(each) for each in text)


def size(count: int) -> str:
    """Return bytes in the unit that leaves at most four digits."""
    if count < 1000:
        return f"{count} B"
    scaled = float(count)
    for unit in _UNITS:
        scaled /= 1024
        if scaled < 999.5 or unit == _UNITS[-1]:
            break
    return f"{scaled:.0f} {unit}" if scaled >= 99.95 else f"{scaled:.1f} {unit}"


def when(moment: datetime) -> str:
    """Return a moment in local time, to the second."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def short(key: str) -> str:
    """Return a key with no more of the digest or number that it ends in than people compare."""
    head, mark, digits = key.rpartition("/") if "/" in key else key.rpartition(":")
    if len(digits) not in (32, 64) or set(digits) - set(hexdigits):
        return key
    return digits[:12] if mark == ":" else f"{head}{mark}{digits[:12]}"


def coloured(stream: object) -> bool:
    """Whether escape sequences are welcome: a terminal, and no https://no-color.org."""
    import os

    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def console(*, stderr: bool = False) -> Console:
    """Return rich's drawing board, which takes text as it is: no markup, no emoji, no guessed highlights."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def _draw_table(rows: Sequence[T], columns: Sequence[Column[T]]) -> None:
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.right else "left"
        # A number that was cut must not look like another one.
        overflow: Literal["fold", "ellipsis"] = "fold" if column.wrap else "ellipsis"
        drawn.add_column(column.title, justify=justify, no_wrap=not column.wrap, overflow=overflow)
    for row in rows:
        drawn.add_row(*(Text(printable(each.text(row)), style=each.style(row) if each.style else "") for each in columns))
    console().print(drawn)


def _draw_trees(lines: Iterable[Line]) -> None:
    from rich.text import Text
    from rich.tree import Tree

    roots: list[Tree] = []
    path: list[Tree] = []  # from the root to the line before
    for line in lines:
        label = Text.assemble((printable(line.text), line.style), (f"  {printable(line.note)}" if line.note else "", "dim"))
        if line.joined:
            path[-1].label = Text.assemble(cast("Text", path[-1].label), "\n", label)
            continue
        del path[line.depth :]
        path.append(path[-1].add(label) if path else Tree(label, guide_style="dim"))
        if len(path) == 1:
            roots += path
    for root in roots:
        console().print(root)


def _print_columns(cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        aligned = (f"{cell:>{width}}" if end else f"{cell:{width}}" for cell, width, end in zip(line, widths, right, strict=True))
        print("  ".join(aligned).rstrip())


def _spelled(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
