"""QU: how much space a snapshot takes for itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lamina.conformance.fixtures import Contract
from lamina.conformance.requires import requires
from lamina.host.kernel import KernelHost
from lamina.model import Capability
from lamina.testing.scenario import link, mkdir, sparse, write
from lamina.testing.twin import make_layer, mounted

if TYPE_CHECKING:
    from lamina.store import Store

MEGABYTE = 2**20
#: Directories, inodes and the blocks of small files.
SLACK = MEGABYTE // 2


class UsageContract(Contract):
    """Usage counts what is on disk, each inode once, and of one snapshot alone."""

    def test_QU01_a_layer_takes_what_is_in_it(self, store: Store) -> None:
        make_layer(store, "empty")
        make_layer(store, "full", [write("f", os.urandom(MEGABYTE))])

        empty, full = store.graph.usage("empty"), store.graph.usage("full")

        assert MEGABYTE <= full.size - empty.size < MEGABYTE + SLACK

    @requires(Capability.SHARED_DATA)
    def test_QU01b_the_layers_below_are_not_counted(self, store: Store) -> None:
        make_layer(store, "base", [write("f", os.urandom(4 * MEGABYTE))])
        make_layer(store, "next", [write("g", os.urandom(MEGABYTE))], parent="base")
        store.graph.prepare("active", "next")

        of_active, of_next = store.graph.usage("active").size, store.graph.usage("next").size
        if KernelHost().can_reflink(store.root) and of_active > SLACK:
            pytest.skip("which blocks of a reflinked copy are shared, the filesystem does not tell")
        assert of_active < SLACK
        assert MEGABYTE <= of_next < MEGABYTE + SLACK

    def test_QU02_linked_names_once_and_holes_not_at_all(self, store: Store) -> None:
        make_layer(store, "empty")
        names = [link("f", f"name-{number}") for number in range(20)]
        make_layer(store, "linked", [mkdir("d"), write("f", os.urandom(MEGABYTE)), *names, sparse("hole", 2**30, "x")])

        empty, linked = store.graph.usage("empty"), store.graph.usage("linked")

        assert MEGABYTE <= linked.size - empty.size < MEGABYTE + SLACK
        # the file, the directory, the sparse file; 0 is a backend that cannot tell
        assert linked.inodes in (0, empty.inodes + 3)

    def test_QU03_usage_of_an_active_snapshot_grows_and_a_layers_stays(self, store: Store) -> None:
        make_layer(store, "base", [write("f", os.urandom(MEGABYTE))])
        of_base = store.graph.usage("base")
        store.graph.prepare("work", "base")
        before = store.graph.usage("work")

        with mounted(store, "work") as tree:
            write("g", os.urandom(MEGABYTE))(tree)
            os.sync()
            after = store.graph.usage("work")

        assert after.size - before.size >= MEGABYTE
        assert store.graph.usage("base") == of_base

    def test_QU04_a_view_of_a_layer_takes_nothing(self, store: Store) -> None:
        make_layer(store, "base", [write("f", os.urandom(MEGABYTE))])
        store.graph.view("look", "base")

        assert store.graph.usage("look").size < SLACK
