"""Links between documents lead somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def documents() -> list[str]:
    found = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return found.stdout.splitlines()


def anchors(text: str) -> set[str]:
    """Names of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(name: str, text: str) -> list[str]:
    """Return the targets of relative links in ``text``, the document ``name``, that are not there."""
    missing = []
    for target, anchor in LINK.findall(CODE.sub("", text)):
        place = (CHECKOUT / name).parent / target if target else CHECKOUT / name
        if not place.exists() or (anchor and anchor not in anchors(place.read_text())):
            missing.append(f"{target}#{anchor}".rstrip("#"))
    return missing


@pytest.mark.parametrize("name", documents())
def test_every_relative_link_leads_to_a_file_and_a_heading_that_exist(name: str) -> None:
    assert broken(name, (CHECKOUT / name).read_text()) == []


def test_a_link_to_nowhere_is_found() -> None:
    text = "[a](nowhere.md) [b](README.md#no-such-heading) [c](README.md#more) [d](https://example.org) `[e](code)`"

    assert broken("README.md", text) == ["nowhere.md", "README.md#no-such-heading"]
