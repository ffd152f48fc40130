"""No layer reaches anything outside the directory it is unpacked into: the abuse table (P) and the break-outs (SC).

Each test has a victim beside and above the root, which the fixture finds untouched afterwards.
"""

from __future__ import annotations

import io
import itertools
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from lamina.diff import ApplyOptions, Limits, apply
from lamina.driver import Encoding
from lamina.errors import ArchiveError, HostError, LimitExceededError, MalformedArchiveError, MountBusyError, UnsafeEntryError
from lamina.model import Mount
from lamina.testing.archives import ArchiveEntry, archive, character_device, directory, file, hardlink, opaque, symlink, whiteout
from tests.unit.diff.targets import HOST, opened

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.diff.targets import Target

pytestmark = pytest.mark.root

UP = "../" * 12


def contents(target: Target) -> dict[str, bytes]:
    """The files that a stack of layers shows."""
    with target.view() as tree:
        return {
            str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file() and not path.is_symlink()
        }


# --- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../x",
        "/../x",
        "../../x",
        "../victim/x",
        "a/../x",
        "a/../../x",
        "a//../../x",
        "a/..",
        "/..",
        "./../x",
        "a/b/../../../x",
    ],
)
@pytest.mark.parametrize("make", [file, directory, lambda name: symlink(name, "x"), lambda name: hardlink(name, "f")])
def test_p1_sc01_name_that_goes_up_is_refused(target: Target, name: str, make: type[ArchiveEntry], victim: Path) -> None:
    with pytest.raises(UnsafeEntryError):
        target.apply(file("f"), make(name=name))


@pytest.mark.parametrize("name", ["../.wh.victim", "a/../../.wh.victim", "../.wh..wh..opq", "../../.wh.x"])
def test_sc16_whiteout_whose_name_goes_up_is_refused(target: Target, name: str, victim: Path) -> None:
    target.apply(file("a/x"))

    with pytest.raises(UnsafeEntryError):
        target.apply(file(name))


def test_sc02_name_that_only_looks_like_going_up_is_an_ordinary_one(target: Target) -> None:
    target.apply(file("..gitme", "1"), file("...", "2"), file("a..b/..c", "3"))

    assert contents(target) == {"..gitme": b"1", "...": b"2", "a..b/..c": b"3"}


@pytest.mark.parametrize("name", ["/.", ".", "./", "//", "./."])
def test_p9_root_is_never_replaced(target: Target, name: str, victim: Path) -> None:
    target.apply(file("kept"))

    with pytest.raises(UnsafeEntryError):
        target.apply(symlink(name, str(victim)), file("x"))


@pytest.mark.parametrize("name", ["a\0b", "\0", "victim\0/../x"])
def test_sc21_nul_in_a_name_is_refused(target: Target, name: str, victim: Path) -> None:
    with pytest.raises(ArchiveError):
        target.apply(ArchiveEntry(name="x", pax={"path": name}))


def test_sc21_path_longer_than_path_max_is_unpacked_component_by_component(target: Target) -> None:
    if target.encoding is Encoding.AUFS:
        pytest.skip("fuse-overlayfs shows nothing beyond PATH_MAX")
    deep = "/".join([f"{number:0200d}" for number in range(30)])

    target.apply(directory(deep, mode=0o700, mtime=5), file(f"{deep}/x", "first"), file("top"))
    target.apply(file(f"{deep}/y", "second"), hardlink("z", f"{deep}/x"), whiteout(f"{deep}/x"))

    found = target.manifest()
    assert found[deep.encode()].mode == 0o700
    assert found[deep.encode()].mtime == 5
    assert (found[deep.encode() + b"/y"].size, found[b"z"].size) == (6, 5)
    assert deep.encode() + b"/x" not in found


def test_sc21_names_and_depth_beyond_the_limits_are_refused(target: Target) -> None:
    with pytest.raises(LimitExceededError):
        target.apply(file("x" * 256))
    with pytest.raises(LimitExceededError):
        target.apply(file("a/b/c/d"), options=ApplyOptions(limits=Limits(depth=3)))


