from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.errors import MountBusyError
from lamina.host import Completed, Host
from lamina.model import Mount
from lamina.testing.recording import RecordingHost

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_recording_host_is_a_host() -> None:
    host: Host = RecordingHost()  # mypy holds the signatures; a method that came later would be missing here

    assert {name for name, _ in inspect.getmembers(Host, inspect.isfunction) if not name.startswith("_")} <= set(dir(host))


def test_calls_are_kept_in_order_with_what_was_asked() -> None:
    host = RecordingHost()
    bind = Mount("bind", "/a", ("ro",))

    host.mount([bind], Path("/b"))
    host.run(["sync", "-f"])
    host.unmount(Path("/b"), detach=True)

    assert [call.method for call in host.calls] == ["mount", "run", "unmount"]
    assert host.asked("mount") == [((bind,), Path("/b"))]
    assert host.asked("run") == [(("sync", "-f"), b"")]


def test_answers_come_in_turn_and_the_last_one_stays() -> None:
    host = RecordingHost({"run": [Completed("first", ""), Completed("then", "")]})

    assert [host.run(["x"]).stdout for _ in range(3)] == ["first", "then", "then"]


def test_an_error_in_the_script_is_raised_and_recorded() -> None:
    host = RecordingHost({"unmount": [MountBusyError("/b"), None]})

    with pytest.raises(MountBusyError):
        host.unmount(Path("/b"))
    host.unmount(Path("/b"))

    assert len(host.asked("unmount")) == 2


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda host: host.mount_table(), []),
        (lambda host: host.which("zfs"), None),
        (lambda host: host.get_xattr(Path("/a"), "user.x"), None),
        (lambda host: list(host.send_differences(Path("/a"), 5)), []),
        (lambda host: host.effective_capability("CAP_SYS_ADMIN"), True),
    ],
)
def test_without_a_script_the_machine_is_idle(ask: Callable[[Host], object], expected: object) -> None:
    assert ask(RecordingHost()) == expected
