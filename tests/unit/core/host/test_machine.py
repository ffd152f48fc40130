from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lamina.host.machine import effective_capability, kernel_filesystems, kernel_release


def test_the_release_is_that_of_uname() -> None:
    major, minor = kernel_release()

    assert os.uname().release.startswith(f"{major}.{minor}.")


def test_filesystems_of_every_kernel_are_among_those_found() -> None:
    assert {"proc", "tmpfs"} <= kernel_filesystems()


def test_an_unknown_capability_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        effective_capability("CAP_FLY")


@pytest.mark.root
def test_a_capability_that_was_given_up_is_not_in_effect() -> None:
    program = "from lamina.host.machine import effective_capability as has; print(has('CAP_SYS_ADMIN'), has('CAP_CHOWN'))"

    given_up = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable, "-c", program]
    said = subprocess.run(given_up, stdout=subprocess.PIPE, text=True, check=True).stdout

    assert said == "False True\n"
    assert effective_capability("CAP_SYS_ADMIN")
