"""The pytest plugin behind ``pytest --pyargs lamina.conformance --lamina-driver NAME``.

It is loaded in every pytest run where lamina is installed, so it imports nothing of lamina before it is asked to, and without
``--lamina-driver`` it does nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.conformance.subject import Examined

pytest.register_assert_rewrite("lamina.conformance.contracts", "lamina.testing")

SUBJECT: pytest.StashKey[Examined] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lamina", "lamina: grade a storage driver")
    group.addoption("--lamina-driver", metavar="NAME", help="the driver under test, with --pyargs lamina.conformance")
    group.addoption(
        "--lamina-option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option of the driver; may be given several times",
    )
    group.addoption(
        "--lamina-root",
        metavar="DIR",
        help="existing directory on the filesystem to test on; the stores are made in a new directory there, "
        "which is removed at the end (default: the system's temporary directory)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lamina_requires(capability): runs only where the driver declares the capability")
    config.addinivalue_line("markers", "lamina_unless(limit): runs only where the driver does not declare the limit")
    name = config.getoption("lamina_driver")
    if name is None:
        return
    from lamina.conformance.subject import examine
    from lamina.errors import LaminaError

    try:
        config.stash[SUBJECT] = examine(name, config.getoption("lamina_option"), _parent(config))
    except LaminaError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> list[str]:
    subject = config.stash.get(SUBJECT, None)
    return subject.header() if subject else []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    bound = any(item.path.match("lamina/conformance/test_driver.py") for item in items)
    if bound and SUBJECT not in config.stash:
        raise pytest.UsageError("which driver? give --lamina-driver NAME; `lamina driver list` shows what there is")


@pytest.fixture(scope="session")
def lamina_root(pytestconfig: pytest.Config) -> Iterator[Path]:
    """A private directory for the stores of this session, on the filesystem that ``--lamina-root`` names."""
    from lamina.conformance.leaks import left_behind, tear_down

    root = Path(tempfile.mkdtemp(prefix="lamina-conformance-", dir=_parent(pytestconfig)))
    try:
        yield root
        assert left_behind(root) == [], "the session left things behind"
    finally:
        tear_down(root)


def _parent(config: pytest.Config) -> Path:
    return Path(config.getoption("lamina_root") or tempfile.gettempdir()).resolve()
