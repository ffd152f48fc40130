"""Run the commands in docs/tutorial.md and put what they print back into it. ``make docs`` does; the tests only compare.

A block that begins with ```` ```console ```` holds commands, after ``$``, or ``>`` for a further line of the same, and what they
printed. All run in one shell, in a directory of their own.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

TUTORIAL = Path(__file__).parent.parent / "docs/tutorial.md"
#: What the directory is called in the text.
PLACE = "/home/you/tutorial"

BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
COMMAND = re.compile(r"^\$ .*\n(?:^> .*\n)*", re.MULTILINE)
#: Stands between the outputs of two commands.
MARK = "\x1e"


def rerun(text: str, place: Path) -> str:
    """Return ``text`` with what its commands print in ``place``, an empty directory."""
    commands = [command for block in BLOCK.findall(text) for command in COMMAND.findall(block)]
    script = f"\nprintf {MARK}\n".join(re.sub("^[$>] ", "", command, flags=re.MULTILINE) for command in commands)
    done = subprocess.run(
        ["/bin/bash"], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place, check=False
    )
    outputs = iter(done.stdout.replace(str(place), PLACE).split(MARK))

    def fill(block: re.Match[str]) -> str:
        shown = "".join(command + set_apart(next(outputs)) for command in COMMAND.findall(block[0]))
        return shown.rstrip("\n") + "\n"

    return BLOCK.sub(fill, text)


def set_apart(output: str) -> str:
    """Return ``output`` with an empty line after it, and nothing if it is nothing."""
    return output.rstrip("\n") + "\n\n" if output.strip("\n") else ""


def main() -> None:
    """Write the tutorial anew."""
    with tempfile.TemporaryDirectory(prefix="lamina-tutorial-") as place:
        TUTORIAL.write_text(rerun(TUTORIAL.read_text(), Path(place)))


if __name__ == "__main__":
    main()
