from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lamina.host import MountEntry
from lamina.host.mountinfo import mount_table, parse_entry

if TYPE_CHECKING:
    from pathlib import Path


def test_a_line_says_where_what_is_mounted_and_how() -> None:
    line = b"36 35 98:0 /part /mnt rw,noatime shared:7 master:1 - ext3 /dev/root rw,errors=continue\n"

    assert parse_entry(line) == MountEntry(
        id=36,
        target="/mnt",
        type="ext3",
        source="/dev/root",
        root="/part",
        options=("rw", "noatime", "rw", "errors=continue"),
        device=os.makedev(98, 0),
    )


def test_a_line_may_have_no_optional_fields() -> None:
    assert parse_entry(b"1 0 0:1 / / rw - tmpfs tmpfs rw\n").type == "tmpfs"


def test_a_source_may_be_empty() -> None:
    assert parse_entry(b"1 0 0:1 / / rw - tmpfs  rw\n").source == ""


def test_blanks_backslashes_and_commas_in_names_are_unescaped() -> None:
    entry = parse_entry(b"1 0 0:1 / /a\\040b\\134\\011c rw - overlay overlay rw,lowerdir+=/x\\054y,upperdir=/u\n")

    assert entry.target == "/a b\\\tc"
    assert entry.options[2:] == ("lowerdir+=/x,y", "upperdir=/u")


def test_a_name_that_is_not_utf_8_comes_out_as_python_spells_it() -> None:
    assert parse_entry(b"1 0 0:1 / /\xff rw - tmpfs tmpfs rw\n").target == os.fsdecode(b"/\xff")


@pytest.mark.root
def test_a_mount_is_in_the_table(tmpfs: Path) -> None:
    [entry] = [entry for entry in mount_table() if entry.target == str(tmpfs)]

    assert (entry.type, entry.source, entry.root, entry.device) == ("tmpfs", "tmpfs", "/", tmpfs.stat().st_dev)
    assert "size=65536k" in entry.options
