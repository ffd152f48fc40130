"""`lamina trace COMMAND…`: runs a command and shows each layer operation it performed, in order, with the time that it took.

A plugin like anybody's: it surrounds the layer operations with wrappers, listens to the notices, and adds a command.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lamina.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import click

    from lamina.model import Mount, Snapshot

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One layer operation, or the notice that one has completed."""

    operation: str
    #: Internal number and key of the snapshot.
    snapshot: str
    #: Seconds; None for a notice.
    seconds: float | None
    failed: bool = False


_steps: ContextVar[list[Step] | None] = ContextVar("lamina_trace", default=None)


@contextmanager
def recording() -> Iterator[list[Step]]:
    """Yield a list that fills with the operations of this context, one :class:`Step` after another."""
    steps: list[Step] = []
    token = _steps.set(steps)
    try:
        yield steps
    finally:
        _steps.reset(token)


def _timed(operation: str, snapshot: Snapshot) -> Generator[None, T, T]:
    steps = _steps.get()
    if steps is None:
        return (yield)
    began = time.perf_counter()
    failed = True
    try:
        result = yield
        failed = False
    finally:
        steps.append(Step(operation, _name(snapshot), time.perf_counter() - began, failed))
    return result


def _noticed(notice: str, snapshot: Snapshot) -> None:
    steps = _steps.get()
    if steps is not None:
        steps.append(Step(notice, _name(snapshot), None))


def _name(snapshot: Snapshot) -> str:
    return f"#{snapshot.id} {snapshot.key[:24]}"


@hookimpl(wrapper=True)
def lamina_layer_prepare(snapshot: Snapshot) -> Generator[None, Snapshot, Snapshot]:
    return (yield from _timed("prepare", snapshot))


@hookimpl(wrapper=True)
def lamina_layer_mounts(snapshot: Snapshot) -> Generator[None, tuple[Mount, ...], tuple[Mount, ...]]:
    return (yield from _timed("mounts", snapshot))


@hookimpl(wrapper=True)
def lamina_layer_commit(snapshot: Snapshot) -> Generator[None, Snapshot, Snapshot]:
    return (yield from _timed("commit", snapshot))


@hookimpl(wrapper=True)
def lamina_layer_remove(snapshot: Snapshot) -> Generator[None, Snapshot, Snapshot]:
    return (yield from _timed("remove", snapshot))


@hookimpl
def lamina_layer_prepared(snapshot: Snapshot) -> None:
    _noticed("prepared", snapshot)


@hookimpl
def lamina_layer_committed(snapshot: Snapshot) -> None:
    _noticed("committed", snapshot)


@hookimpl
def lamina_layer_removed(snapshot: Snapshot) -> None:
    _noticed("removed", snapshot)


@hookimpl
def lamina_register_commands(cli: click.Group) -> None:
    from lamina_contrib.trace.command import trace

    cli.add_command(trace)
