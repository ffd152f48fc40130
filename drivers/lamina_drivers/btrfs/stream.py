"""Reading the kernel's send stream: a header, then commands with attributes (fs/btrfs/send.h), integers little-endian.

It is read strictly: whatever is not as it should be raises :class:`lamina.errors.UnsupportedError`, and the trees themselves are
compared. The checksums of commands protect what is stored and sent over networks; here the kernel writes into our own pipe, and
they are not verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from lamina.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_MAGIC = b"btrfs-stream\0"
#: Magic and version.
_HEADER = len(_MAGIC) + 4
#: Length of the attributes, command, checksum.
_COMMAND = 4 + 2 + 4
#: Type, length.
_ATTRIBUTE = 2 + 2


class Command(IntEnum):
    """The commands of version 1."""

    SUBVOLUME = 1
    SNAPSHOT = 2
    MAKE_FILE = 3
    MAKE_DIRECTORY = 4
    MAKE_NODE = 5
    MAKE_FIFO = 6
    MAKE_SOCKET = 7
    SYMLINK = 8
    RENAME = 9
    LINK = 10
    UNLINK = 11
    REMOVE_DIRECTORY = 12
    SET_XATTR = 13
    REMOVE_XATTR = 14
    WRITE = 15
    CLONE = 16
    TRUNCATE = 17
    CHMOD = 18
    CHOWN = 19
    TIMES = 20
    END = 21
    #: In place of WRITE in a stream without data.
    UPDATE_EXTENT = 22


class _Type(IntEnum):
    SIZE = 4
    PATH = 15
    PATH_TO = 16
    PATH_LINK = 17


_LAST_TYPE = 24


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a stream."""

    command: Command
    #: Where, at this point of the stream: relative to the root, which is ``b""``, without slashes around.
    path: bytes
    #: The new path of RENAME, the old one of LINK, the text of SYMLINK; else empty.
    other: bytes
    #: Bytes of UPDATE_EXTENT and TRUNCATE; else 0.
    size: int


def read_stream(pieces: Iterable[bytes]) -> Iterator[Step]:
    """Yield the steps of a stream, from the first change to the last. Raises :class:`UnsupportedError` for a stream that is not
    of version 1, is damaged, or ends before its end."""
    source = iter(pieces)
    buffer = bytearray()
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        while len(buffer) - at < count:
            piece = next(source, b"")
            if not piece:
                raise _strange("it ends in the middle")
            del buffer[:at]
            at = 0
            buffer.extend(piece)
        at += count
        return bytes(buffer[at - count : at])

    header = take(_HEADER)
    if not header.startswith(_MAGIC):
        raise _strange("no magic number")
    if (version := int.from_bytes(header[len(_MAGIC) :], "little")) != 1:
        raise _strange(f"version {version}")
    command = None
    while command is not Command.END:
        head = take(_COMMAND)
        command = _known(int.from_bytes(head[4:6], "little"))
        attributes = _attributes(take(int.from_bytes(head[:4], "little")))
        if command not in (Command.SUBVOLUME, Command.SNAPSHOT, Command.END):
            yield _step(command, attributes)
    if at < len(buffer) or next(source, b""):
        raise _strange("something after its end")


def _known(command: int) -> Command:
    try:
        return Command(command)
    except ValueError as error:
        raise _strange(f"command {command}") from error


def _attributes(body: bytes) -> Mapping[int, bytes]:
    found = {}
    at = 0
    while at < len(body):
        kind = int.from_bytes(body[at : at + 2], "little")
        value = at + _ATTRIBUTE
        end = value + int.from_bytes(body[at + 2 : value], "little")
        if not 0 < kind <= _LAST_TYPE or kind in found or end > len(body):
            raise _strange(f"attribute {kind}")
        found[kind] = body[value:end]
        at = end
    return found


def _step(command: Command, attributes: Mapping[int, bytes]) -> Step:
    other: bytes = b""
    size = 0
    try:
        if command is Command.RENAME:
            other = attributes[_Type.PATH_TO]
        elif command in (Command.LINK, Command.SYMLINK):
            other = attributes[_Type.PATH_LINK]
        elif command in (Command.UPDATE_EXTENT, Command.TRUNCATE):
            size = int.from_bytes(attributes[_Type.SIZE], "little")
        return Step(command, attributes[_Type.PATH], other, size)
    except KeyError as error:
        raise _strange(f"{command.name} without attribute {error.args[0]}") from error


def _strange(what: str) -> UnsupportedError:
    return UnsupportedError("btrfs", f"this send stream: {what}")
