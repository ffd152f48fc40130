"""AP: what unpacking a layer archive makes, entry by entry. The archives are written by the standard library."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
import zstandard

from lamina.conformance.fixtures import Contract
from lamina.errors import ArchiveError, DigestMismatchError, LaminaError, SnapshotNotFoundError
from lamina.testing.archives import (
    LONG_AGO,
    ArchiveEntry,
    archive,
    block_device,
    character_device,
    directory,
    fifo,
    file,
    hardlink,
    symlink,
    whiteout,
)
from lamina.testing.scenario import chmod, chown, link, mkdir, mkfifo, mknod, rm, setxattr, utime, write
from lamina.testing.scenario import symlink as make_symlink
from lamina.testing.twin import apply_layers, assert_layer_is, viewed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lamina.store import Store
    from lamina.testing.scenario import Step

#: Before, the entry that comes in a layer above, after: one line for each way in which a node can be replaced.
REPLACEMENTS: dict[str, tuple[Sequence[ArchiveEntry], Sequence[ArchiveEntry], Sequence[Step]]] = {
    "directory by file": ([directory("x"), file("x/in", "old")], [file("x", "new")], [write("x", "new")]),
    "file by directory": ([file("x", "old")], [directory("x")], [mkdir("x")]),
    "symlink by directory": (
        [directory("to"), file("to/f", "kept"), symlink("x", "to")],
        [directory("x"), file("x/g", "new")],
        [mkdir("to"), write("to/f", "kept"), mkdir("x"), write("x/g", "new")],
    ),
    "symlink by file": (
        [file("to", "kept"), symlink("x", "to")],
        [file("x", "new")],
        [write("to", "kept"), write("x", "new")],
    ),
    "symlink to directory by file": (
        [directory("to"), file("to/f", "kept"), symlink("x", "to")],
        [file("x", "new")],
        [mkdir("to"), write("to/f", "kept"), write("x", "new")],
    ),
    "file by symlink": ([file("x", "old")], [symlink("x", "to")], [make_symlink("to", "x")]),
    "directory by symlink": (
        [directory("x"), file("x/in", "old")],
        [symlink("x", "to")],
        [make_symlink("to", "x")],
    ),
    "one of two linked names": (
        [file("x", "old"), hardlink("y", "x")],
        [file("x", "new")],
        [write("y", "old"), write("x", "new")],
    ),
    "fifo by file": ([fifo("x")], [file("x", "new")], [write("x", "new")]),
    "file by device": ([file("x", "old")], [character_device("x", 1, 5)], [mknod("x", stat.S_IFCHR, 1, 5)]),
    "looping symlink by directory": ([symlink("x", "x")], [directory("x")], [mkdir("x")]),
}

#: Entries of one layer for one path, and what is left: the last one wins.
DUPLICATES: dict[str, tuple[Sequence[ArchiveEntry], Sequence[Step]]] = {
    "file twice": ([file("x", "one"), file("x", "two", mode=0o600)], [write("x", "two", 0o600)]),
    "file then directory": ([file("x", "one"), directory("x"), file("x/in")], [mkdir("x"), write("x/in")]),
    "directory then file": ([directory("x"), file("x/in", "one"), file("x", "two")], [write("x", "two")]),
    "directory twice": (
        [directory("x", mode=0o700), file("x/in"), directory("x", mode=0o750)],
        [mkdir("x", 0o750), write("x/in")],
    ),
    "two spellings": ([file("./a//x", "one"), file("/a/./x", "two")], [mkdir("a"), write("a/x", "two")]),
    "linked name replaced": (
        [file("x", "one"), hardlink("y", "x"), file("x", "two")],
        [write("y", "one"), write("x", "two")],
    ),
}


class ApplyContract(Contract):
    """A layer archive becomes the tree that the image specification says."""

    def check(self, store: Store, flat: Path, archives: Sequence[Sequence[ArchiveEntry]], steps: Sequence[Step]) -> None:
        """Require the layers to make the tree that the steps make."""
        assert_layer_is(store, apply_layers(store, *archives), flat, steps)

    # kinds of entries

    def test_AP01_every_type_of_entry(self, store: Store, flat: Path) -> None:
        entries = [
            file("file", "content", mode=0o640, uid=1, gid=2),
            file("old-style", "0", type=tarfile.AREGTYPE),
            file("contiguous", "7", type=tarfile.CONTTYPE),
            directory("dir", mode=0o710, uid=3, gid=4),
            file("old-dir/", type=tarfile.AREGTYPE, mode=0o755),
            symlink("link", "file", uid=5, gid=6),
            hardlink("dir/other", "file"),
            fifo("pipe", mode=0o600),
            character_device("null", 1, 3),
            block_device("loop", 7, 300),
        ]
        steps = [
            *(write("file", "content", 0o640), chown("file", 1, 2)),
            *(write("old-style", "0"), write("contiguous", "7")),
            *(mkdir("dir", 0o710), chown("dir", 3, 4), mkdir("old-dir")),
            *(make_symlink("file", "link"), chown("link", 5, 6), link("file", "dir/other")),
            *(mkfifo("pipe", 0o600), mknod("null", stat.S_IFCHR, 1, 3), mknod("loop", stat.S_IFBLK, 7, 300)),
        ]

        self.check(store, flat, [entries], steps)

    @pytest.mark.parametrize("umask", [0, 0o022, 0o027, 0o777], ids=oct)
    def test_AP02_missing_parents_are_roots_and_0755_whatever_the_umask(self, store: Store, flat: Path, umask: int) -> None:
        entries = [file("deeply/nested/file", "x", mode=0o777, uid=7), directory("open", mode=0o777), file("shut", mode=0)]
        steps = [
            *(mkdir("deeply"), mkdir("deeply/nested"), write("deeply/nested/file", "x", 0o777)),
            *(chown("deeply/nested/file", 7, 0), mkdir("open", 0o777), write("shut", mode=0)),
        ]

        before = os.umask(umask)
        try:
            top = apply_layers(store, entries)
        finally:
            os.umask(before)

        assert_layer_is(store, top, flat, steps)

    def test_AP03_a_parent_that_only_a_lower_layer_lists_keeps_its_metadata(self, store: Store, flat: Path) -> None:
        lower = [
            directory("d", mode=0o711, uid=1, gid=2, xattrs={"user.x": b"1"}),
            directory("d/e", mode=0o1777, uid=3),
            file("d/e/old", "x"),
        ]
        steps = [
            *(mkdir("d"), chown("d", 1, 2), chmod("d", 0o711), setxattr("d", "user.x", b"1")),
            *(mkdir("d/e"), chown("d/e", 3, 0), chmod("d/e", 0o1777), write("d/e/old", "x"), write("d/e/new", "y")),
        ]

        self.check(store, flat, [lower, [file("d/e/new", "y")]], steps)

    @pytest.mark.parametrize("target", ["usr/lib", "/usr/lib", "../../../usr/lib", "usr/../usr/./lib"])
    def test_AP04_a_parent_that_is_a_symlink_below_leads_inside_the_root(self, store: Store, flat: Path, target: str) -> None:
        lower = [directory("usr"), directory("usr/lib"), symlink("lib", target)]
        steps = [mkdir("usr"), mkdir("usr/lib"), make_symlink(target, "lib"), write("usr/lib/new", "x")]

        self.check(store, flat, [lower, [file("lib/new", "x")]], steps)

    def test_AP05_a_lower_file_used_as_a_parent_is_replaced(self, store: Store, flat: Path) -> None:
        self.check(store, flat, [[file("f", "old")], [file("f/x", "new")]], [mkdir("f"), write("f/x", "new")])

    def test_AP05b_a_file_of_the_same_layer_used_as_a_parent_is_an_error(self, store: Store) -> None:
        with pytest.raises(ArchiveError, match="f"):
            apply_layers(store, [file("f", "one"), file("f/x", "two")])

        assert store.layers.list() == ()

    def test_AP06_a_directory_over_a_directory_changes_its_metadata_alone(self, store: Store, flat: Path) -> None:
        lower = [directory("d", mode=0o700, uid=1, xattrs={"user.old": b"1"}), file("d/kept", "x")]
        upper = [directory("d", mode=0o755, gid=2, xattrs={"user.new": b"2"})]
        steps = [mkdir("d"), chown("d", 0, 2), setxattr("d", "user.new", b"2"), write("d/kept", "x")]

        self.check(store, flat, [lower, upper], steps)

    @pytest.mark.parametrize("case", REPLACEMENTS)
    def test_AP07_an_entry_replaces_what_is_there(self, store: Store, flat: Path, case: str) -> None:
        lower, upper, steps = REPLACEMENTS[case]

        self.check(store, flat, [lower, upper], steps)

    def test_AP08_a_symlink_of_the_same_layer_is_replaced_not_followed(self, store: Store, flat: Path) -> None:
        entries = [directory("to"), symlink("x", "to"), directory("x"), file("x/f", "new")]

        self.check(store, flat, [entries], [mkdir("to"), mkdir("x"), write("x/f", "new")])

    @pytest.mark.parametrize("case", DUPLICATES)
    def test_AP09_the_last_entry_of_a_path_wins(self, store: Store, flat: Path, case: str) -> None:
        entries, steps = DUPLICATES[case]

        self.check(store, flat, [entries], steps)

    # hard links

    @pytest.mark.parametrize("target", ["d/f", "/d/f", "./d/f", "d//f"])
    def test_AP10_a_hard_link_is_another_name(self, store: Store, flat: Path, target: str) -> None:
        entries = [directory("d"), file("d/f", "x", mode=0o600, uid=1), hardlink("name", target, mode=0o777, uid=9)]
        steps = [mkdir("d"), write("d/f", "x", 0o600), chown("d/f", 1, 0), link("d/f", "name")]

        self.check(store, flat, [entries], steps)

    def test_AP10b_a_hard_link_to_a_symlink_links_the_link(self, store: Store, flat: Path) -> None:
        entries = [symlink("s", "nowhere"), hardlink("t", "s")]

        self.check(store, flat, [entries], [make_symlink("nowhere", "s"), link("s", "t")])

    @pytest.mark.parametrize(
        ("before", "target"),
        [([], "missing"), ([], "later"), ([directory("d")], "d"), ([], "name"), ([file("f")], "f/x")],
        ids=["missing", "later", "directory", "itself", "below a file"],
    )
    def test_AP10c_a_hard_link_to_nothing_linkable_is_an_error(
        self, store: Store, before: Sequence[ArchiveEntry], target: str
    ) -> None:
        with pytest.raises(ArchiveError, match="name"):
            apply_layers(store, [*before, hardlink("name", target), file("later", "x")])

        assert store.layers.list() == ()

    def test_AP11_a_hard_link_to_a_file_of_a_lower_layer(self, store: Store, flat: Path) -> None:
        lower = [directory("d"), file("d/f", "x", mode=0o640, uid=1), file("gone", "y")]
        upper = [hardlink("name", "d/f"), hardlink("gone", "d/f")]
        steps = [
            *(mkdir("d"), write("d/f", "x", 0o640), chown("d/f", 1, 0)),
            *(link("d/f", "name"), link("d/f", "gone")),
        ]

        self.check(store, flat, [lower, upper], steps)

    # metadata

    @pytest.mark.parametrize(
        "target", ["/abs/olute", "../../up", "dangling", "long/" * 60 + "end", "slash/", ".", "with\nnewline", "ünïcödé"]
    )
    def test_AP12_the_text_of_a_symlink_is_kept(self, store: Store, flat: Path, target: str) -> None:
        self.check(store, flat, [[symlink("link", target)]], [make_symlink(target, "link")])

    def test_AP12b_a_symlink_to_nothing_is_an_error(self, store: Store) -> None:
        with pytest.raises(ArchiveError, match="link"):
            apply_layers(store, [symlink("link", "")])

    @pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6711, 0o1644, 0o7777], ids=oct)
    def test_AP13_set_id_and_sticky_bits_survive_the_owner(self, store: Store, flat: Path, mode: int) -> None:
        entries = [file("f", "x", mode=mode, uid=1, gid=2), directory("d", mode=mode, uid=1, gid=2)]
        steps = [
            *(write("f", "x"), chown("f", 1, 2), chmod("f", mode)),
            *(mkdir("d"), chown("d", 1, 2), chmod("d", mode)),
        ]

        self.check(store, flat, [entries], steps)

    def test_AP14_a_file_capability_survives_the_owner(self, store: Store, flat: Path) -> None:
        capability = b"\x01\x00\x00\x02" + b"\x00\x20\x00\x00" + bytes(12)
        entries = [file("ping", "x", mode=0o755, uid=1, xattrs={"security.capability": capability, "user.note": b"\0\xff"})]
        steps = [
            *(write("ping", "x", 0o755), chown("ping", 1, 0)),
            *(setxattr("ping", "security.capability", capability), setxattr("ping", "user.note", b"\0\xff")),
        ]

        self.check(store, flat, [entries], steps)

    @pytest.mark.parametrize("when", [0, 1, LONG_AGO + 123_456_789, -1_500_000_000, 2**33 * 10**9 + 5], ids=str)
    def test_AP15_times_are_kept_to_the_nanosecond(self, store: Store, flat: Path, when: int) -> None:
        # The directories come first: what is unpacked into them must not touch their times.
        entries = [
            directory(".", mtime=when + 1),
            directory("d", mtime=when + 2),
            directory("d/e", mtime=when + 3),
            file("d/e/f", "x", mtime=when + 4),
            symlink("d/s", "e", mtime=when + 5),
            hardlink("d/g", "d/e/f", mtime=LONG_AGO),
        ]
        steps = [
            *(mkdir("d"), mkdir("d/e"), write("d/e/f", "x"), make_symlink("e", "d/s"), link("d/e/f", "d/g")),
            *(utime("d/s", when + 5), utime("d/e/f", when + 4), utime("d/e", when + 3)),
            *(utime("d", when + 2), utime(".", when + 1)),
        ]

        assert_layer_is(store, apply_layers(store, entries), flat, steps, times=True)

    def test_AP16_a_whiteout_leaves_the_time_of_its_directory(self, store: Store, flat: Path) -> None:
        lower = [directory("."), directory("d"), file("d/gone"), file("d/kept"), directory("d/tree"), file("d/tree/x")]
        steps = [mkdir("d"), write("d/kept"), *(utime(path, LONG_AGO) for path in ("d/kept", "d", "."))]

        top = apply_layers(store, lower, [whiteout("d/gone"), whiteout("d/tree")])

        assert_layer_is(store, top, flat, steps, times=True)

    # names

    @pytest.mark.parametrize("name", [".", "./", "/"])
    def test_AP17_the_root_entry_is_about_the_root(self, store: Store, flat: Path, name: str) -> None:
        entries = [directory(name, mode=0o710, uid=1, gid=2, xattrs={"user.root": b"x"}), file("f", "x")]
        steps = [chown(".", 1, 2), chmod(".", 0o710), setxattr(".", "user.root", b"x"), write("f", "x")]

        self.check(store, flat, [entries], steps)

    @pytest.mark.parametrize("entry", [file("."), file("./", "x"), symlink("/", "elsewhere"), fifo(".")], ids=repr)
    def test_AP17b_a_root_that_is_no_directory_is_an_error(self, store: Store, entry: ArchiveEntry) -> None:
        with pytest.raises(ArchiveError):
            apply_layers(store, [entry])

        assert store.layers.list() == ()

    @pytest.mark.parametrize("name", ["./a/x", "/a/x", "a//x", "a/./x", "//a/x", "./a/././x"])
    def test_AP18_spellings_of_one_name(self, store: Store, flat: Path, name: str) -> None:
        entries = [directory("a", mode=0o700), file(name, "x")]

        self.check(store, flat, [entries, [whiteout("a/x")]], [mkdir("a", 0o700)])

    def test_AP19_a_global_header_is_about_nobody(self, store: Store, flat: Path) -> None:
        data = archive([file("real", "x")], global_pax={"path": "foo/bar", "comment": "nothing", "uid": "77"})

        top = store.layers.apply(io.BytesIO(data)).key

        assert_layer_is(store, top, flat, [write("real", "x")])

    def test_AP20_device_0_0_would_read_as_a_deletion(self, store: Store) -> None:
        with pytest.raises(ArchiveError, match="hole"):
            apply_layers(store, [character_device("hole", 0, 0)])

        assert store.layers.list() == ()

    # streams

    @pytest.mark.parametrize("blob", [b"", bytes(512), bytes(1024), bytes(10240)], ids=len)
    def test_AP28_an_empty_blob_is_an_empty_layer(self, store: Store, flat: Path, blob: bytes) -> None:
        base = apply_layers(store, [directory("d", mode=0o700), file("d/f", "x")])

        top = store.layers.apply(io.BytesIO(blob), parent=base).key

        assert_layer_is(store, top, flat, [mkdir("d", 0o700), write("d/f", "x")])

    @pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
    def test_AP29_a_layer_is_the_same_however_it_is_compressed(
        self, store: Store, flat: Path, pack: Callable[[bytes], bytes]
    ) -> None:
        data = archive([directory("d"), file("d/f", "x" * 100_000)])

        layer = store.layers.apply(io.BytesIO(pack(data)))

        assert layer.diff_id == f"sha256:{sha256(data).hexdigest()}"
        assert_layer_is(store, layer.key, flat, [mkdir("d"), write("d/f", "x" * 100_000)])

    @pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
    @pytest.mark.parametrize("damage", ["body cut", "header cut", "end missing", "checksum", "packing cut"])
    def test_AP30_a_damaged_stream_leaves_nothing(self, store: Store, damage: str, pack: Callable[[bytes], bytes]) -> None:
        whole = archive([file("first", "x"), file("second", "y" * 4096), file("third", "z")])
        second = whole.index(b"second\0")
        broken = {
            "body cut": whole[: second + 1024],
            "header cut": whole[: second + 100],
            "end missing": whole.rstrip(b"\0")[: second + 512 + 4096],
            "checksum": whole[:second] + b"S" + whole[second + 1 :],
            "packing cut": whole,
        }
        data = pack(broken[damage])
        if damage == "packing cut":
            data = data[: len(data) * 2 // 3] if pack is bytes else data[:-5]

        with pytest.raises(ArchiveError):
            store.layers.apply(io.BytesIO(data))

        assert store.layers.list() == ()
        assert list(store.driver.objects()) == []

    @pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
    def test_AP31_junk_is_refused_and_the_store_goes_on(self, store: Store, pack: Callable[[bytes], bytes]) -> None:
        junk = sha256(b"junk").digest() * 400

        with pytest.raises(ArchiveError):
            store.layers.apply(io.BytesIO(pack(junk)))

        assert store.layers.list() == ()
        assert len(apply_layers(store, [file("f", "x")])) == 71

    def test_AP32_a_wrong_digest_is_found_before_anything_is_visible(self, store: Store) -> None:
        data = archive([file("f", "x")])

        with pytest.raises(DigestMismatchError):
            store.layers.apply(io.BytesIO(data), diff_id=f"sha256:{'0' * 64}")

        assert store.layers.list() == ()
        assert list(store.driver.objects()) == []

    def test_AP32b_a_source_that_fails_at_its_end_is_not_believed(self, store: Store) -> None:
        class Lying(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                data = super().read(size)
                if not data:
                    raise DigestMismatchError("blob", "sha256:…", "another")
                return data

        with pytest.raises(DigestMismatchError):
            store.layers.apply(Lying(archive([file("f", "x")])))

        assert store.layers.list() == ()

    def test_AP33_the_same_stack_is_stored_once(self, store: Store) -> None:
        once = apply_layers(store, [file("f", "x")], [file("g", "y")])
        count = len(list(store.driver.objects()))

        again = apply_layers(store, [file("f", "x")], [file("g", "y")])

        assert again == once
        assert len(list(store.driver.objects())) == count

    def test_AP34_a_missing_parent_is_named(self, store: Store) -> None:
        with pytest.raises(SnapshotNotFoundError, match="nobody"):
            store.layers.apply(io.BytesIO(archive([file("f")])), parent="nobody")
        store.graph.prepare("active")
        with pytest.raises(LaminaError, match="active"):
            store.layers.apply(io.BytesIO(archive([file("f")])), parent="active")

    def test_AP38_short_reads_change_nothing(self, store: Store, flat: Path) -> None:
        class Dripping(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                return super().read(1 if size else size)

        data = archive([directory("d"), file("d/f", "x" * 700)])

        layer = store.layers.apply(Dripping(gzip.compress(data)))

        assert_layer_is(store, layer.key, flat, [mkdir("d"), write("d/f", "x" * 700)])

    def test_AP39_a_removed_tree_does_not_come_back_with_its_name(self, store: Store, flat: Path) -> None:
        layers = [
            [directory("d"), file("d/old", "x"), directory("d/sub"), file("d/sub/old")],
            [whiteout("d")],
            [file("d/new", "y")],
        ]

        self.check(store, flat, layers, [mkdir("d"), write("d/new", "y")])

    def test_AP40_a_child_of_an_applied_layer_is_writable(self, store: Store, flat: Path) -> None:
        base = apply_layers(store, [directory("d"), file("d/f", "x"), file("d/g", "y")], [whiteout("d/g")])

        store.graph.prepare("child", base)
        target = store.mounts.mount("child")
        try:
            rm("d/f")(target)
            write("d/g", "anew")(target)
        finally:
            store.mounts.unmount("child")
        store.graph.commit("next", "child")

        assert_layer_is(store, "next", flat, [mkdir("d"), write("d/g", "anew")])
        with viewed(store, base) as tree:
            assert sorted(path.name for path in (tree / "d").iterdir()) == ["f"]
