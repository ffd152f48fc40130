from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lamina.host.loop import loop_device

pytestmark = pytest.mark.root


def attached(file: Path) -> list[str]:
    found = Path("/sys/block").glob("loop*/loop/backing_file")
    return [entry.parts[3] for entry in found if entry.read_text().rstrip("\n") == str(file)]


def gone(file: Path) -> bool:
    """Whether no device shows the file any more: the kernel lets go a moment after the last close."""
    deadline = time.monotonic() + 5
    while attached(file) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not attached(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "image"
    file.write_bytes(b"first" + bytes(1 << 20))
    return file


def test_a_device_shows_the_file_and_writes_to_it(file: Path) -> None:
    with loop_device(file) as device:
        handle = os.open(device, os.O_RDWR)
        try:
            assert os.pread(handle, 5, 0) == b"first"
            os.pwrite(handle, b"second", 0)
            os.fsync(handle)
        finally:
            os.close(handle)

    assert file.read_bytes()[:6] == b"second"
    assert gone(file)


def test_a_device_stays_while_somebody_has_it_open(file: Path) -> None:
    with loop_device(file) as device:
        handle = os.open(device, os.O_RDONLY)
    try:
        assert [f"/dev/{name}" for name in attached(file)] == [device]
    finally:
        os.close(handle)
    assert gone(file)


def test_an_exception_leaves_no_device(file: Path) -> None:
    with pytest.raises(KeyError), loop_device(file):
        raise KeyError

    assert gone(file)


def test_two_files_get_two_devices(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(bytes(1 << 20))

    with loop_device(file) as first, loop_device(other) as second:
        assert first != second


def test_no_file_is_no_device(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), loop_device(tmp_path / "missing"):
        pass
