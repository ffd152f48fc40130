"""``lamina driver``: what runs here, what does not, why, and what would change that."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from lamina import config
from lamina.cli import render
from lamina.cli.group import Group
from lamina.cli.render import Column, Line
from lamina.cli.session import Session, pass_session
from lamina.errors import DriverUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.driver import Check, Driver, ProbeReport


@dataclass(frozen=True, slots=True)
class Listed:
    """A driver, or a plugin in quarantine, as ``driver list`` shows it."""

    name: str
    distribution: str
    runs: bool
    #: What it is where it runs, else what keeps it from running.
    about: str
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe's report with its verdict."""

    driver: str
    runs: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a driver."""

    name: str
    type: str
    default: str
    help: str


@dataclass(frozen=True, slots=True)
class Described:
    """A driver's declarations."""

    name: str
    distribution: str
    summary: str
    preference: int
    capabilities: tuple[str, ...]
    limits: tuple[str, ...]
    options: tuple[Option, ...]


def complete_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a driver."""
    return [name for name in context.ensure_object(Session).plugins.drivers if name.startswith(incomplete)]


@click.group(cls=Group)
def command() -> None:
    """Drivers: what runs here, what does not, and why."""


@command.command("list")
@pass_session
def list_drivers(session: Session) -> None:
    """List the installed drivers and whether they run here.

    Each is probed at the store's directory. A plugin that could not be loaded is shown with its error.

    Example:
      lamina driver list
    """
    plugins = session.plugins
    found = [_listed(session, driver) for driver in plugins.drivers.values()]
    found += [Listed(each.name, each.distribution, runs=False, about=f"broken plugin: {each.error}") for each in plugins.broken]
    columns: list[Column[Listed]] = [
        Column("DRIVER", lambda row: row.name),
        Column("RUNS", lambda row: "yes" if row.runs else "no", style=lambda row: "green" if row.runs else "red"),
        Column("FROM", lambda row: row.distribution),
        Column("ABOUT", lambda row: row.about, wrap=True),
    ]
    render.table(session.format, found, columns, empty="no driver is installed")


@command.command()
@click.argument("name", required=False, shell_complete=complete_names)
@pass_session
def probe(session: Session, name: str | None) -> None:
    """Try every precondition of a driver, or of all, and tell the evidence.

    Nothing is left behind. Without NAME the last line tells which driver "auto" takes for a new store. With NAME the exit
    code is 23 when the driver cannot run.

    Examples:
      lamina driver probe
      lamina --root /srv/lamina driver probe overlay
    """
    plugins = session.plugins
    drivers = [plugins.driver(name)] if name else list(plugins.drivers.values())
    reports = [_report(session, driver) for driver in drivers]
    probed = tuple(Probed(report.driver, report.ok, report.checks) for report in reports)
    render.tree(session.format, probed, _drawn(probed), empty="no driver is installed")
    if name and reports[0].failures:
        first = reports[0].failures[0]
        raise DriverUnavailableError(name, f"{first.name}: {first.evidence}", first.remedy)
    if not name and session.format is config.Format.TABLE:
        options = {driver.name: _options(session, driver) for driver in drivers}
        choice = plugins.choose(session.host, _place(session), options)
        click.echo(f"auto takes {choice.driver} for a new store: the first that runs, of {', '.join(plugins.drivers)}")


@command.command()
@click.argument("name", shell_complete=complete_names)
@pass_session
def info(session: Session, name: str) -> None:
    """Show what a driver declares: its capabilities and its options.

    Example:
      lamina driver info overlay
    """
    found = _described(session, name)
    lines = [
        ("driver", found.name),
        ("about", found.summary),
        ("distribution", found.distribution),
        ("preference", f"{found.preference}  (auto tries the lowest first)"),
        ("capabilities", "\n".join(found.capabilities) or "none"),
        ("limits", "\n".join(found.limits) or "none"),
        ("options", "\n".join(f"{each.name}={each.default}  ({each.type}) {each.help}" for each in found.options) or "none"),
    ]
    render.record(session.format, found, lines)


def _listed(session: Session, driver: type[Driver]) -> Listed:
    report = _report(session, driver)
    about = driver.summary if report.ok else f"{report.failures[0].name}: {report.failures[0].evidence}"
    distribution = session.plugins.distribution(driver.name)
    return Listed(driver.name, distribution, report.ok, about, tuple(sorted(driver.capabilities)))


def _described(session: Session, name: str) -> Described:
    driver = session.plugins.driver(name)
    defaults = driver.Options()
    options = tuple(
        Option(
            name=field.name,
            type=field.type if isinstance(field.type, str) else field.type.__name__,
            default=str(getattr(defaults, field.name)),
            help=str(field.metadata.get("help", "")),
        )
        for field in dataclasses.fields(driver.Options)
    )
    distribution = session.plugins.distribution(name)
    return Described(
        name=name,
        distribution=distribution,
        summary=driver.summary,
        preference=driver.preference,
        capabilities=tuple(sorted(driver.capabilities)),
        limits=tuple(sorted(driver.limits)),
        options=options,
    )


def _report(session: Session, driver: type[Driver]) -> ProbeReport:
    return driver.probe(session.host, _place(session), _options(session, driver))


def _options(session: Session, driver: type[Driver]) -> object:
    """The configured options, where they are meant for this driver; else the driver's defaults."""
    meant = session.config.driver == driver.name
    return config.parse_options(driver, session.config.options if meant else {})


def _place(session: Session) -> Path:
    """The store's directory, or what is there of the way to it: the same filesystem, as far as one can tell."""
    root = session.config.root
    return next(place for place in (root, *root.parents) if place.is_dir())


def _drawn(probed: Iterable[Probed]) -> list[Line]:
    lines = []
    for each in probed:
        lines.append(
            Line(each.driver, "runs here", style="bold green")
            if each.runs
            else Line(each.driver, "cannot run here", style="bold red")
        )
        for check in each.checks:
            word, style = ("ok", "green") if check.ok else ("fails", "red") if check.required else ("without", "yellow")
            lines.append(Line(f"{word:7}  {check.name}", check.evidence, 1, style))
            if check.remedy:
                lines.append(Line(f"cure: {check.remedy}", depth=2))
    return lines
