"""``lamina image``: images in and out of the store, and what they are made of."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lamina.cli import names, render
from lamina.cli.group import Group
from lamina.cli.render import Column
from lamina.cli.session import Session, pass_session
from lamina.config import Format

if TYPE_CHECKING:
    from lamina.image.config import HistoryEntry
    from lamina.image.image import Image

_NONE = "no images: `lamina image import` and `lamina image load` bring some"


@click.group(cls=Group)
def command() -> None:
    """Images: a stack of layers and what to run on it.

    An image is called by one of its names, or by its digest.
    """


@command.command("import")
@click.argument("source", type=click.Path(exists=True, path_type=Path), metavar="TAR|DIR")
@click.option("-t", "--tag", required=True, metavar="NAME", help="The name of the new image.")
@pass_session
def import_tree(session: Session, source: Path, tag: str) -> None:
    """Make an image with one layer from a root filesystem, and print its digest.

    The tar may be compressed with gzip or zstd.

    Examples:
      mmdebstrap bookworm debian.tar && lamina image import debian.tar -t debian
      lamina image import ./rootfs -t mine
    """
    from lamina.cli.progress import shown

    with session.store(create=True) as store, shown() as progress:
        image = store.images.import_tree(source, tag, progress=progress)
    render.one(session.format, image, image.digest)


@command.command()
@click.argument("source")
@click.option("-t", "--tag", default="", metavar="NAME", help="What to call it. Default: its name in SOURCE.")
@click.option("--platform", default="", metavar="OS/ARCH", help="Which image of several. Default: that of this machine.")
@pass_session
def load(session: Session, source: str, tag: str, platform: str) -> None:
    """Load images from SOURCE and print their names.

    SOURCE is oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]. Every digest is verified before anything
    becomes visible, and layers that the store has are not unpacked again.

    Examples:
      lamina image load oci-archive:debian.tar -t debian
      lamina image load oci:./layout:12
    """
    from lamina.cli.progress import shown

    with session.store(create=True) as store, shown() as progress:
        images = store.images.load(source, name=tag, platform=platform, progress=progress)
    render.one(session.format, images, "\n".join(name for image in images for name in image.names))


@command.command()
@click.argument("name", shell_complete=names.complete_images)
@click.argument("destination", metavar="DEST")
@pass_session
def save(session: Session, name: str, destination: str) -> None:
    """Save an image to DEST and print the digest of its manifest there.

    DEST is oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]. An image that was loaded is saved with the
    digests that it came with.

    Example:
      lamina image save debian oci-archive:debian.tar:12
    """
    from lamina.cli.progress import shown

    with session.store() as store, shown() as progress:
        digest = store.images.save(name, destination, progress=progress)
    render.one(session.format, digest, digest)


@command.command("list")
@pass_session
def list_images(session: Session) -> None:
    """List the images.

    Example:
      lamina image list
    """
    with session.store() as store:
        found = store.images.list()
    columns: list[Column[Image]] = [
        Column("NAME", lambda row: " ".join(row.names) or "-", wrap=True),
        Column("IMAGE", lambda row: render.short(row.digest)),
        Column("PLATFORM", lambda row: str(row.platform)),
        Column("LAYERS", lambda row: str(len(row.layers)), right=True),
        Column("SIZE", lambda row: render.size(row.size), right=True),
        Column("CREATED", _created, wrap=True, style=lambda row: "red" if row.damage else ""),
    ]
    render.table(session.format, found, columns, empty=_NONE)


@command.command()
@click.argument("name", shell_complete=names.complete_images)
@pass_session
def show(session: Session, name: str) -> None:
    """Show an image: its digests, its config and its layers, from the base up.

    Example:
      lamina image show debian
    """
    with session.store() as store:
        found = store.images.get(name)
    lines = [
        ("names", "\n".join(found.names) or "-"),
        ("manifest", found.digest),
        ("config", found.config_digest),
        ("platform", str(found.platform)),
        ("created", _created(found)),
        ("author", found.config.author or "-"),
        ("entrypoint", shlex.join(found.config.entrypoint) or "-"),
        ("command", shlex.join(found.config.cmd) or "-"),
        ("environment", "\n".join(found.config.env) or "-"),
        ("user", found.config.user or "-"),
        ("directory", found.config.working_dir or "-"),
        ("labels", "\n".join(f"{label}={value}" for label, value in found.config.labels.items()) or "-"),
        (
            "layers",
            "\n".join(f"{render.short(layer.chain_id)}  {render.size(layer.size)}  {layer.digest}" for layer in found.layers),
        ),
    ]
    render.record(session.format, found, lines)


@command.command()
@click.argument("name", shell_complete=names.complete_images)
@pass_session
def history(session: Session, name: str) -> None:
    """List the steps by which an image was made, the first one first.

    Example:
      lamina image history debian
    """
    with session.store() as store:
        found = store.images.history(name)
    columns: list[Column[HistoryEntry]] = [
        Column("CREATED", lambda row: render.when(row.created) if row.created else "-"),
        Column("LAYER", lambda row: "no" if row.empty_layer else "yes"),
        Column("CREATED BY", lambda row: row.created_by or "-", wrap=True),
        Column("COMMENT", lambda row: row.comment or "-", wrap=True),
    ]
    render.table(session.format, found, columns, empty=f"{name} tells nothing of how it was made")


@command.command()
@click.argument("name", shell_complete=names.complete_images)
@click.argument("new")
@pass_session
def tag(session: Session, name: str, new: str) -> None:
    """Give an image a further name; a name that another image has moves to this one.

    Example:
      lamina image tag debian debian:12
    """
    with session.store() as store:
        store.images.tag(name, new)


@command.command()
@click.argument("images", nargs=-1, required=True, metavar="NAME...", shell_complete=names.complete_images)
@pass_session
def remove(session: Session, images: tuple[str, ...]) -> None:
    """Remove names of images, and an image with its last name; layers that nothing else needs go with it.

    Example:
      lamina image remove debian:12
    """
    with session.store() as store:
        removed = [store.images.remove(name) for name in images]
    if session.format is Format.JSON:
        render.json(removed)


def _created(image: Image) -> str:
    if image.damage:
        return f"damaged: {image.damage}"
    return render.when(image.created) if image.created else "-"
