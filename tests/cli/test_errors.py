"""Whatever goes wrong is one line on stderr that names the thing, and an exit code of its kind."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from lamina import errors, plugins
from lamina.cli import BROKEN_PIPE, INTERNAL_ERROR, SYSTEM_ERROR, USAGE_ERROR, describe
from lamina.cli.store import FOUND
from tests.cli.process import LAMINA, lamina, on_a_terminal, variables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


#: The drivers of this installation.
KNOWN = ", ".join(plugins.load().drivers)


def all_classes(above: type[errors.LaminaError] = errors.LaminaError) -> Iterator[type[errors.LaminaError]]:
    yield above
    for below in above.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from all_classes(below)


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["dirver"], 2, "`lamina` has no command 'dirver': did you mean 'driver'?; see `lamina --help`"),
        (["layer", "lst"], 2, "`lamina layer` has no command 'lst': did you mean 'list'?; see `lamina layer --help`"),
        (["driver", "list", "--formt", "json"], 2, "no option --formt: did you mean --format?; see `lamina driver list --help`"),
        (["image", "tag", "a"], 2, "missing argument 'NEW'; see `lamina image tag --help`"),
        (
            ["--format", "yaml", "driver", "list"],
            2,
            "invalid value for '--format': 'yaml' is not one of 'table', 'json'; see `lamina --help`",
        ),
        (["--option", "x", "driver", "list"], 70, "--option: 'x' has no value: write name=value"),
        (
            ["--config", "/nowhere", "driver", "list"],
            70,
            "--config: /nowhere does not exist: name a file, or leave the option out",
        ),
        (["driver", "probe", "aufs2"], 21, f"driver 'aufs2' cannot be found: known are {KNOWN}; see `lamina driver list`"),
        (
            ["--root", "/nowhere", "image", "list"],
            31,
            "no store at /nowhere: give --root, or make one by loading an image",
        ),
    ],
)
def test_a_mistake_is_one_line_with_a_cure(words: list[str], code: int, line: str) -> None:
    ended = lamina(*words)

    assert (ended.code, ended.out, ended.err) == (code, "", f"lamina: {line}\n")


def test_what_the_system_refuses_names_the_path() -> None:
    ended = lamina("--root", "/dev/null/store", "image", "import", "/etc", "-t", "x")

    assert (ended.code, ended.out, ended.err.count("\n")) == (SYSTEM_ERROR, "", 1)
    assert ended.err.startswith("lamina: /dev/null")


def test_a_full_disk_below_stdout_is_told() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [LAMINA, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, env=variables(), check=False
        )

    assert (ended.returncode, ended.stderr) == (SYSTEM_ERROR, "lamina: No space left on device\n")


def test_a_reader_that_has_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run([LAMINA, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, env=variables(), check=False)
    finally:
        os.close(writer)

    assert (ended.returncode, ended.stderr) == (BROKEN_PIPE, "")


def test_debug_shows_the_traceback_and_keeps_line_and_code() -> None:
    ended = lamina("driver", "probe", "aufs2", "--debug")

    assert ended.code == errors.DriverNotFoundError.exit_code
    assert "Traceback" in ended.err
    assert ended.err.splitlines()[-1].startswith("lamina: driver 'aufs2' cannot be found")


def test_on_a_terminal_the_word_error_is_red() -> None:
    assert "lamina: \x1b[31m\x1b[1merror: \x1b[0mdriver 'aufs2' cannot be found" in on_a_terminal("driver", "probe", "aufs2")


def test_a_name_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    ended = lamina("--root", tmp_path / "a\x1b[2J\nb", "image", "list")

    assert ended.err == f"lamina: no store at {tmp_path}/a\\x1b[2J\\nb: give --root, or make one by loading an image\n"


def test_a_mistake_of_ours_says_so_and_how_to_report_it() -> None:
    line, code = describe(KeyError("x"))

    assert (line, code) == ("a mistake of lamina itself (KeyError: 'x'): report it, with what --debug shows", INTERNAL_ERROR)


def test_every_kind_of_error_has_an_exit_code_of_its_own() -> None:
    codes = [each.exit_code for each in all_classes()]
    reserved = {0, USAGE_ERROR, INTERNAL_ERROR, FOUND, *range(126, 256)}

    assert errors.LaminaError.exit_code == SYSTEM_ERROR
    assert len(codes) == len(set(codes))
    assert not reserved & set(codes)


def test_the_tree_of_errors_is_drawn_whole() -> None:
    assert errors.__doc__

    drawn = [word for word in errors.__doc__.split() if word.endswith("Error") and word.isalpha()]

    assert drawn == [each.__name__ for each in all_classes()]
