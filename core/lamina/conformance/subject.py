"""The driver under test: found like any other, probed where its stores will be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina import config, plugins
from lamina.errors import DriverUnavailableError
from lamina.host.kernel import KernelHost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lamina.driver import Driver, ProbeReport
    from lamina.host import Filesystem


@dataclass(frozen=True, slots=True)
class Subject:
    """Which driver a contract tests. A third party's own tests make one: ``Subject("acme", {"pool": "test"})``."""

    driver: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Examined:
    """A subject that was found on this machine and runs here."""

    subject: Subject
    kind: type[Driver]
    distribution: str
    report: ProbeReport
    kernel: tuple[int, int]
    filesystem: Filesystem
    root: Path

    def header(self) -> list[str]:
        """Return the lines that say what is being graded, and on what."""
        abilities = ", ".join(sorted(self.kind.capabilities)) or "none"
        release = ".".join(str(part) for part in self.kernel)
        lines = [
            f"lamina: driver {self.kind.name} of {self.distribution}, kernel {release}, {self.filesystem.type} at {self.root}",
            f"lamina: capabilities: {abilities}",
        ]
        for check in self.report.checks:
            answer = "ok" if check.ok else "no"
            lines.append(f"lamina: probe: {check.name}: {answer} ({check.evidence})")
        return lines


def examine(driver: str, options: Iterable[str], root: Path) -> Examined:
    """Find a driver, type its options (``name=value``) and probe it at ``root``.

    Raises :class:`lamina.errors.DriverError` when there is no such driver or it cannot run here, and
    :class:`lamina.errors.ConfigError` for an option.
    """
    registry = plugins.load()
    kind = registry.driver(driver)
    given = config.pairs(options, "--lamina-option")
    host = KernelHost()
    report = kind.probe(host, root, config.parse_options(kind, given))
    if not report.ok:
        first = report.failures[0]
        raise DriverUnavailableError(driver, f"{first.name}: {first.evidence}", first.remedy)
    return Examined(
        subject=Subject(driver, given),
        kind=kind,
        distribution=registry.distribution(driver),
        report=report,
        kernel=host.kernel_release(),
        filesystem=host.filesystem(root),
        root=root,
    )
