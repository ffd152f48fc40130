from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from lamina.errors import CommandFailedError, ToolMissingError
from lamina.host import Completed
from lamina.host.command import run, which


def python(program: str, timeout: float = 60.0, input: bytes = b"") -> Completed:
    return run([sys.executable, "-I", "-c", program], timeout=timeout, input=input)


def test_what_a_program_printed_is_returned() -> None:
    program = "import sys; print('out'); print('err', file=sys.stderr)"

    assert python(program) == Completed("out\n", "err\n")


def test_a_program_reads_the_input_and_nothing_else() -> None:
    assert run(["cat"], input=b"given").stdout == "given"
    assert run(["cat"]).stdout == ""


def test_the_environment_holds_a_path_and_the_c_locale_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD_LIKE", "x")

    names = sorted(line.split("=")[0] for line in run(["env"]).stdout.splitlines())

    assert names == ["LC_ALL", "PATH"]


def test_a_program_runs_at_the_root_in_a_session_of_its_own() -> None:
    said = python("import os; print(os.getcwd(), os.getsid(0) == os.getpid())").stdout

    assert said == "/ True\n"


def test_no_handle_is_inherited(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(fd, True)  # noqa: FBT003

    try:
        said = python(f"import os; print(os.path.exists('/proc/self/fd/{fd}'))").stdout
    finally:
        os.close(fd)

    assert said == "False\n"


def test_the_path_of_the_caller_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env").write_text("#!/bin/sh\necho hijacked\n")
    (tmp_path / "env").chmod(0o755)
    (tmp_path / "mine").symlink_to("env")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "hijacked" not in run(["env"]).stdout
    assert which("mine") is None
    assert which("env") == Path("/usr/bin/env")


def test_a_status_other_than_zero_is_an_error_with_the_last_line() -> None:
    with pytest.raises(CommandFailedError, match=r"failed: the reason$") as caught:
        python("import sys; print('noise\\nthe reason', file=sys.stderr); sys.exit(3)")

    assert (caught.value.status, caught.value.stderr) == (3, "noise\nthe reason\n")
    assert caught.value.argv[0] == sys.executable


def test_a_signal_is_a_negative_status() -> None:
    with pytest.raises(CommandFailedError) as caught:
        python("import os; os.kill(os.getpid(), 15)")

    assert caught.value.status == -15


def test_a_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(ToolMissingError, match="'no-such-tool' is missing"):
        run(["no-such-tool", "--version"])


def test_output_that_is_not_utf_8_is_kept() -> None:
    said = run(["printf", "\\377"]).stdout

    assert os.fsencode(said) == b"\xff"


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_at_the_deadline_all_that_was_started_is_killed(tmp_path: Path) -> None:
    program = f"""
import subprocess, sys, time
child = subprocess.Popen(["sleep", "60"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
print("what it was at", file=sys.stderr, flush=True)
time.sleep(60)
"""
    began = time.monotonic()

    with pytest.raises(CommandFailedError, match=r"stopped after 1 s$") as caught:
        python(program, timeout=1.0)

    assert time.monotonic() - began < 30
    assert "what it was at" in caught.value.stderr
    child = int((tmp_path / "pid").read_text())
    while is_running(child):
        assert time.monotonic() - began < 30
        time.sleep(0.01)


def test_handles_and_environment_are_what_was_given() -> None:
    reading, writing = os.pipe()
    try:
        done = run(["sh", "-c", f'echo "$ASKED" >/dev/fd/{writing}; env'], handles=[writing], environment={"ASKED": "for"})
        assert os.read(reading, 100) == b"for\n"
    finally:
        os.close(reading)
        os.close(writing)

    assert "ASKED=for" in done.stdout.splitlines()
