"""What people may call things: the short forms that the tables print, and the completion of names while typing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from lamina.cli.session import Session
from lamina.errors import ContainerNotFoundError, LaminaError, SnapshotNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lamina.model import Snapshot
    from lamina.store import Store

    Completer = Callable[[click.Context, click.Parameter, str], list[str]]

#: Fewer digits than this are more likely a slip than a digest.
_SHORTEST = 4


def snapshot(store: Store, name: str) -> Snapshot:
    """Return the snapshot that ``name`` means: a key, the beginning of a layer's digest, a container, or an image's top layer.

    Raises :class:`lamina.errors.SnapshotNotFoundError`, and click's usage error for digits that several layers begin with.
    """
    if store.graph.exists(name):
        return store.graph.stat(name)
    digits = name.removeprefix("sha256:")
    if len(digits) >= _SHORTEST and not set(digits) - set("0123456789abcdef"):
        found = list(store.graph.walk(f'name~="^sha256:{digits}"'))
        if len(found) > 1:
            raise click.UsageError(f"{len(found)} layers begin with {name}: write more of the digest")
        if found:
            return found[0]
    with suppress(ContainerNotFoundError):
        return store.graph.stat(store.containers.get(name.removeprefix("container/")).snapshot)
    image = store.images.find(name)
    if image is None or not image.layer:
        raise SnapshotNotFoundError(name)
    return store.graph.stat(image.layer)


def complete(names: Callable[[Store], Iterable[str]]) -> Completer:
    """Return a completer for a parameter: those of ``names`` that begin with what was typed, and none where there is no store."""

    def completer(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            with context.ensure_object(Session).store() as store:
                return [name for name in names(store) if name.startswith(incomplete)]
        except (LaminaError, OSError):  # nothing to offer is not worth a message in the middle of a line
            return []

    return completer


complete_images = complete(lambda store: [name for image in store.images.list() for name in image.names])
complete_containers = complete(lambda store: [container.name for container in store.containers.list()])
complete_layers = complete(lambda store: [layer.key for layer in store.layers.list()])
