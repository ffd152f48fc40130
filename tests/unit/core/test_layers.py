"""Layer streams in and out of the graph."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

import lamina
from lamina.diff import NullWriter
from lamina.errors import DigestMismatchError, MalformedArchiveError, SnapshotInUseError, SnapshotNotFoundError
from lamina.layers import chain_id
from lamina.model import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.store import Store

pytestmark = pytest.mark.root


@pytest.fixture(params=["vfs", "overlay"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with lamina.open(tmp_path / "store", driver=request.param) as opened:
        yield opened


def archive(**files: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return made.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_layer_is_named_by_its_chain_id(store: Store) -> None:
    lower, upper = archive(a="1"), archive(b="2")

    base = store.layers.apply(io.BytesIO(lower))
    top = store.layers.apply(io.BytesIO(upper), parent=base.key)

    assert (base.key, base.diff_id) == (digest(lower), digest(lower))
    assert top.key == digest(f"{digest(lower)} {digest(upper)}".encode()) == chain_id(base.key, digest(upper))
    assert top.parent == base.key


def test_a_layer_that_is_there_is_not_read_again(store: Store) -> None:
    data = archive(a="1")
    first = store.layers.apply(io.BytesIO(data))

    again = store.layers.apply(io.BytesIO(b"never read"), diff_id=digest(data))
    unnamed = store.layers.apply(io.BytesIO(data))

    assert again == unnamed == first
    assert len(store.layers.list()) == 1
    assert store.check() == []


def test_a_wrong_digest_leaves_nothing(store: Store) -> None:
    with pytest.raises(DigestMismatchError):
        store.layers.apply(io.BytesIO(archive(a="1")), diff_id=digest(b"something else"))

    assert list(store.graph.walk()) == []
    assert list(store.driver.objects()) == []


def test_a_source_that_fails_at_its_end_leaves_nothing(store: Store) -> None:
    class Failing(io.BytesIO):
        def read(self, n: int | None = -1, /) -> bytes:
            if data := super().read(n):
                return data
            raise DigestMismatchError("the blob", "a", "b")

    with pytest.raises(DigestMismatchError):
        store.layers.apply(Failing(archive(a="1")))

    assert list(store.graph.walk()) == []
    assert store.check() == []


@pytest.mark.parametrize("missing", [1024, 1024 + 511])  # the end; the end, and the padding behind the last byte
def test_an_archive_without_its_end_is_taken_if_a_digest_vouches_for_it(store: Store, missing: int) -> None:
    whole = archive(a="1")
    cut = whole[: 512 + 512 + 1024 - missing]

    layer = store.layers.apply(io.BytesIO(cut), diff_id=digest(cut))
    with pytest.raises(MalformedArchiveError):
        store.layers.apply(io.BytesIO(cut[:-1] if missing == 1024 else cut))

    assert layer.key == digest(cut)


def test_one_layer_loaded_by_many_at_once_is_unpacked_once(store: Store) -> None:
    data = archive(**{f"file-{number}": "x" * 5000 for number in range(50)})
    prepared: list[int] = []
    original = store.driver.prepare

    def prepare(id: int, chain: tuple[int, ...]) -> None:
        prepared.append(id)
        original(id, chain)

    store.driver.prepare = prepare  # type: ignore[method-assign]
    keys: list[str] = []

    threads = [
        threading.Thread(target=lambda: keys.append(store.layers.apply(io.BytesIO(data), diff_id=digest(data)).key))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert keys == [digest(data)] * 4
    assert len(prepared) == 1


def test_changes_between_any_two(store: Store) -> None:
    base = store.layers.apply(io.BytesIO(archive(a="1", b="1")))
    left = store.layers.apply(io.BytesIO(archive(c="1")), parent=base.key)
    right = store.layers.apply(io.BytesIO(archive(d="1")), parent=base.key)

    changes = {change.path: change.kind for change in store.layers.changes(left.key, against=right.key)}

    assert changes == {b"c": ChangeKind.ADDED, b"d": ChangeKind.DELETED}


def test_a_diff_applied_to_the_parent_gives_the_same_layer(store: Store) -> None:
    base = store.layers.apply(io.BytesIO(archive(a="1", b="1")))
    with store.fork(base.key) as work:
        (work.path / "a").unlink()
        (work.path / "c").write_text("2")
        stream = io.BytesIO()
        diff = work.diff(stream)
        committed = work.commit()

    store.graph.remove(committed.key)
    applied = store.layers.apply(io.BytesIO(stream.getvalue()), parent=base.key)

    assert applied.key == committed.key
    assert store.layers.diff(applied.key, NullWriter()) == diff


def test_an_edit_that_keeps_size_and_time_is_found(store: Store) -> None:
    base = store.layers.apply(io.BytesIO(archive(a="one")))
    with store.fork(base.key) as work:
        before = (work.path / "a").stat()
        (work.path / "a").write_text("two")
        os.utime(work.path / "a", ns=(before.st_atime_ns, before.st_mtime_ns))

        assert [change.path for change in work.changes()] == [b"a"]


def test_what_is_mounted_writable_cannot_become_a_layer(store: Store) -> None:
    store.graph.prepare("draft")
    place = store.mounts.mount("draft")

    with pytest.raises(SnapshotInUseError, match=str(place)):
        store.graph.commit("layer", "draft")
    with pytest.raises(SnapshotInUseError, match=str(place)):
        store.layers.commit("draft")

    assert store.graph.stat("draft").kind == "active"
    store.mounts.unmount("draft")
    store.graph.commit("layer", "draft")


def test_a_missing_parent_is_named(store: Store) -> None:
    with pytest.raises(SnapshotNotFoundError, match="parent 'nobody'"):
        store.layers.apply(io.BytesIO(archive(a="1")), parent="nobody")
