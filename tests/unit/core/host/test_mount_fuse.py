"""Mounts that a program serves, with the one such program that the tests install."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lamina.errors import MountFailedError, ToolMissingError
from lamina.host.mount import mount, open_mounts, unmount
from lamina.host.mountinfo import mount_table
from lamina.model import Mount

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root

TYPE = "fuse.fuse-overlayfs"


def layer(place: Path, **files: str) -> str:
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name).write_text(text)
    return f"lowerdir+={place}"


def writable(place: Path, *options: str) -> Mount:
    for name in ("upper", "work"):
        (place / name).mkdir(parents=True)
    return Mount(TYPE, "union", (*options, f"upperdir={place}/upper", f"workdir={place}/work"))


@pytest.mark.parametrize("new_api", [True, False], ids=["new", "classic"])
def test_a_program_serves_what_the_mount_says(tmp_path: Path, *, new_api: bool) -> None:
    target = tmp_path / "target"
    target.mkdir()
    union = writable(tmp_path, layer(tmp_path / "low", file="below"), "nosuid")

    mount([union], target, new_api=new_api)
    try:
        (entry,) = [each for each in mount_table() if each.target == str(target)]
        (target / "file").unlink()
    finally:
        unmount(target)

    assert (entry.type, entry.source) == (TYPE, "union")
    assert {"nosuid", "allow_other", "default_permissions"} <= set(entry.options)
    assert "nodev" not in entry.options
    assert os.listdir(tmp_path / "upper") == [".wh.file"]


def test_a_lower_directory_may_have_any_name(tmp_path: Path) -> None:
    names = ["co:lon", "com,ma", "back\\slash", "a\\:b"]
    union = Mount(TYPE, "union", tuple(layer(tmp_path / name, **{f"in-{number}": ""}) for number, name in enumerate(names)))

    handle = open_mounts([union])
    try:
        assert sorted(os.listdir(handle)) == [f"in-{number}" for number in range(len(names))]
    finally:
        os.close(handle)


def test_paths_that_fill_more_than_one_argument_are_understood(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 200) / ("y" * 200)
    union = Mount(TYPE, "union", tuple(layer(long / str(number), **{f"in-{number}": ""}) for number in range(300)))

    handle = open_mounts([union])
    try:
        assert len(os.listdir(handle)) == 300
    finally:
        os.close(handle)


def test_a_program_that_is_not_installed_leaves_no_mount(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="no-such-program"):
        mount([Mount("fuse.no-such-program", "none")], tmp_path)

    assert not os.path.ismount(tmp_path)


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(MountFailedError, match=r"missing.*No such file or directory") as failure:
        mount([Mount(TYPE, "union", (f"lowerdir+={tmp_path}/missing",))], tmp_path)

    assert "lazytime" not in failure.value.reason
    assert not os.path.ismount(tmp_path)


def test_several_unattached_mounts_with_a_program_are_refused(tmp_path: Path) -> None:
    union = Mount(TYPE, "union", (layer(tmp_path / "low"),))

    with pytest.raises(MountFailedError, match="mounted alone"):
        open_mounts([Mount("tmpfs", "tmpfs"), union])