# --- symbolic links on the way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "links",
    [
        [symlink("d", "/victim")],
        [symlink("d", "../../victim")],
        [symlink("d", UP + "victim")],
        [symlink("d", "/dummy/../victim"), directory("dummy")],
        [symlink("a", "b"), symlink("b", "c"), symlink("c", "../.."), symlink("d", "a/victim")],
        [symlink("d", "/abs"), symlink("abs", "/other"), symlink("other", "/../victim")],
        [symlink("inner/go_up", ".."), symlink("d", "inner/go_up/../victim"), directory("inner")],
    ],
    ids=lambda links: links[-1].link if links else "",
)
@pytest.mark.parametrize("own", [True, False])
def test_p2_sc03_sc10_links_on_the_way_lead_to_a_place_inside(
    target: Target, links: list[ArchiveEntry], victim: Path, *, own: bool
) -> None:
    entries = [file("d/secret", "new"), file("d/deeper/x", "new")]
    if own:
        # In one layer the directory has to be there already: a dangling link contradicts itself.
        target.apply(*links, directory("victim"), *entries)
    else:
        target.apply(*links)
        target.apply(*entries)

    assert contents(target) == {"victim/secret": b"new", "victim/deeper/x": b"new"}


def test_p3_link_that_replaces_a_directory_is_followed_from_then_on(target: Target, victim: Path) -> None:
    target.apply(
        *(directory("e"), directory("a"), file("a/1", "1"), symlink("a", "e"), file("a/2", "2")),
        *(symlink("a", str(victim)[1:]), directory(str(victim)[1:]), directory("a"), file("a/3", "3")),
    )

    assert contents(target) == {"e/2": b"2", "a/3": b"3"}


def test_p3_handle_of_a_directory_is_dropped_when_the_way_to_it_changes(target: Target, victim: Path) -> None:
    target.apply(file("real/sub/x", "1"), file("other/sub/x", "2"), symlink("s", "real"))

    target.apply(
        *(file("s/sub/first", "real"), symlink("s", "other"), file("s/sub/second", "other")),
        *(directory("s"), file("s/sub/third", "own"), whiteout("real"), file("real/sub/fourth", "own")),
    )

    assert contents(target) == {
        "other/sub/second": b"other",
        "other/sub/x": b"2",
        "real/sub/first": b"real",
        "real/sub/fourth": b"own",
        "s/sub/third": b"own",
    }


def test_p3_directory_below_a_lower_link_is_not_found_there_when_the_link_is_gone(target: Target) -> None:
    target.apply(file("real/x"), symlink("s", "real"))

    target.apply(directory("s/sub"), file("s/sub/1", "real"), directory("s"), file("s/sub/2", "own"))

    assert contents(target) == {"real/x": b"", "real/sub/1": b"real", "s/sub/2": b"own"}


@pytest.mark.parametrize("path", ["a/x", "b/x", "link41/x", "dead/x", "deader/y/x"])
def test_p17_sc19_links_that_lead_nowhere_are_refused(target: Target, path: str, victim: Path) -> None:
    chain = [symlink(f"link{number}", f"link{number - 1}") for number in range(1, 42)]

    with pytest.raises((UnsafeEntryError, MalformedArchiveError)):
        target.apply(
            *(symlink("a", "a"), symlink("b", "c"), symlink("c", "b"), directory("link0"), *chain),
            *(symlink("dead", "missing"), symlink("deader", "/missing/deeper"), file(path)),
        )


def test_p17_sc19_lower_links_that_lead_in_circles_are_refused(target: Target) -> None:
    target.apply(symlink("a", "b"), symlink("b", "a"))

    for entry in (file("a/x"), hardlink("h", "b/x"), whiteout("a/x"), opaque("a")):
        with pytest.raises((UnsafeEntryError, MalformedArchiveError)):
            target.apply(entry)


def test_p8_chain_of_links_longer_than_path_max_leads_to_a_place_inside_or_nowhere(target: Target, victim: Path) -> None:
    name = "x" * 200
    links = [symlink(f"{name}{number}", f"{name}{number + 1}/" * 15 + "..") for number in range(30)]

    with suppress(ArchiveError, OSError):
        target.apply(*links, directory(f"{name}30"), file(f"{name}0/{UP}victim/secret".replace("../", f"{name}1/")))


