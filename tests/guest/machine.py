"""A virtual machine with a stock Debian kernel, device-mapper and ZFS: what the drivers need and the host may lack.

It is built once, out of Debian's packages (``kernel.sh``, ``root.sh``), and kept like other material of the tests. Its processor
is emulated: KVM is not asked for, since where tests run there often is one that does not work.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e import material

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]

#: Where a job finds the directory that its starter named, to leave files in.
EXCHANGE = "/exchange"

#: Where the processor is emulated, mitigations and five-level page tables cost much, and nobody is there to be guarded against.
#: A kernel that stumbles stops at once, and so does the machine.
KERNEL_OPTIONS = "console=ttyS0 quiet mitigations=off no5lvl nowatchdog oops=panic panic=-1"


class GuestError(Exception):
    """The guest cannot be had, or ended without telling how its job did."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest that was built. Each run boots it anew: nothing that a run writes is kept, the exchange apart."""

    kernel: Path
    initrd: Path
    #: The root filesystem. Runs only read it, so they may share it.
    root: Path

    def run(self, command: Sequence[str], exchange: Path, *, limit: float | None = None, terminal: bool = False) -> int:
        """Run a command in the guest as root, in the checkout and with this Python's environment, and return its exit status.

        Both are at the same paths as here; what is written to them is gone afterwards. What the command prints goes to stdout, as
        do messages of the kernel. It finds ``exchange``, an empty directory, writable at :data:`EXCHANGE`.

        With ``terminal``, stdin and stdout are one, and the command gets it; Ctrl-A X stops the machine.

        Raises :class:`GuestError` when the machine ends without a result, as it does when its kernel fails, or still runs after
        ``limit`` seconds. It never outlives this call, nor this process.
        """
        shared = list(_shared())
        (exchange / "boot.sh").write_bytes((HERE / "boot.sh").read_bytes())
        (exchange / "shares").write_text("".join(f"share{number} {place}\n" for number, place in enumerate(shared)))
        (exchange / "job").write_text("".join(f"{line}\n" for line in _job(command, terminal=terminal)))
        if terminal:
            (exchange / "terminal").touch()
        machine = subprocess.Popen(
            # The kernel ends the machine should this process die without a word.
            ["setpriv", "--pdeathsig=KILL", "--", "qemu-system-x86_64", *self._machine(exchange, shared, terminal=terminal)],
            stdin=None if terminal else subprocess.DEVNULL,
        )
        try:
            machine.wait(limit)
        except subprocess.TimeoutExpired:
            raise GuestError(f"the guest was stopped: it still ran after {limit:g} seconds") from None
        finally:
            machine.kill()
            machine.wait()
        status = exchange / "status"
        if not status.exists():
            raise GuestError("the guest ended without a result: its console, above, may tell why")
        return int(status.read_text())

    def _machine(self, exchange: Path, shared: Sequence[Path], *, terminal: bool) -> Iterator[str]:
        yield from (
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            os.environ.get("CPU", "max,-erms"),
            "-smp",
            os.environ.get("SMP", "1"),
            "-m",
            "4096",
        )
        yield from ("-nodefaults", "-display", "none", "-serial", "mon:stdio" if terminal else "stdio")
        yield from ("-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", KERNEL_OPTIONS, "-no-reboot")
        # What the guest writes goes to a file that has no name any more when it boots.
        yield from ("-drive", f"file={_quoted(self.root)},format=raw,if=virtio,snapshot=on,cache=unsafe")
        yield from ("-virtfs", f"local,path={_quoted(exchange)},mount_tag=exchange,security_model=none")
        for number, place in enumerate(shared):
            share = f"local,path={_quoted(place)},mount_tag=share{number},security_model=none,readonly=on,multidevs=remap"
            yield from ("-virtfs", share)


def guest() -> Guest:
    """Return the guest, building what no earlier session did, with lines on stderr that tell of it.

    Raises :class:`GuestError` when this Python's compiled modules would not work in it.
    """
    recipe = (HERE / "kernel.sh").read_bytes()
    kernel = material.cached("guest-kernel", recipe, lambda place: _make("kernel.sh", place))
    recipe = kernel.name.encode() + (HERE / "root.sh").read_bytes() + (HERE / "init").read_bytes()
    root = material.cached("guest-root", recipe, lambda place: _make("root.sh", kernel, place))
    python, this = (root / "python").read_text().strip(), sysconfig.get_python_version()
    if python != this:
        raise GuestError(f"the guest has Python {python}, this is {this}: make .venv with python{python}")
    return Guest(kernel / "vmlinuz", root / "initrd", root / "root.img")


def _make(recipe: str, *arguments: Path) -> None:
    try:
        subprocess.run(["sh", HERE / recipe, *arguments], stdin=subprocess.DEVNULL, check=True)
    except subprocess.CalledProcessError as error:
        raise GuestError(f"the guest cannot be built: {recipe} ended with {error.returncode}; see above") from None


def _shared() -> Iterator[Path]:
    """The checkout, and the environment of this Python if it lies elsewhere."""
    yield CHECKOUT
    environment = Path(sys.prefix)
    if not environment.is_relative_to(CHECKOUT):
        yield environment


def _job(command: Sequence[str], *, terminal: bool) -> Iterator[str]:
    """The lines of the script that becomes the command."""
    environment = shlex.quote(sys.prefix)
    # The environment stands on the guest's own Python, and sees its packages: pyzfs goes with the libraries of the system.
    yield f"ln -sf /usr/bin/python3 {environment}/bin/python"
    yield f"ln -sf /usr/bin/python3 {environment}/bin/python3"
    yield f"printf 'home = /usr/bin\\ninclude-system-site-packages = true\\n' >{environment}/pyvenv.cfg"
    yield f"export PATH={environment}/bin:$PATH"
    if terminal:
        columns, lines = shutil.get_terminal_size()
        yield f"stty cols {columns} rows {lines}"
        yield "export TERM=linux"
    yield f"cd {shlex.quote(str(CHECKOUT))}"
    yield f"exec {shlex.join(command)}"


def _quoted(path: Path) -> str:
    """A path as qemu wants it among options."""
    return str(path).replace(",", ",,")
