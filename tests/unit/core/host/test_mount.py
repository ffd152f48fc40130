"""Both ways of mounting are held to the same claims: the new mount API, and mount(2) as on kernels before 6.8."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from lamina.errors import MountBusyError, MountFailedError
from lamina.host.mount import mount, offers_new_api, open_mounts, unmount
from lamina.host.mountinfo import mount_table
from lamina.model import Mount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

both = pytest.mark.parametrize("new_api", [True, False], ids=["new", "classic"])

TMPFS = Mount("tmpfs", "tmpfs", ("size=1m",))


@pytest.fixture(autouse=True)
def _needs_the_new_api(request: pytest.FixtureRequest) -> None:
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("new_api") and not offers_new_api():
        pytest.skip("needs the new mount API of Linux 6.8")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "target"
    place.mkdir()
    yield place
    unmount(place)


def layer(place: Path, **files: str) -> str:
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name).write_text(text)
    return f"lowerdir+={place}"


def writable(place: Path, *lower: str) -> Mount:
    for name in ("upper", "work"):
        (place / name).mkdir(parents=True)
    return Mount("overlay", "overlay", (*lower, f"upperdir={place}/upper", f"workdir={place}/work"))


def at(place: Path) -> list[tuple[str, tuple[str, ...]]]:
    return [(entry.type, entry.options) for entry in mount_table() if entry.target == str(place)]


# --- mounting at a directory -----------------------------------------------------------------------------------------


@both
def test_the_nearest_layer_hides_those_below_it(tmp_path: Path, target: Path, *, new_api: bool) -> None:
    near, far = layer(tmp_path / "near", x="near"), layer(tmp_path / "far", x="far", y="far")

    mount([Mount("overlay", "overlay", (near, far))], target, new_api=new_api)

    assert {path.name: path.read_text() for path in target.iterdir()} == {"x": "near", "y": "far"}


@both
def test_what_is_written_goes_to_the_upper_directory(tmp_path: Path, target: Path, *, new_api: bool) -> None:
    mount([writable(tmp_path / "top", layer(tmp_path / "low", x="low"))], target, new_api=new_api)

    (target / "x").write_text("changed")

    assert (tmp_path / "top" / "upper" / "x").read_text() == "changed"
    assert (tmp_path / "low" / "x").read_text() == "low"


@both
def test_options_of_the_mount_take_effect(target: Path, *, new_api: bool) -> None:
    mount([Mount("tmpfs", "tmpfs", ("ro", "nosuid", "nodev", "noexec", "noatime", "size=1m"))], target, new_api=new_api)

    [(_, options)] = at(target)
    assert {"ro", "nosuid", "nodev", "noexec", "noatime"} <= set(options)
    with pytest.raises(OSError, match="Read-only"):
        (target / "x").touch()


@both
def test_a_read_only_bind_mount_leaves_its_source_writable(tmp_path: Path, target: Path, *, new_api: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()

    mount([Mount("bind", str(source), ("ro", "nodev"))], target, new_api=new_api)

    (source / "x").touch()
    assert (target / "x").exists()
    with pytest.raises(OSError, match="Read-only"):
        (target / "y").touch()


@both
def test_a_bind_mount_keeps_the_options_of_its_source(tmp_path: Path, target: Path, *, new_api: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    mount([Mount("tmpfs", "tmpfs", ("nosuid", "noexec"))], source)
    try:
        mount([Mount("bind", str(source), ("nodev",))], target, new_api=new_api)

        [(_, options)] = at(target)
        assert {"nosuid", "noexec", "nodev"} <= set(options)
    finally:
        unmount(target)
        unmount(source)


@both
def test_only_a_recursive_bind_mount_shows_what_is_mounted_below(tmp_path: Path, target: Path, *, new_api: bool) -> None:
    (tmp_path / "source" / "sub").mkdir(parents=True)
    mount([TMPFS], tmp_path / "source" / "sub")
    (tmp_path / "source" / "sub" / "x").touch()
    try:
        mount([Mount("bind", f"{tmp_path}/source")], target, new_api=new_api)
        plain = (target / "sub" / "x").exists()
        unmount(target)
        mount([Mount("bind", f"{tmp_path}/source", ("rbind",))], target, new_api=new_api)
        recursive = (target / "sub" / "x").exists()
    finally:
        unmount(target / "sub")
        unmount(target)
        unmount(tmp_path / "source" / "sub")

    assert (plain, recursive) == (False, True)


@both
@pytest.mark.parametrize("name", ["com,ma", "co:lon", "back\\slash", "blank and\nnewline", "\udcff", "x" * 250 + "/" + "y" * 250])
def test_any_name_of_a_layer_will_do(name: str, tmp_path: Path, target: Path, *, new_api: bool) -> None:
    place = tmp_path / name
    low = layer(place / "low", x="low")

    mount([writable(place / "top", low)], target, new_api=new_api)

    (target / "y").write_text("new")
    assert (target / "x").read_text() == "low"
    assert (place / "top" / "upper" / "y").read_text() == "new"


@both
def test_five_hundred_layers_are_one_mount(tmp_path: Path, target: Path, *, new_api: bool) -> None:
    # Names so long that the options would not fit on a page.
    layers = [layer(tmp_path / f"layer-{number:050}", **{f"x{number}": "", "top": str(number)}) for number in range(500)]

    mount([writable(tmp_path / "top", *layers)], target, new_api=new_api)

    assert len(list(target.iterdir())) == 501
    assert (target / "top").read_text() == "0"


@both
def test_mounts_are_performed_in_order(tmp_path: Path, target: Path, *, new_api: bool) -> None:
    mount([TMPFS, Mount("overlay", "overlay", (layer(tmp_path / "a"), layer(tmp_path / "b")))], target, new_api=new_api)

    assert [type for type, _ in at(target)] == ["tmpfs", "overlay"]


@both
def test_a_failure_leaves_none_of_the_mounts(target: Path, *, new_api: bool) -> None:
    with pytest.raises(MountFailedError):
        mount([TMPFS, TMPFS, Mount("overlay", "overlay", ("lowerdir+=/absent",))], target, new_api=new_api)

    assert at(target) == []


@both
def test_a_failed_bind_mount_leaves_nothing(target: Path, *, new_api: bool) -> None:
    with pytest.raises(MountFailedError, match="size: not an option of a bind mount"):
        mount([Mount("bind", "/proc", ("size=1m",))], target, new_api=new_api)

    assert at(target) == []


@both
def test_a_link_to_a_directory_is_a_target(tmp_path: Path, target: Path, *, new_api: bool) -> None:
    (tmp_path / "link").symlink_to(target)

    mount([TMPFS], tmp_path / "link", new_api=new_api)

    assert len(at(target)) == 1


@both
def test_a_target_that_is_absent_is_named(tmp_path: Path, *, new_api: bool) -> None:
    with pytest.raises(MountFailedError, match=f"{tmp_path}/absent"):
        mount([TMPFS], tmp_path / "absent", new_api=new_api)


@both
def test_an_unknown_filesystem_is_explained(target: Path, *, new_api: bool) -> None:
    with pytest.raises(MountFailedError, match="the kernel has no filesystem of this type"):
        mount([Mount("nosuchfs", "x")], target, new_api=new_api)


def test_a_layer_too_many_is_refused_in_the_words_of_the_kernel(tmp_path: Path, target: Path) -> None:
    low = layer(tmp_path / "low")

    with pytest.raises(MountFailedError, match="limit is 500"):
        mount([Mount("overlay", "overlay", (low,) * 501)], target, new_api=True)


def test_an_option_that_is_refused_is_named(tmp_path: Path, target: Path) -> None:
    with pytest.raises(MountFailedError, match=r"bogus=1: Unknown parameter 'bogus'$"):
        mount([Mount("overlay", "overlay", (layer(tmp_path / "low"), "bogus=1"))], target, new_api=True)


def test_a_layer_that_is_absent_is_named(target: Path) -> None:
    with pytest.raises(MountFailedError, match=r"lowerdir\+=/absent: No such file or directory"):
        mount([Mount("overlay", "overlay", ("lowerdir+=/absent",))], target, new_api=True)


def test_options_that_cannot_fit_on_a_page_are_refused_and_not_cut(target: Path) -> None:
    options = tuple(f"option-{number}={'x' * 90}" for number in range(50))

    with pytest.raises(MountFailedError, match="this kernel reads 4095"):
        mount([Mount("tmpfs", "tmpfs", options)], target, new_api=False)


# --- attached to nowhere ---------------------------------------------------------------------------------------------


@both
def test_an_unattached_mount_is_usable_and_in_no_table(tmp_path: Path, *, new_api: bool) -> None:
    root = open_mounts([writable(tmp_path / "top", layer(tmp_path / "low", x="low"))], new_api=new_api)

    try:
        os.mkdir("made", dir_fd=root)
        assert sorted(os.listdir(root)) == ["made", "x"]
        assert os.fstat(root).st_dev not in {entry.device for entry in mount_table()}
    finally:
        os.close(root)
    assert (tmp_path / "top" / "upper" / "made").is_dir()


@both
def test_five_hundred_layers_are_one_unattached_mount(tmp_path: Path, *, new_api: bool) -> None:
    layers = [layer(tmp_path / f"layer-{number:050}", **{f"x{number}": ""}) for number in range(500)]

    root = open_mounts([writable(tmp_path / "top", *layers)], new_api=new_api)

    try:
        assert len(os.listdir(root)) == 500
    finally:
        os.close(root)


@both
def test_several_unattached_mounts_cover_each_other(tmp_path: Path, *, new_api: bool) -> None:
    union = Mount("overlay", "overlay", (layer(tmp_path / "a", x=""), layer(tmp_path / "b")))

    root = open_mounts([TMPFS, union], new_api=new_api)

    try:
        assert os.listdir(root) == ["x"]
    finally:
        os.close(root)


@both
def test_a_single_bind_mount_is_the_directory_itself(tmp_path: Path, *, new_api: bool) -> None:
    root = open_mounts([Mount("bind", str(tmp_path), ("ro",))], new_api=new_api)

    try:
        assert os.path.samestat(os.fstat(root), tmp_path.stat())
    finally:
        os.close(root)


def exclusive(place: Path) -> Mount:
    """A mount that is refused while another one has the same upper directory."""
    return Mount("overlay", "overlay", (f"lowerdir+={place}/low", f"upperdir={place}/upper", f"workdir={place}/work", "index=on"))


def is_in_use(place: Path) -> bool:
    try:
        os.close(open_mounts([exclusive(place)]))
    except MountFailedError:
        return True
    return False


@both
def test_an_unattached_mount_ends_with_its_handle(tmp_path: Path, *, new_api: bool) -> None:
    for name in ("low", "upper", "work"):
        (tmp_path / name).mkdir()

    root = open_mounts([exclusive(tmp_path)], new_api=new_api)
    during = is_in_use(tmp_path)
    os.close(root)

    assert during
    # The kernel lets go of a namespace, and so of a classic mount, a moment after its last user.
    deadline = time.monotonic() + 5
    while is_in_use(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_in_use(tmp_path)


@both
def test_an_unattached_mount_ends_with_its_process(tmp_path: Path, *, new_api: bool) -> None:
    for name in ("low", "upper", "work"):
        (tmp_path / name).mkdir()
    program = f"""
