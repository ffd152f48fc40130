from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lamina.errors import CommandFailedError
from lamina.host.chroot import run_in_root
from lamina.host.mountinfo import mount_table

pytestmark = pytest.mark.root

#: What this machine's programs consist of, to be seen inside a tree that holds nothing.
MACHINE = {name: Path("/", name) for name in ("usr", "bin", "lib", "lib64") if Path("/", name).is_dir()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (*MACHINE, "proc", "etc"):
        (tmp_path / name).mkdir()
    return tmp_path


def mounted_below(place: Path) -> list[str]:
    return [entry.target for entry in mount_table() if entry.target.startswith(f"{place}/")]


def test_a_program_sees_the_tree_as_its_root(tree: Path) -> None:
    (tree / "here").touch()

    said = run_in_root(tree, ["/bin/ls", "/"], shared=MACHINE).stdout.split()

    assert said == sorted(["here", "etc", "proc", *MACHINE])


def test_a_program_changes_the_tree(tree: Path) -> None:
    run_in_root(tree, ["/bin/mkdir", "/made"], shared=MACHINE)

    assert (tree / "made").is_dir()


def test_a_program_is_the_first_process_of_its_own_proc(tree: Path) -> None:
    said = run_in_root(tree, ["/bin/sh", "-c", "echo $$; ls -d /proc/[0-9]*"], shared=MACHINE).stdout.split()

    assert said[:2] == ["1", "/proc/1"]


def test_the_machines_name_servers_are_seen_and_not_copied(tree: Path) -> None:
    (tree / "etc/resolv.conf").write_text("old\n")

    said = run_in_root(tree, ["/bin/cat", "/etc/resolv.conf"], shared=MACHINE).stdout

    assert said == Path("/etc/resolv.conf").read_text()
    assert (tree / "etc/resolv.conf").read_text() == "old\n"


def test_nothing_stays_mounted_whether_the_program_succeeds_or_fails(tree: Path) -> None:
    run_in_root(tree, ["/bin/true"], shared=MACHINE)
    with pytest.raises(CommandFailedError):
        run_in_root(tree, ["/bin/false"], shared=MACHINE)

    assert mounted_below(tree) == []


def test_what_is_mounted_while_it_runs_is_seen_by_nobody_else(tree: Path) -> None:
    (tree / "outer").mkdir()

    script = f"cat /outer/{os.getpid()}/mountinfo; echo; cat /proc/self/mountinfo"
    said = run_in_root(tree, ["/bin/sh", "-c", script], shared={**MACHINE, "outer": Path("/proc")}).stdout

    ours, its = said.split("\n\n")
    assert f"{tree}/" not in ours
    assert " /usr " in its


def test_processes_that_it_leaves_behind_end_with_it(tree: Path) -> None:
    script = "(while echo; do sleep 0.01; done > /ticks 2> /dev/null) & sleep 0.1"
    (tree / "dev").mkdir()

    run_in_root(tree, ["/bin/sh", "-c", script], shared={**MACHINE, "dev": Path("/dev")})

    ticks = (tree / "ticks").stat().st_size
    time.sleep(0.1)
    assert ticks > 1
    assert (tree / "ticks").stat().st_size == ticks


def test_a_link_out_of_the_tree_leads_nowhere_outside(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (tree / "link").symlink_to(outside)

    with pytest.raises(FileNotFoundError):
        run_in_root(tree, ["/bin/true"], shared={**MACHINE, "link": Path("/etc")})


def test_what_it_prints_in_anger_is_in_the_error(tree: Path) -> None:
    with pytest.raises(CommandFailedError, match="no such thing"):
        run_in_root(tree, ["/bin/sh", "-c", "echo no such thing >&2; exit 3"], shared=MACHINE)
