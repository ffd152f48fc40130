"""The steps of the tour, in their order. Each does what the command that it shows does, through the same functions."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.cli import layer_tree, render
from lamina.cli.tour import roots, witnesses
from lamina.diff import NullWriter
from lamina.errors import CommandFailedError
from lamina.host.chroot import run_in_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamina.cli.session import Session
    from lamina.cli.tour.roots import RealRoot
    from lamina.cli.tour.stage import Stage
    from lamina.image.image import Image
    from lamina.store import Store

#: The longest that downloading and installing a package may take, seconds.
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Addition:
    """Something to add as a layer: a package, or where none can be had, what a line of shell makes."""

    package: str
    instead: str


_HELLO = Addition("hello", "echo 'echo Hello, world' > /usr/local/bin/hello; chmod 755 /usr/local/bin/hello")
_TREE = Addition("tree", "mkdir -p /usr/local/share/notes; echo 'a second layer' > /usr/local/share/notes/readme")


class Tour:
    """One showing, in a store of its own below ``scratch``."""

    def __init__(self, stage: Stage, session: Session, store: Store, scratch: Path) -> None:
        self._stage = stage
        self._session = session
        self._store = store
        self._scratch = scratch
        self._can_install = True
        # Package lists are downloaded once, and stay out of the layers.
        self._shared = {"/var/lib/apt/lists": scratch / "lists", "/var/cache/apt": scratch / "packages"}
        for directory in self._shared.values():
            directory.mkdir()

    def run(self) -> None:
        """Show everything."""
        self._choose_driver()
        root = self._import_root()
        hello = self._add_by_commands(root)
        tree = self._add_by_python(root, hello)
        self._part_two_containers(root, tree)
        self._show_sharing()
        image = self._commit(root)
        self._save(image)
        self._check()

    def _choose_driver(self) -> None:
        stage = self._stage
        stage.step("A driver", "It makes a stack of layers look like one directory. Each proves what it needs on this machine.")
        stage.command("lamina driver probe")
        for name, driver in self._session.plugins.drivers.items():
            report = driver.probe(self._session.host, self._scratch, driver.Options())
            found = driver.summary if report.ok else f"cannot run here: {report.failures[0].evidence}"
            stage.say(f"{name}: {found}")
        stage.good(f"this tour takes {self._store.driver.name}; its store is {self._store.root}")

    def _import_root(self) -> RealRoot:
        stage = self._stage
        stage.step("A real root filesystem", "It becomes the first layer of an image, and never changes again.")
        root = roots.find(stage, self._scratch)
        self._can_install = root.is_debian
        stage.command(f"lamina image import {root.source.name} -t {root.name}")
        with stage.busy("unpacked, verified and kept"):
            image = self._store.images.import_tree(root.source, root.name)
        usage = self._store.graph.usage(image.layer)
        stage.say(f"image {root.name}: one layer of {usage.inodes} files and directories, {render.size(usage.size)}")
        return root

    def _add_by_commands(self, root: RealRoot) -> str:
        stage, name = self._stage, f"{root.name}-hello"
        stage.step(
            "A layer on top", "A container is a writable layer on an image. What was done in it can become an image again."
        )
        stage.command(f"lamina container create {root.name} --name work")
        self._store.containers.create(root.name, name="work")
        tree = self._store.containers.mount("work")
        self._add(_HELLO, tree, lambda script: stage.command(f'chroot "$(lamina container mount work)" {script}'))
        stage.say(f"in it, hello says: {_say(tree, 'hello')}")
        self._store.containers.unmount("work")
        stage.command(f"lamina container commit work -t {name}", "lamina container remove work")
        image = self._store.containers.commit("work", name)
        self._store.containers.remove("work")
        self._tell_image(image)
        return name

    def _add_by_python(self, root: RealRoot, base: str) -> str:
        stage, name = self._stage, f"{root.name}-tree"
        stage.step("The same in Python", "A fork is a writable directory that disappears unless it is committed.")
        stage.python(f'with lamina.open() as store, store.fork("{base}") as work:')
        with self._store.fork(base) as work:
            self._add(_TREE, work.path, lambda script: stage.python(f"    subprocess.run({_words(script)})"))
            stage.python(f'    work.commit("{name}")')
            work.commit(name)
        self._tell_image(self._store.images.get(name))
        return name

    def _part_two_containers(self, root: RealRoot, image: str) -> None:
        stage, containers = self._stage, self._store.containers
        stage.step("Two containers, one image", "They share every layer of it, and neither sees what the other does.")
        base = self._store.images.get(root.name).layer
        before = self._digest(base)
        stage.command(f"lamina container create {image} --name ann", f"lamina container create {image} --name bob")
        with stage.busy("both made"):
            containers.create(image, name="ann")
            containers.create(image, name="bob")
        script = 'echo "Ann was here" > /etc/motd; chmod 711 /root; rm $(command -v hello)'
        stage.command(f"chroot \"$(lamina container mount ann)\" sh -c '{script}'")
        ann, bob = containers.mount("ann"), containers.mount("bob")
        run_in_root(ann, ["/bin/sh", "-c", script])
        for name in ("ann", "bob"):
            stage.command(f"lamina container changes {name}")
            stage.say(*(render.change(each) for each in containers.changes(name)))
        stage.good(f"in ann, hello says: {_say(ann, 'hello || echo nothing, it is gone')}; in bob: {_say(bob, 'hello')}")
        if self._digest(base) == before:
            stage.good(f"the layer of {root.name} gives the same digest as before: {render.short(before)}")
        for name in ("ann", "bob"):
            containers.unmount(name)

    def _show_sharing(self) -> None:
        stage = self._stage
        stage.step("What is shared", "A layer is stored once, however many images and containers stand on it.")
        stage.command("lamina layer tree")
        found = layer_tree.survey(self._store)
        stage.tree(layer_tree.drawn(found))
        stage.good(layer_tree.summary(found))

    def _commit(self, root: RealRoot) -> Image:
        stage, name = self._stage, f"{root.name}-ann"
        stage.step("A container becomes an image", "Only what Ann changed is added, as one more layer.")
        stage.command(f"lamina container commit ann -t {name} -m 'Ann was here'")
        image = self._store.containers.commit("ann", name, message="Ann was here")
        self._tell_image(image)
        stage.command(f"lamina image history {name}")
        stage.say(*(f"{each.created_by or '-'}  {each.comment}".rstrip() for each in self._store.images.history(name)))
        return image

    def _save(self, image: Image) -> None:
        stage, name = self._stage, image.names[0]
        stage.step("Into the world", "An OCI archive is what other tools read. They are asked what they think of it.")
        archive = self._scratch / f"{name.partition(':')[0]}.tar"
        stage.command(f"lamina image save {name} oci-archive:{archive.name}")
        with stage.busy("packed"):
            digest = self._store.images.save(name, f"oci-archive:{archive}:tour")
        stage.say(f"{render.size(archive.stat().st_size)}, manifest {digest}")
        layout = witnesses.copy_by_skopeo(stage, archive, digest, self._scratch)
        if layout is None:
            layout = self._scratch / "layout"
            self._store.images.save(name, f"oci:{layout}:tour")
        tree = self._store.mounts.mount(image.layer)
        witnesses.unpack_by_umoci(stage, layout, tree, self._scratch)
        self._store.mounts.unmount(image.layer)

    def _check(self) -> None:
        stage = self._stage
        stage.step("Is everything in order?", "Records, files, mounts and blobs are compared with each other.")
        stage.command("lamina store check")
        findings = self._store.check()
        stage.say(*(f"{each.subject}: {each.problem}" for each in findings))
        if not findings:
            stage.good("everything agrees")

    def _add(self, addition: Addition, tree: Path, show: Callable[[str], None]) -> None:
        if self._can_install:
            show(f"apt-get install {addition.package}")
            script = f"apt-get -q update && apt-get install -q -y --no-install-recommends {addition.package}"
            environment = ["/usr/bin/env", "DEBIAN_FRONTEND=noninteractive"]
            try:
                with self._stage.busy(f"{addition.package} installed"):
                    run_in_root(tree, [*environment, "/bin/sh", "-c", script], shared=self._shared, timeout=_PATIENCE)
            except CommandFailedError as error:
                self._can_install = False
                self._stage.missing(f"packages cannot be had: {error}")
            else:
                return
        show(f'sh -c "{addition.instead}"')
        run_in_root(tree, ["/bin/sh", "-c", addition.instead])

    def _tell_image(self, image: Image) -> None:
        added = self._store.graph.usage(image.layer)
        self._stage.say(f"image {image.names[0]}: {len(image.layers)} layers; the new one adds {render.size(added.size)}")

    def _digest(self, layer: str) -> str:
        return self._store.layers.diff(layer, NullWriter()).diff_id


def _words(script: str) -> str:
    """Return, as Python, the arguments that run ``script`` in a fork."""
    return f'["chroot", work.path, {json.dumps(shlex.split(script))[1:-1]}], check=True'


def _say(tree: Path, script: str) -> str:
    return run_in_root(tree, ["/bin/sh", "-c", script]).stdout.strip()
