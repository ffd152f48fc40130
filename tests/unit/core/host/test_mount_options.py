from __future__ import annotations

import pytest

from lamina.host import syscalls
from lamina.host.mount_classic import join_settings
from lamina.host.mount_options import parse_options
from lamina.model import Mount


def test_options_of_the_mount_are_told_from_those_of_the_filesystem() -> None:
    options = parse_options(Mount("ext4", "/dev/x", ("ro", "nosuid", "data=ordered", "discard", "noatime")))

    assert options.attributes == syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOATIME
    assert options.flags == syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NOATIME
    assert options.settings == (("data", "ordered"), ("discard", None))


def test_a_choice_of_access_times_replaces_the_one_before() -> None:
    assert parse_options(Mount("bind", "/x", ("strictatime",))).replaced == syscalls.MOUNT_ATTR_ATIME
    assert parse_options(Mount("bind", "/x", ("nodiratime",))).replaced == 0


def test_what_holds_anyway_reaches_nobody() -> None:
    options = parse_options(Mount("ext4", "/dev/x", ("rw", "suid", "dev", "exec", "defaults")))

    assert (options.attributes, options.flags, options.settings) == (0, 0, ())


def test_repeated_options_keep_their_order_and_values_their_equals_signs() -> None:
    options = parse_options(Mount("overlay", "overlay", ("lowerdir+=/b", "lowerdir+=/a=c", "index=off")))

    assert options.settings == (("lowerdir+", "/b"), ("lowerdir+", "/a=c"), ("index", "off"))


@pytest.mark.parametrize(
    ("mount", "recursive"),
    [
        (Mount("bind", "/x"), False),
        (Mount("bind", "/x", ("rbind", "ro")), True),
        (Mount("rbind", "/x"), True),
        (Mount("bind", "/x", ("bind",)), False),
    ],
)
def test_a_bind_mount_is_recursive_if_its_type_or_an_option_says_so(mount: Mount, *, recursive: bool) -> None:
    options = parse_options(mount)

    assert (options.bind, options.recursive, options.settings) == (True, recursive, ())


def test_layers_become_one_option_of_the_classic_call() -> None:
    settings = (("lowerdir+", "/a"), ("index", "off"), ("lowerdir+", "/b"), ("upperdir", "/u"), ("volatile", None))

    assert join_settings(settings) == b"lowerdir=/a:/b,index=off,upperdir=/u,volatile"


def test_what_would_end_a_path_is_escaped_in_the_classic_call() -> None:
    assert join_settings((("lowerdir+", "/a,b:c\\d"), ("upperdir", "/u,"))) == b"lowerdir=/a\\,b\\:c\\\\d,upperdir=/u\\,"


def test_a_comma_that_cannot_be_escaped_is_refused() -> None:
    with pytest.raises(OSError, match="no option with a comma"):
        join_settings((("context", "system_u:object_r:x:s0:c1,c2"),))
