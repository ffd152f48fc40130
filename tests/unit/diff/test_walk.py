"""What counts as a change; the numbers are those of the catalogue of conformance cases (DF)."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from lamina.diff.links import IncompleteError
from lamina.diff.walk import changes_of, compare, narrow
from lamina.driver import Touched
from lamina.errors import MountBusyError
from lamina.model import Change, ChangeKind, Mount
from tests.unit.diff.targets import HOST, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

pytestmark = pytest.mark.root

LETTERS = {ChangeKind.ADDED: "A", ChangeKind.MODIFIED: "M", ChangeKind.DELETED: "D"}


class Pair:
    """A parent with a few files, and a child that is its copy."""

    def __init__(self, place: Path) -> None:
        self.parent, self.child = place / "parent", place / "child"
        self.parent.mkdir(mode=0o755)

    def copy(self) -> Path:
        """Make the child."""
        HOST.copy_tree(self.parent, self.child)
        return self.child

    def changes(self, *, since: int = 0) -> list[str]:
        """What the child changed."""
        with opened(self.parent) as below, opened(self.child) as here:
            return show(compare(below, here, since=since))

    def narrowed(self, *touched: str, subtree: bool = False) -> list[str]:
        """The same, looking only at some paths."""
        with opened(self.parent) as below, opened(self.child) as here:
            return show(narrow(below, here, [Touched(os.fsencode(path), subtree=subtree) for path in touched]))

    def still(self) -> None:
        """Give all directories of the child the times that they have in the parent."""
        for top, _, _ in os.walk(self.child):
            below = self.parent / os.path.relpath(top, self.child)
            if below.is_dir():
                status = below.stat()
                os.utime(top, ns=(status.st_atime_ns, status.st_mtime_ns))


def show(changes: Iterable[Change]) -> list[str]:
    return [f"{LETTERS[change.kind]} {os.fsdecode(change.path)}" for change in changes]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    pair = Pair(tmp_path)
    (pair.parent / "d" / "e").mkdir(parents=True)
    for path in ("a", "d/b", "d/e/c"):
        (pair.parent / path).write_text(f"content of {path}")
    return pair


def same_times(path: Path, like: Path) -> None:
    status = like.lstat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def test_df01_copy_of_a_tree_has_no_changes(pair: Pair) -> None:
    pair.copy()

    assert pair.changes() == []


def test_df02_everything_in_a_tree_without_a_parent_is_added(pair: Pair) -> None:
    pair.copy().chmod(0o755)
    os.utime(pair.child, ns=(0, 0))

    with opened(pair.child) as here:
        assert show(compare(None, here)) == ["A a", "A d", "A d/b", "A d/e", "A d/e/c"]


@pytest.mark.parametrize(
    "act",
    [
        lambda root: root.chmod(0o700),
        lambda root: os.chown(root, 1, 0),
        lambda root: os.utime(root, ns=(0, 1)),
        lambda root: os.setxattr(root, "user.x", b"1"),
    ],
)
def test_root_without_a_parent_is_modified_unless_it_is_what_an_empty_layer_has(
    tmp_path: Path, act: Callable[[Path], None]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o755)
    os.utime(root, ns=(0, 0))
    with opened(root) as here:
        assert show(compare(None, here)) == []

    act(root)

    with opened(root) as here:
        assert show(compare(None, here)) == ["M ."]


def test_order_is_by_components_and_directories_come_before_what_is_in_them(pair: Pair) -> None:
    child = pair.copy()
    for path in ("z", "z!", "z-"):
        (child / path).mkdir()
        (child / path / "x").touch()
    pair.still()

    assert pair.changes() == ["A z", "A z/x", "A z!", "A z!/x", "A z-", "A z-/x"]


def test_df06_df18_removed_tree_is_one_deletion_and_the_directory_above_is_modified(pair: Pair) -> None:
    HOST.remove_tree(pair.copy() / "d" / "e")

    assert pair.changes() == ["M d", "D d/e"]


def test_df06_modified_file_does_not_list_its_directories(pair: Pair) -> None:
    (pair.copy() / "d/e/c").write_text("other")

    assert pair.changes() == ["M d/e/c"]


def test_df08_type_changes_are_modifications_and_new_content_is_added(pair: Pair) -> None:
    child = pair.copy()
    (child / "a").unlink()
    (child / "a").mkdir()
    (child / "a" / "new").touch()
    HOST.remove_tree(child / "d" / "e")
    (child / "d" / "e").touch()
    (child / "d" / "b").unlink()
    (child / "d" / "b").symlink_to("e")
    pair.still()

    assert pair.changes() == ["M a", "A a/new", "M d/b", "M d/e"]


def test_df08_symlink_to_another_target_of_the_same_length_and_time_is_modified(pair: Pair) -> None:
    (pair.parent / "s").symlink_to("one")
    child = pair.copy()
    (child / "s").unlink()
    (child / "s").symlink_to("two")
    same_times(child / "s", pair.parent / "s")
    pair.still()

    assert pair.changes() == ["M s"]


def test_df10_edit_that_keeps_size_and_time_is_found(pair: Pair) -> None:
    child = pair.copy()
    (child / "d" / "b").write_text("CONTENT OF D/B")
    same_times(child / "d" / "b", pair.parent / "d" / "b")

    assert pair.changes() == ["M d/b"]
    assert pair.narrowed("d/b") == ["M d/b"]


@pytest.mark.parametrize("at", [0, 1 << 20, 3_000_000])
def test_df10_difference_anywhere_in_a_large_file_is_found(pair: Pair, at: int) -> None:
    (pair.parent / "large").write_bytes(bytes(3_000_001))
    child = pair.copy()
    with open(child / "large", "r+b") as file:
        file.seek(at)
        file.write(b"x")
    same_times(child / "large", pair.parent / "large")

    assert pair.changes() == ["M large"]


@pytest.mark.parametrize(
    "act",
    [
        lambda path: path.chmod(0o640),
        lambda path: path.chmod(0o4644),
        lambda path: os.chown(path, 1, -1),
        lambda path: os.chown(path, -1, 1),
        lambda path: os.utime(path, ns=(0, path.stat().st_mtime_ns + 1)),
        lambda path: os.setxattr(path, "user.new", b""),
        lambda path: os.setxattr(path, "user.note", b"other"),
        lambda path: os.removexattr(path, "user.note"),
        lambda path: os.setxattr(path, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000")),
    ],
)
def test_df11_change_of_one_attribute_is_a_modification(pair: Pair, act: Callable[[Path], None]) -> None:
    os.setxattr(pair.parent / "a", "user.note", b"1")
    child = pair.copy()

    act(child / "a")

    assert pair.changes() == ["M a"]
    assert pair.narrowed("a", "d/e/c") == ["M a"]


def test_df11_df23_device_of_another_number_is_modified(pair: Pair) -> None:
    os.mknod(pair.parent / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    child = pair.copy()
    (child / "null").unlink()
    os.mknod(child / "null", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    same_times(child / "null", pair.parent / "null")
    pair.still()

    assert pair.changes() == ["M null"]


def test_df12_change_of_access_time_or_change_time_alone_is_no_change(pair: Pair) -> None:
    child = pair.copy()
    os.utime(child / "a", ns=(1, (child / "a").stat().st_mtime_ns))
    (child / "d" / "b").chmod(stat.S_IMODE((child / "d" / "b").stat().st_mode))

    assert pair.changes() == []


@pytest.mark.parametrize("name", ["trusted.overlay.opaque", "trusted.note", "user.overlay.origin", "security.ima"])
def test_attributes_of_the_machine_and_of_drivers_are_no_change(pair: Pair, name: str) -> None:
    child = pair.copy()
    os.setxattr(child / "d", name, b"\x04x")

    assert pair.changes() == []


def test_df19_directory_that_was_made_again_lists_what_it_lost(pair: Pair) -> None:
    child = pair.copy()
    HOST.remove_tree(child / "d")
    (child / "d").mkdir()
    (child / "d" / "new").touch()
    pair.still()

    assert pair.changes() == ["D d/b", "D d/e", "A d/new"]


def test_df20_directory_that_became_a_file_says_nothing_about_its_content(pair: Pair) -> None:
    child = pair.copy()
    HOST.remove_tree(child / "d")
    (child / "d").touch()
    pair.still()

    assert pair.changes() == ["M d"]


def test_df26_any_two_trees_can_be_compared(pair: Pair) -> None:
    pair.child.mkdir()
    (pair.child / "b").touch()

    with opened(pair.parent) as below, opened(pair.child) as here:
        assert show(compare(below, here)) == ["M .", "D a", "A b", "D d"]
        assert show(compare(here, below)) == ["M .", "A a", "D b", "A d", "A d/b", "A d/e", "A d/e/c"]


def test_df42_what_is_mounted_inside_is_not_looked_into(pair: Pair) -> None:
    child = pair.copy()
    HOST.mount([Mount("tmpfs", "tmpfs")], child / "d" / "e")
    try:
        with pytest.raises(MountBusyError, match="e is busy"):
            pair.changes()
    finally:
        HOST.unmount(child / "d" / "e")


def test_fifos_and_sockets_are_compared_without_being_opened(pair: Pair) -> None:
    os.mkfifo(pair.parent / "p")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(pair.parent / "s"))
    child = pair.copy()
    (child / "p").chmod(0o600)

    assert [change for change in pair.changes() if not change.endswith((" .", " s"))] == ["M p"]


def test_tree_deeper_than_any_number_of_handles_is_walked(pair: Pair) -> None:
    deep = pair.parent / "/".join(["x"] * 300)
    deep.mkdir(parents=True)
    child = pair.copy()
    (child / deep.relative_to(pair.parent) / "new").touch()

    assert len(pair.changes()) == 2
    assert pair.narrowed(str(deep.relative_to(pair.parent)), subtree=True) == pair.changes()


# --- hard links ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def linked(pair: Pair) -> Pair:
    """A pair in which ``l1``, ``l2`` and ``d/l3`` are one file; ``x`` is like it and another."""
    for name in ("l1", "x"):
        (pair.parent / name).write_text("the same")
        os.utime(pair.parent / name, ns=(0, 0))
    for name in ("l2", "d/l3"):
        os.link(pair.parent / "l1", pair.parent / name)
    pair.copy()
    return pair


def split(path: Path) -> None:
    """Make a file one of its own, equal in everything else."""
    data, status = path.read_bytes(), path.stat()
    path.unlink()
    path.write_bytes(data)
    path.chmod(stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def merge(path: Path, existing: Path) -> None:
    """Make ``path`` another name of an existing file."""
    path.unlink()
    os.link(existing, path)


def test_copy_that_keeps_hard_links_has_no_changes(linked: Pair) -> None:
    assert linked.changes() == []


def test_df13_new_name_of_a_file_lists_the_old_names_too(linked: Pair) -> None:
    os.link(linked.child / "a", linked.child / "a2")
    os.link(linked.child / "l2", linked.child / "l4")
    linked.still()

    assert linked.changes() == ["M a", "A a2", "M d/l3", "M l1", "M l2", "A l4"]


def test_df15_removing_a_name_is_nothing_but_that(linked: Pair) -> None:
    (linked.child / "l1").unlink()
    linked.still()

    assert linked.changes() == ["D l1"]
    assert linked.narrowed("l1") == ["D l1"]


def test_df15_changed_file_is_listed_by_all_its_names(linked: Pair) -> None:
    (linked.child / "l2").write_text("other")

    assert linked.changes() == ["M d/l3", "M l1", "M l2"]


def test_df15_replaced_name_leaves_the_others_alone(linked: Pair) -> None:
    (linked.child / "l2").unlink()
    (linked.child / "l2").write_text("other")
    linked.still()

    assert linked.changes() == ["M l2"]


def test_df15_split_file_is_modified_where_it_no_longer_is_the_first_name(linked: Pair) -> None:
    split(linked.child / "l2")
    linked.still()

    assert linked.changes() == ["M l2"]

    split(linked.child / "d" / "l3")
    linked.still()

    assert linked.changes() == ["M l1", "M l2"]


def test_df15_merged_files_are_modified_though_nothing_else_has_changed(linked: Pair) -> None:
    merge(linked.child / "x", linked.child / "l1")
    linked.still()

    assert linked.changes() == ["M d/l3", "M l1", "M l2", "M x"]


def test_hard_linked_symlinks_and_fifos_follow_the_same_rules(pair: Pair) -> None:
    (pair.parent / "s1").symlink_to("a")
    os.mkfifo(pair.parent / "p1")
    for name in ("s", "p"):
        os.link(pair.parent / f"{name}1", pair.parent / f"{name}2", follow_symlinks=False)
    child = pair.copy()
    os.link(child / "s2", child / "s3", follow_symlinks=False)
    os.chown(child / "p1", 1, 1)
    pair.still()

    assert pair.changes() == ["M p1", "M p2", "M s1", "M s2", "A s3"]


# --- looking at some paths -------------------------------------------------------------------------------------------------


def test_narrow_looks_at_touched_paths_alone(pair: Pair) -> None:
    child = pair.copy()
    for path in ("a", "d/b", "d/e/c"):
        (child / path).write_text("other")

    assert pair.narrowed("d/b") == ["M d/b"]
    assert pair.narrowed("d", subtree=True) == ["M d/b", "M d/e/c"]
    assert pair.narrowed("a", "d/e", "a", "nowhere", "a/below", "d/nowhere/x") == ["M a"]


def test_narrow_finds_directories_above_and_content_of_what_is_new(pair: Pair) -> None:
    child = pair.copy()
    (child / "d" / "e" / "new" / "deep").mkdir(parents=True)
    (child / "d" / "e" / "new" / "deep" / "x").touch()

    assert pair.narrowed("d/e/new") == ["M d/e", "A d/e/new", "A d/e/new/deep", "A d/e/new/deep/x"]
    assert pair.narrowed("d/e/new/deep/x") == pair.changes()


def test_narrow_takes_back_nothing_it_has_not_looked_at(linked: Pair) -> None:
    (linked.child / "l2").write_text("other")

    with pytest.raises(IncompleteError):
        linked.narrowed("l2")
    with opened(linked.parent) as below, opened(linked.child) as here:
        assert show(changes_of(below, here, [Touched(b"l2")])) == ["M d/l3", "M l1", "M l2"]


def test_narrow_cannot_tell_whether_an_unchanged_name_was_split_from_others(linked: Pair) -> None:
    split(linked.child / "l1")

    with pytest.raises(IncompleteError):
        linked.narrowed("l1")
    with opened(linked.parent) as below, opened(linked.child) as here:
        assert show(changes_of(below, here, [Touched(b"l1")])) == ["M .", "M l1"]


def test_changes_without_a_parent_need_no_touched_paths(pair: Pair) -> None:
    with opened(pair.parent) as here:
        assert show(changes_of(None, here, []))[1:] == ["A a", "A d", "A d/b", "A d/e", "A d/e/c"]


# --- since -----------------------------------------------------------------------------------------------------------------


def clock(place: Path) -> int:
    """The change time that a file of ``place`` gets now."""
    path = place / "clock"
    path.touch()
    now = path.stat().st_ctime_ns
    path.unlink()
    return now


def test_since_finds_every_edit_after_the_copy(pair: Pair, tmp_path: Path) -> None:
    child = pair.copy()
    since = clock(tmp_path)
    (child / "d" / "b").write_text("CONTENT OF D/B")
    same_times(child / "d" / "b", pair.parent / "d" / "b")
    (child / "a").chmod(0o600)

    assert pair.changes(since=since) == ["M a", "M d/b"]


def test_since_does_not_look_at_what_came_with_the_copy(pair: Pair, tmp_path: Path) -> None:
    """The other side of the coin: proof that nothing is read. A parent never changes."""
    pair.copy()
    while (since := clock(tmp_path)) == (pair.child / "d/e/c").stat().st_ctime_ns:
        pass
    (pair.parent / "a").write_text("this cannot be")

    assert pair.changes(since=since) == []
    assert pair.changes() == ["M a"]


def test_since_is_not_fooled_by_directories_that_were_swapped(tmp_path: Path) -> None:
    """Renaming a directory leaves the change times of what is in it alone, however deep."""
    pair = Pair(tmp_path)
    for name, content in (("d", "one"), ("e", "two")):
        for path in ("f", "deep/er/f"):
            target = pair.parent / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
            os.utime(target, ns=(0, 0))
    for top, _, _ in os.walk(pair.parent):
        os.utime(top, ns=(0, 0))
    child = pair.copy()
    while (since := clock(tmp_path)) == (child / "e/f").stat().st_ctime_ns:
        pass
    (child / "d").rename(child / "x")
    (child / "e").rename(child / "d")
    (child / "x").rename(child / "e")
    os.utime(child, ns=(0, 0))

    assert pair.changes(since=since) == ["M d/deep/er/f", "M d/f", "M e/deep/er/f", "M e/f"]


def test_since_finds_old_names_of_a_file_whose_other_name_moved_with_its_directory(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    (pair.parent / "v").mkdir()
    (pair.parent / "a").touch()
    os.link(pair.parent / "a", pair.parent / "v" / "b")
    child = pair.copy()
    while (since := clock(tmp_path)) == (child / "a").stat().st_ctime_ns:
        pass
    (child / "v").rename(child / "u")
    pair.still()

    assert pair.changes(since=since) == ["M a", "A u", "A u/b", "D v"]