@pytest.mark.parametrize("link", ["/proc/self/root", "/proc/self/cwd", "/proc/1/root", "/dev/fd/0"])
def test_p15_magic_links_are_not_followed(target: Target, link: str, victim: Path) -> None:
    with pytest.raises(MalformedArchiveError):
        target.apply(symlink("p", link + str(victim)), file("p/x"))


def test_sc07_links_with_odd_names_lead_nowhere_else(target: Target, victim: Path) -> None:
    for name in ("..", "localetc/sub/.."):
        with pytest.raises(UnsafeEntryError):
            target.apply(directory("localetc/sub"), symlink(name, "/victim"))
    target.apply(directory("etc"), symlink("localetc/", "/etc"), file("localetc/x", "new"))

    assert contents(target)["etc/x"] == b"new"


def test_sc08_link_that_replaces_a_lower_directory_leads_to_a_place_inside(target: Target, victim: Path) -> None:
    target.apply(file("d/old"), file("e/old"), directory("victim"), directory("tmp"))

    target.apply(symlink("d", "/victim"), file("d/f", "1"), symlink("e", UP + "victim"), hardlink("e/h", "d/f"))

    assert contents(target) == {"victim/f": b"1", "victim/h": b"1"}


def test_sc08_directory_that_replaces_a_link_is_not_where_the_link_led(target: Target) -> None:
    target.apply(directory("e"), symlink("s", "e"), symlink("t", "/e"))

    target.apply(directory("s"), file("s/x", "1"), directory("t"), file("t/x", "2"))

    assert contents(target) == {"s/x": b"1", "t/x": b"2"}


def test_sc09_directory_link_and_directory_again(target: Target, victim: Path) -> None:
    target.apply(
        *(directory("tmp"), directory("foo"), symlink("foo", "/"), file("foo/tmp/x", "through the link")),
        *(directory("foo"), file("foo/tmp/x", "last")),
    )

    assert contents(target) == {"tmp/x": b"through the link", "foo/tmp/x": b"last"}


def test_sc11_link_up_and_then_an_absolute_one_stays_inside(target: Target, victim: Path) -> None:
    target.apply(directory("absolute"), symlink("escape", ".."), file("escape/absolute/f", "in"))

    assert contents(target) == {"absolute/f": b"in"}


# --- hard links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["../../etc", "/etc", "down/../../etc", UP + "etc", "up/../etc"])
def test_p4_sc04_hard_link_target_through_a_link_is_inside(target: Target, link: str, victim: Path) -> None:
    target.apply(file("etc/passwd", "inside"), directory("down"), symlink("up", ".."), symlink("s", link))

    target.apply(hardlink("h", "s/passwd"))

    assert contents(target) == {"etc/passwd": b"inside", "h": b"inside"}


def test_p4_hard_link_through_a_link_to_the_outside_finds_nothing(target: Target, victim: Path) -> None:
    with pytest.raises(MalformedArchiveError):
        target.apply(symlink("s", str(victim)), hardlink("h", "s/secret"), file("h", "overwritten"))


@pytest.mark.parametrize("existing", ["../victim/secret", "/../victim/secret", UP + "etc/passwd", "a/../f", ".."])
def test_sc05_sc06_hard_link_target_that_goes_up_is_refused(target: Target, existing: str, victim: Path) -> None:
    with pytest.raises(UnsafeEntryError):
        target.apply(file("f"), directory("a"), hardlink("h", existing))


def test_p5_sc05_absolute_hard_link_target_is_inside(target: Target) -> None:
    target.apply(file("etc/x", "inside"), hardlink("h", "/etc/x"))

    assert contents(target) == {"etc/x": b"inside", "h": b"inside"}


def test_p5_mode_of_a_device_is_set_where_devices_cannot_be_opened(tmp_path: Path) -> None:
    place = tmp_path / "nodev"
    place.mkdir()
    HOST.mount([Mount("tmpfs", "tmpfs", ("nodev",))], place)
    try:
        with opened(place) as fd:
            apply(io.BytesIO(archive([character_device("dev/ptmx", 5, 2, mode=0o666)])), fd)

        assert (place / "dev/ptmx").stat().st_mode & 0o7777 == 0o666
    finally:
        HOST.unmount(place)