import time
from lamina.host.mount import open_mounts
from lamina.model import Mount
root = open_mounts([{exclusive(tmp_path)!r}], new_api={new_api})
print("open", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        during = is_in_use(tmp_path)
        process.send_signal(signal.SIGKILL)

    assert during
    assert not is_in_use(tmp_path)


@both
def test_no_handle_stays_behind(tmp_path: Path, target: Path, *, new_api: bool) -> None:
    layers = [layer(tmp_path / ("x" * 200) / f"layer-{number:050}") for number in range(100)]
    good, bad = Mount("overlay", "overlay", tuple(layers)), Mount("overlay", "overlay", (*layers, "lowerdir+=/absent"))
    before = sorted(os.listdir("/proc/self/fd"))

    mount([good], target, new_api=new_api)
    os.close(open_mounts([good], new_api=new_api))
    for failing in (lambda: mount([bad], target, new_api=new_api), lambda: open_mounts([bad], new_api=new_api)):
        with pytest.raises(MountFailedError):
            failing()

    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_directory_of_the_process_stays_where_it_is(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [layer(tmp_path / f"layer-{number:050}") for number in range(100)]
    monkeypatch.chdir(tmp_path)

    mount([Mount("overlay", "overlay", tuple(layers))], target, new_api=False)

    assert os.getcwd() == str(tmp_path)


def test_an_unattached_mount_is_not_passed_on_to_other_namespaces(tmp_path: Path) -> None:
    union = Mount("overlay", "overlay", (layer(tmp_path / "a"), layer(tmp_path / "b")))
    program = f"""
import os
from lamina.host.mount import mount_table, open_mounts
from lamina.model import Mount
root = open_mounts([{union!r}], new_api=False)
assert os.fstat(root).st_dev not in {{entry.device for entry in mount_table()}}
"""

    # As on most machines, where systemd has made everything shared.
    subprocess.run(["unshare", "--mount", "--propagation", "shared", sys.executable, "-c", program], check=True)


# --- unmounting ------------------------------------------------------------------------------------------------------


def test_everything_at_a_place_is_unmounted(target: Path) -> None:
    mount([TMPFS, TMPFS, TMPFS], target)

    unmount(target)

    assert at(target) == []


def test_what_is_not_mounted_or_not_there_needs_no_unmounting(tmp_path: Path, target: Path) -> None:
    unmount(target)
    unmount(tmp_path / "absent")
    unmount(tmp_path / "absent" / "below")


def test_a_link_at_the_end_of_the_way_is_not_followed(tmp_path: Path, target: Path) -> None:
    mount([TMPFS], target)
    (tmp_path / "link").symlink_to(target)

    unmount(tmp_path / "link")

    assert len(at(target)) == 1


def test_a_link_on_the_way_is_followed(tmp_path: Path, target: Path) -> None:
    mount([TMPFS], target)
    (tmp_path / "link").symlink_to(tmp_path)

    unmount(tmp_path / "link" / "target")

    assert at(target) == []


def test_whoever_keeps_a_mount_busy_is_named(target: Path) -> None:
    mount([TMPFS], target)
    with subprocess.Popen(["sleep", "60"], cwd=target) as process:
        try:
            with pytest.raises(MountBusyError) as caught:
                unmount(target)
        finally:
            process.kill()

    assert caught.value.holders == (f"sleep (pid {process.pid})",)
    assert len(at(target)) == 1


def test_a_mount_below_is_named_as_what_keeps_it_busy(target: Path) -> None:
    mount([TMPFS], target)
    (target / "sub").mkdir()
    mount([TMPFS], target / "sub")

    try:
        with pytest.raises(MountBusyError) as caught:
            unmount(target)
    finally:
        unmount(target / "sub")

    assert caught.value.holders == (f"the mount {target}/sub",)


def test_who_leaves_in_a_moment_is_waited_for(target: Path) -> None:
    mount([TMPFS], target)
    fd = os.open(target, os.O_RDONLY)
    leaving = threading.Timer(0.05, os.close, (fd,))
    leaving.start()

    try:
        unmount(target)
    finally:
        leaving.join()

    assert at(target) == []


def test_a_detached_mount_is_out_of_sight_at_once_and_goes_with_its_last_user(target: Path) -> None:
    mount([TMPFS], target)
    (target / "x").write_text("still here")

    with (target / "x").open() as file:
        unmount(target, detach=True)
        assert at(target) == []
        assert file.read() == "still here"


def test_a_filesystem_whose_server_has_died_is_unmounted(target: Path) -> None:
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0"
    try:
        mount([Mount("fuse", "dead", tuple(options.split(",")))], target)
    finally:
        os.close(fuse)
    with pytest.raises(OSError, match="not connected"):
        target.stat()

    unmount(target)

    assert at(target) == []


# --- changing a mount ------------------------------------------------------------------------------------------------


@both
def test_a_remount_changes_what_is_there(target: Path, *, new_api: bool) -> None:
    mount([TMPFS, Mount("tmpfs", "tmpfs", ("remount", "size=2m"))], target, new_api=new_api)

    assert [type for type, _ in at(target)] == ["tmpfs"]
    assert "size=2048k" in at(target)[0][1]


def test_a_failing_remount_leaves_nothing(target: Path) -> None:
    with pytest.raises(MountFailedError, match="mount tmpfs"):
        mount([TMPFS, Mount("tmpfs", "tmpfs", ("remount", "nonsense"))], target)

    assert at(target) == []
