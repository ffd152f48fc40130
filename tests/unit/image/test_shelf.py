from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.errors import SnapshotInUseError
from lamina.image.clearing import Collected
from tests.unit.image.build import layout, tar

if TYPE_CHECKING:
    from pathlib import Path

    from lamina import Store

pytestmark = pytest.mark.root


def test_unfinished_files_go_before_the_intent_that_explains_them(store: Store) -> None:
    with store.images._shelf.operation("test") as ingest:
        (ingest.staging / "spool").touch()
        with ingest.publish():
            assert not ingest.staging.exists()


def test_what_is_not_published_is_taken_back(store: Store) -> None:
    with store.images._shelf.operation("test") as ingest:
        ingest.document(b"{}")
        (blob,) = (store.root / "blobs" / "sha256").iterdir()

    assert not blob.exists()


def test_what_an_operation_holds_is_not_collected(store: Store, tmp_path: Path) -> None:
    (image,) = store.images.load(f"oci:{layout(tar(('a', b''))).directory(tmp_path / 'x')}", name="x")
    with store.images._shelf.operation("test") as ingest:
        assert ingest.hold_image(image.digest)
        layer = image.layers[0]
        with store.images._shelf.blobs.open(layer.digest) as extent:
            store.layers.apply(extent, diff_id=layer.diff_id, intent=ingest.intent)

        removed = store.images.remove("x")

        assert (removed.digest, removed.layers, removed.blobs) == (image.digest, (), ())
        assert store.gc() == Collected()
        with pytest.raises(SnapshotInUseError, match="test of process"):
            store.graph.remove(image.layer)

    assert store.layers.list() == ()
    assert list((store.root / "blobs" / "sha256").iterdir()) == []


def test_a_blob_that_two_operations_bring_stays_when_one_fails(store: Store) -> None:
    with store.images._shelf.operation("one") as one:
        digest = one.document(b"{}")
        with store.images._shelf.operation("two") as two:
            two.document(b"{}")

        assert store.images._shelf.blobs.has(digest, 2)
    assert not store.images._shelf.blobs.has(digest, 2)
