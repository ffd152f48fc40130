"""kill -9 in the middle of a load."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from lamina.errors import StoreNotFoundError
from lamina.testing.trees import assert_same_tree
from tests.e2e.command import Command
from tests.e2e.containers import container

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.material import Material

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]

#: How many loads are killed. A copying driver gets fewer: each costs it seconds.
MOMENTS = {"overlay": 6, "vfs": 2}


def test_a_load_that_is_killed_leaves_nothing_half_made_and_succeeds_when_repeated(
    driver: str, debian: Material, unpacked: Path, tmp_path: Path
) -> None:
    load = ("image", "load", f"oci-archive:{debian.oci_archive}", "-t", "debian")
    begun = time.monotonic()
    unharmed = Command(tmp_path / "unharmed", driver)
    unharmed(*load)
    duration = time.monotonic() - begun
    chain = [layer["chain_id"] for layer in unharmed.json("image", "show", "debian")["layers"]]
    seed = random.randrange(2**32)
    print(f"seed {seed}, a load takes {duration:.2f} s")
    moments = sorted(random.Random(seed).uniform(0.1, duration) for _ in range(MOMENTS[driver]))
    lamina = Command(tmp_path / "store", driver)

    for round, moment in enumerate(moments):
        loading = lamina.start(*load)
        time.sleep(moment)
        os.killpg(loading.pid, signal.SIGKILL)
        loading.communicate()

        if lamina.attempt("image", "list").code == StoreNotFoundError.exit_code:
            continue  # killed before there was a store
        names = [name for image in lamina.json("image", "list") for name in image["names"]]
        assert names in ([], ["debian:latest"])
        assert lamina.json("store", "check") == []
        layers = [layer["key"] for layer in lamina.json("layer", "list")]
        assert layers == chain[: len(layers)], "whole layers, each on the one below"
        if names:
            lamina("image", "remove", "debian")
        # Every other time what is there is left for the next load to go on with.
        if round % 2:
            lamina("store", "gc")
            assert lamina.json("layer", "list") == []

    lamina(*load)
    with container(lamina, "debian") as made:
        assert_same_tree(unpacked, made.root)
    assert lamina.json("store", "check", "--deep") == []
    assert lamina.json("store", "repair", "--dry-run") == []
