from __future__ import annotations

import pytest

from lamina.errors import UnsupportedError
from lamina_drivers.btrfs.stream import Command, Step, read_stream

SIZE, PATH, PATH_TO, PATH_LINK = 4, 15, 16, 17
HEADER = b"btrfs-stream\0\1\0\0\0"


def little(value: int, width: int) -> bytes:
    return value.to_bytes(width, "little")


def command(number: int, **attributes: bytes) -> bytes:
    types = {"size": SIZE, "path": PATH, "to": PATH_TO, "link": PATH_LINK}
    body = b"".join(little(types[name], 2) + little(len(value), 2) + value for name, value in attributes.items())
    return little(len(body), 4) + little(number, 2) + little(0, 4) + body


END = command(Command.END)
CHMOD = command(Command.CHMOD, path=b"a/b")


def read(*pieces: bytes) -> list[Step]:
    return list(read_stream(pieces))


def test_each_step_comes_with_its_paths_and_sizes() -> None:
    steps = read(
        HEADER
        + command(Command.SNAPSHOT, path=b"snapshot")
        + command(Command.RENAME, path=b"a", to=b"b")
        + command(Command.LINK, path=b"new", link=b"old")
        + command(Command.SYMLINK, path=b"s", link=b"../text")
        + command(Command.UPDATE_EXTENT, path=b"f", size=little(4096, 8))
        + command(Command.TIMES, path=b"")
        + END
    )

    assert steps == [
        Step(Command.RENAME, b"a", b"b", 0),
        Step(Command.LINK, b"new", b"old", 0),
        Step(Command.SYMLINK, b"s", b"../text", 0),
        Step(Command.UPDATE_EXTENT, b"f", b"", 4096),
        Step(Command.TIMES, b"", b"", 0),
    ]


@pytest.mark.parametrize("size", [1, 7, 16, 4096])
def test_how_a_stream_is_cut_into_pieces_does_not_matter(size: int) -> None:
    stream = HEADER + CHMOD * 20 + END

    steps = read(*(stream[at : at + size] for at in range(0, len(stream), size)))

    assert steps == [Step(Command.CHMOD, b"a/b", b"", 0)] * 20


@pytest.mark.parametrize("length", range(len(HEADER + CHMOD + END)))
def test_a_stream_that_ends_before_its_end_is_refused(length: int) -> None:
    with pytest.raises(UnsupportedError, match="ends in the middle"):
        read((HEADER + CHMOD + END)[:length])


@pytest.mark.parametrize(
    ("stream", "what"),
    [
        (b"another-strm\0\1\0\0\0" + END, "no magic number"),
        (b"btrfs-stream\0\2\0\0\0" + END, "version 2"),
        (HEADER + command(23, path=b"x") + END, "command 23"),
        (HEADER + command(Command.CHMOD) + END, "CHMOD without attribute 15"),
        (HEADER + command(Command.RENAME, path=b"x") + END, "RENAME without attribute 16"),
        (HEADER + command(Command.UPDATE_EXTENT, path=b"x") + END, "UPDATE_EXTENT without attribute 4"),
        (HEADER + END + b"x", "something after its end"),
    ],
)
def test_what_is_not_a_stream_of_version_1_is_refused(stream: bytes, what: str) -> None:
    with pytest.raises(UnsupportedError, match=what):
        read(stream)


@pytest.mark.parametrize(
    "body",
    [
        little(PATH, 2) + little(5, 2) + b"four",
        little(99, 2) + little(0, 2),
        (little(PATH, 2) + little(1, 2) + b"x") * 2,
        little(PATH, 2),
    ],
    ids=["longer than the command", "unknown", "twice", "no length"],
)
def test_an_attribute_that_cannot_be_is_refused(body: bytes) -> None:
    with pytest.raises(UnsupportedError, match="attribute"):
        read(HEADER + little(len(body), 4) + little(Command.CHMOD, 2) + little(0, 4) + body + END)
