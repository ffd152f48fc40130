"""A command imports what it needs and nothing else: the command line answers at once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.process import lamina, variables

HEAVY = ("apsw", "isal", "lamina.diff", "lamina.image", "lamina.store", "pluggy", "pytest", "rich", "zstandard")


def imported_by(*words: str) -> set[str]:
    """Run a command in a fresh interpreter and return which heavy modules it imported."""
    script = (
        "import json, sys; from lamina.cli import main; main(sys.argv[1:]); print(json.dumps(list(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, env=variables(), check=True)
    return set(json.loads(ended.stderr)) & set(HEAVY)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--version",), set()),
        (("image", "--help"), set()),
        (("container", "create", "--help"), set()),
        (("completion", "bash"), set()),
        (("--help",), {"pluggy"}),  # plugins may add commands
        (("driver", "list"), {"pluggy"}),
    ],
)
def test_a_command_that_opens_no_store_imports_none_of_it(words: tuple[str, ...], expected: set[str]) -> None:
    assert imported_by(*words) == expected


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert lamina("--version").out == f"lamina {version('lamina')}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_asks_lamina(shell: str) -> None:
    assert "_LAMINA_COMPLETE" in lamina("completion", shell).out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("lamina dri", ["driver"]),
        ("lamina driver p", ["probe"]),
        ("lamina driver probe ov", ["overlay"]),
        ("lamina --driver v", ["vfs"]),
        ("lamina --root /nowhere image show ", []),
    ],
)
def test_what_was_typed_is_completed(typed: str, expected: list[str]) -> None:
    words = typed.split(" ")
    environ = {"_LAMINA_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}

    said = lamina(environ=environ).out.split()

    assert [line.partition(",")[2] for line in said] == expected