@pytest.mark.parametrize("text", ["../../x", "/victim/secret", UP + "victim/secret"])
def test_p7_sc13_sc14_hard_link_to_a_link_is_the_link_itself_and_changes_nothing_behind_it(
    target: Target, text: str, victim: Path
) -> None:
    target.apply(directory("a/b"), symlink("a/b/s", text), hardlink("h", "a/b/s", mode=0o777), symlink("v", f"{victim}/secret"))
    target.apply(hardlink("w", "v", mode=0o777, uid=5))

    found = target.manifest()
    assert (found[b"h"].target, found[b"w"].target) == (text.encode(), f"{victim}/secret".encode())


# --- metadata --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [directory, file])
def test_p10_sc18_metadata_of_an_entry_over_a_link_never_reach_what_it_led_to(
    target: Target, over: type[ArchiveEntry], victim: Path
) -> None:
    note = {"user.note": b"x"}
    target.apply(symlink("l", f"{victim}/secret"), symlink("m", str(victim)), symlink("in", "kept"), file("kept", mode=0o400))

    target.apply(*(over(name=name, mode=0o777, uid=5, mtime=1, xattrs=note) for name in ("l", "m", "in")))

    found = target.manifest()
    assert [found[path].mode for path in (b"l", b"m", b"in", b"kept")] == [0o777, 0o777, 0o777, 0o400]
    assert found[b"kept"].xattrs == ()


def test_p10_times_of_a_directory_that_became_a_link_are_not_set_behind_the_link(target: Target, victim: Path) -> None:
    target.apply(directory("d", mtime=1), file("d/x"), symlink("d", str(victim), mtime=2), file("e"))

    assert target.manifest()[b"d"].mtime == 2


def test_sc18_metadata_of_a_link_are_its_own(target: Target, victim: Path) -> None:
    link = symlink("l", f"{victim}/secret", uid=5, gid=6, mtime=7)
    link.xattrs["user.note"] = b"no link can have one"  # type: ignore[index]

    target.apply(link)

    found = target.manifest()[b"l"]
    assert (found.uid, found.gid, found.mtime, found.xattrs) == (5, 6, 7, ())


# --- other writers ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_p13_sc12_swapping_directories_for_links_meanwhile_leads_nowhere(tmp_path: Path, victim: Path) -> None:
    """Nobody may write to a target; if somebody does all the same, the layer fails or lands inside."""
    tree = tmp_path / "victim" / ".." / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(victim)
    stop = threading.Event()

    def swap() -> None:
        for turn in itertools.count():
            if stop.is_set():
                return
            with suppress(OSError):
                os.rename(tree / "a", tree / f"gone-{turn}")
                os.symlink(victim, tree / "a")
                os.unlink(tree / "a")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(300):
            entries = [file(f"a/b/{number}", "x", mode=0o777) for number in range(10)]
            layer = archive([*entries, directory("a", mode=0o777), whiteout("a/secret"), opaque("a")])
            with opened(tree) as fd, suppress(ArchiveError, HostError, OSError):
                apply(io.BytesIO(layer), fd, ApplyOptions(has_parent=True))
    finally:
        stop.set()
        swapper.join()
        HOST.remove_tree(tmp_path / "tree")


def test_what_is_mounted_inside_a_target_is_left_alone(tmp_path: Path) -> None:
    tree, inside = tmp_path / "tree", tmp_path / "tree" / "d" / "mounted"
    inside.mkdir(parents=True)
    HOST.mount([Mount("tmpfs", "tmpfs")], inside)
    try:
        (inside / "kept").write_text("kept")

        for layer in ([whiteout("d")], [file("d")], [opaque("d")], [file("d/mounted/x")], [whiteout("d/mounted/kept")]):
            with opened(tree) as fd, pytest.raises(MountBusyError):
                apply(io.BytesIO(archive(layer)), fd, ApplyOptions(has_parent=True))

        assert os.listdir(inside) == ["kept"]
    finally:
        HOST.unmount(inside)
