"""The mounts as data. For the kernel's aufs, which no kernel of today's Debian has, this proves their order and nothing more."""

from __future__ import annotations

import pytest

from lamina.errors import UnsupportedError
from lamina.model import Mount
from lamina_drivers.aufs.options import AufsOptions
from lamina_drivers.aufs.union import MAX_BRANCHES, by_fuse, by_kernel


def test_fuse_overlayfs_gets_the_nearest_directory_first() -> None:
    (mount,) = by_fuse(["/near", "/far"], "/upper", "/work", extra=("noacl",))

    assert mount.type == "fuse.fuse-overlayfs"
    assert mount.options == ("lowerdir+=/near", "lowerdir+=/far", "upperdir=/upper", "workdir=/work", "writeback=0", "noacl")


def test_without_an_upper_directory_the_mount_is_read_only() -> None:
    assert "ro" in by_fuse(["/near"])[0].options
    assert "ro" in by_kernel(["/near"])[0].options


def test_recorded_kernel_aufs_mounts_the_writable_branch_above_those_with_whiteouts() -> None:
    (mount,) = by_kernel(["/near", "/far"], "/upper")

    assert mount.type == "aufs"
    assert mount.options[0] == "br:/upper=rw:/near=ro+wh:/far=ro+wh"


def test_recorded_kernel_aufs_appends_the_branches_for_which_a_page_has_no_room() -> None:
    lowers = [f"/{number:03}{'x' * 96}" for number in range(MAX_BRANCHES - 1)]

    first, *others = by_kernel(lowers, "/upper")

    assert len(",".join(first.options).encode()) <= 4095
    assert len(",".join(first.options).encode()) + len(f":{lowers[0]}=ro+wh") > 4000
    named = first.options[0].removeprefix("br:").split(":")
    assert others == [Mount("aufs", "aufs", ("remount", f"append:{lower}=ro+wh")) for lower in lowers[len(named) - 1 :]]
    assert others
    assert named == ["/upper=rw", *(f"{lower}=ro+wh" for lower in lowers[: len(named) - 1])]


def test_more_branches_than_the_kernels_aufs_takes_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="stack of 128 layers: the limit of the kernel's aufs is 127"):
        by_kernel(["/x"] * MAX_BRANCHES, "/upper")


@pytest.mark.parametrize("path", ["/a:b", "/a,b", "/a=b"])
def test_path_that_the_kernels_aufs_cannot_be_told_is_refused(path: str) -> None:
    with pytest.raises(UnsupportedError, match="choose another --root"):
        by_kernel([path])


@pytest.mark.parametrize("options", ["upperdir=/x", "br:/x=rw", "nodev,append:/x", "writeback=1"])
def test_mount_option_that_is_the_drivers_to_decide_is_refused(options: str) -> None:
    with pytest.raises(ValueError, match="the driver's to decide"):
        AufsOptions(mount_options=options)


def test_union_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="one of auto, kernel, fuse-overlayfs, not 'overlay'"):
        AufsOptions(union="overlay")
