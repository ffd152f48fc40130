"""The list in the suite's README and the cases in its contracts are the same."""

from __future__ import annotations

import inspect
import re
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from lamina.conformance import contracts, test_driver

if TYPE_CHECKING:
    from collections.abc import Callable

README = (files("lamina.conformance") / "README.md").read_text()
LISTED = re.compile(r"^- \*\*(\w+)\*\* (.+?)(?: — .+?)??((?: \((?:needs|unless) `[a-z-]+`\))*)$", re.MULTILINE)
NAME = re.compile(r"test_([A-Z]{2}\d\d[a-z]?)_(\w+)")
CONTRACTS = [getattr(contracts, name) for name in contracts.__all__]


def cases() -> list[tuple[str, str, Callable[..., None]]]:
    """Id, claim and function of every case."""
    found: list[tuple[str, str, Callable[..., None]]] = []
    for contract in CONTRACTS:
        for name, function in inspect.getmembers(contract, inspect.isfunction):
            if name.startswith("test"):
                match = NAME.fullmatch(name)
                assert match, f"{name} has no number"
                found.append((match[1], match[2].replace("_", " "), function))
    return found


def plain(title: str) -> str:
    """A title as a function's name can say it."""
    return re.sub(r"[\W_]+", " ", title.replace("'", "")).strip().lower()


def conditions(function: Callable[..., None]) -> str:
    """What a case depends on, as the README says it."""
    marks = getattr(function, "pytestmark", [])
    words = {"lamina_requires": "needs", "lamina_unless": "unless"}
    return "".join(f" ({words[mark.name]} `{mark.args[0]}`)" for mark in marks if mark.name in words)


def test_the_readme_lists_every_case_and_no_other() -> None:
    listed = {number: (plain(title), condition) for number, title, condition in LISTED.findall(README)}
    collected = {number: (plain(claim), conditions(function)) for number, claim, function in cases()}

    assert listed == collected


def test_no_number_is_given_twice() -> None:
    numbers = [number for number, _, _ in cases()] + [""]

    assert len(numbers) == len(set(numbers))
    assert len(LISTED.findall(README)) == len(cases())


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_every_contract_is_bound_to_the_driver_of_the_command_line(contract: type) -> None:
    bound = [test for name, test in vars(test_driver).items() if name.startswith("Test") and issubclass(test, contract)]

    assert len(bound) == 1
    assert not contract.__name__.startswith("Test"), "importing a contract must collect nothing"


def test_a_case_that_the_readme_forgets_would_be_noticed() -> None:
    shortened = README.replace("- **LC03**", "- LC03")

    assert "LC03" not in {number for number, _, _ in LISTED.findall(shortened)}
