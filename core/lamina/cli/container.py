"""``lamina container``: a writable layer on top of an image."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.cli import names, render
from lamina.cli.group import Group
from lamina.cli.render import Column
from lamina.cli.session import Session, pass_session
from lamina.config import pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lamina.image.containers import Container


@click.group(cls=Group)
def command() -> None:
    """Containers: a writable layer on top of an image.

    Only the top layer ever changes: neither the image nor another container of it sees what happens here. A container is
    called by its name or by the first digits of its id.
    """


@command.command()
@click.argument("image", shell_complete=names.complete_images)
@click.option("--name", default="", help="What to call it. Default: its id.")
@pass_session
def create(session: Session, image: str, name: str) -> None:
    """Make a container from an image and print its id.

    Example:
      id=$(lamina container create debian --name web)
    """
    with session.store() as store:
        made = store.containers.create(image, name=name)
    render.one(session.format, made, made.id)


@command.command("list")
@pass_session
def list_containers(session: Session) -> None:
    """List the containers.

    Example:
      lamina container list
    """
    with session.store() as store:
        found = store.containers.list()
    columns: list[Column[Container]] = [
        Column("CONTAINER", lambda row: row.id[:12]),
        Column("NAME", lambda row: row.name),
        Column("IMAGE", lambda row: row.image_name),
        Column("CREATED", lambda row: render.when(row.created)),
        Column("MOUNTED AT", lambda row: " ".join(map(str, row.mounted_at)) or "-", wrap=True),
    ]
    render.table(session.format, found, columns, empty="no containers: `lamina container create IMAGE` makes one")


@command.command()
@click.argument("container", shell_complete=names.complete_containers)
@pass_session
def show(session: Session, container: str) -> None:
    """Show one container.

    Example:
      lamina container show web
    """
    with session.store() as store:
        found = store.containers.get(container)
    lines = [
        ("id", found.id),
        ("name", found.name),
        ("image", f"{found.image_name} ({found.image})"),
        ("layer", found.snapshot),
        ("created", render.when(found.created)),
        ("mounted at", "\n".join(map(str, found.mounted_at)) or "-"),
    ]
    render.record(session.format, found, lines)


@command.command()
@click.argument("container", shell_complete=names.complete_containers)
@click.argument("target", required=False, type=click.Path(path_type=Path))
@pass_session
def mount(session: Session, container: str, target: Path | None) -> None:
    """Mount a container's tree, writable, and print where.

    Without TARGET, an existing directory, the place is inside the store; asking again gives the same place.

    Example:
      cp app.conf "$(lamina container mount web)/etc/"
    """
    with session.store() as store:
        place = store.containers.mount(container, target)
    render.one(session.format, place, str(place))


@command.command()
@click.argument("container", shell_complete=names.complete_containers)
@pass_session
def unmount(session: Session, container: str) -> None:
    """Unmount a container from everywhere.

    What was written stays in its layer. A mount that a process uses is not torn away: the error names the process.

    Example:
      lamina container unmount web
    """
    with session.store() as store:
        store.containers.unmount(container)


@command.command()
@click.argument("container", shell_complete=names.complete_containers)
@pass_session
def changes(session: Session, container: str) -> None:
    """List the paths that differ from the image: added (A), modified (M), deleted (D).

    Example:
      lamina container changes web
    """
    with session.store() as store:
        render.changes(session.format, store.containers.changes(container))


@command.command()
@click.argument("container", shell_complete=names.complete_containers)
@click.option("-o", "--output", required=True, metavar="TAR", help="The file to write, or - for stdout.")
@pass_session
def diff(session: Session, container: str, output: str) -> None:
    """Write what differs from the image as an OCI layer, an uncompressed tar.

    Equal changes give equal bytes, on every driver. The diff id, the digest of these bytes, is printed unless they are
    themselves.

    Example:
      lamina container diff web -o web.tar
    """
    from lamina.cli.output import written

    with session.store() as store, written(output) as file:
        found = store.containers.diff(container, file)
    if output != "-":
        render.one(session.format, found, found.diff_id)


@command.command()
@click.argument("container", shell_complete=names.complete_containers)
@click.option("-t", "--tag", required=True, metavar="NAME", help="The name of the new image.")
@click.option("-m", "--message", default="", help="A comment for the image's history.")
@click.option("--author", default="", help="Who made it, for the image's config.")
@click.option("--env", "env", multiple=True, metavar="NAME=VALUE", help="An environment variable that the image sets.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label of the image.")
@click.option("--cmd", metavar="COMMAND", help="What the image runs by default, split as a shell does.")
@click.option("--entrypoint", metavar="COMMAND", help="What the image always runs, split as a shell does.")
@click.option("--user", metavar="USER", help="Whom the image runs as.")
@click.option("--workdir", metavar="DIR", help="Where the image runs.")
@pass_session
def commit(session: Session, /, container: str, tag: str, message: str, author: str, **settings: object) -> None:
    """Make an image of a container and print its digest.

    The new image shares all layers of the old one and adds the container's changes as one more. The container stays as it is.

    Example:
      lamina container commit web -t shop:1.2 -m "installed the shop" --cmd "shop --serve"
    """
    with session.store() as store:
        made = store.containers.commit(container, tag, message=message, author=author, changes=_members(settings))
    render.one(session.format, made, made.digest)


@command.command()
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...", shell_complete=names.complete_containers)
@click.option("-f", "--force", is_flag=True, help="Unmount first.")
@pass_session
def remove(session: Session, containers: tuple[str, ...], force: bool) -> None:
    """Remove containers with all that was written in them.

    Example:
      lamina container remove web
    """
    with session.store() as store:
        for container in containers:
            store.containers.remove(container, force=force)


def _members(settings: Mapping[str, object]) -> dict[str, object]:
    """Translate the options that were given to members of the ``config`` object of the OCI image specification."""
    translations: dict[str, tuple[str, Callable[[Any], object]]] = {  # Any: what click made of the option
        "env": ("Env", list),
        "labels": ("Labels", lambda given: pairs(given, "--label")),
        "cmd": ("Cmd", shlex.split),
        "entrypoint": ("Entrypoint", shlex.split),
        "user": ("User", str),
        "workdir": ("WorkingDir", str),
    }
    return {translations[name][0]: translations[name][1](value) for name, value in settings.items() if value}
