"""The files of an image layout, in a directory or in an archive: opened by the names that documents use, and never outside.

Documents come from strangers. Their names reach the kernel only beneath a directory's handle, without symbolic links, or select
members of an index in memory; what is no regular file is never opened for reading (a FIFO would wait for ever).
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final, Protocol, Self

from lamina.diff.compression import Compression, decompressed, detect
from lamina.diff.entries import EntryKind, printable
from lamina.diff.streams import CHUNK
from lamina.diff.tar_reader import TarReader
from lamina.errors import LimitExceededError, MalformedArchiveError, ManifestError, UnsafeEntryError
from lamina.host.paths import open_beneath

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from lamina.diff.limits import Limits

#: O_NONBLOCK: opening a FIFO returns at once, and is then refused for what it is.
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Extent:
    """``size`` bytes of an open file, read once and front to back. Extents of one descriptor do not disturb each other."""

    __slots__ = ("descriptor", "left", "position", "size")

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self.descriptor = descriptor
        self.size = size
        #: Where in the file the next byte is, and how many there are from there on.
        self.position = offset
        self.left = size

    def read(self, n: int, /) -> bytes:
        """Return 1 to ``n`` bytes, or ``b""`` at the end; sooner when the file has become shorter."""
        data = os.pread(self.descriptor, min(n, self.left), self.position)
        self.skip(len(data))
        return data

    def skip(self, count: int) -> None:
        """Go ahead by ``count`` bytes."""
        self.position += count
        self.left -= count


class Files(Protocol):
    """Where the files of a layout are."""

    #: For messages: what the user called it.
    place: str

    def open(self, name: str) -> AbstractContextManager[Extent]:
        """Yield the bytes of one file.

        Raises :class:`ManifestError` when there is none of that name and :class:`UnsafeEntryError` for what is no regular file.
        """


def read_small(files: Files, name: str, limits: Limits) -> bytes:
    """Return a whole file that should be a document. Raises like ``open``, and :class:`LimitExceededError` for a large one."""
    with files.open(name) as extent:
        if extent.size > limits.manifest_bytes:
            raise LimitExceededError(f"{files.place}: {name}", "manifest_bytes", limits.manifest_bytes, extent.size)
        return b"".join(iter(lambda: extent.read(CHUNK), b""))


class Directory:
    """The files below a directory. A context manager."""

    def __init__(self, path: Path) -> None:
        """Raise :class:`ManifestError` unless ``path`` is a directory."""
        self.place = str(path)
        try:
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ManifestError(self.place, "is no directory with an image layout") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._root)

    @contextmanager
    def open(self, name: str) -> Iterator[Extent]:
        """See :meth:`Files.open`."""
        try:
            descriptor = open_beneath(self._root, os.fsencode(name), _READ)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ManifestError(self.place, f"has no file {name!r}") from error
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EXDEV, errno.ENXIO):  # a link; a way out; a socket
                raise
            raise UnsafeEntryError(f"{self.place}: {name}", "is no regular file of this directory") from error
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UnsafeEntryError(f"{self.place}: {name}", "is no regular file")
            yield Extent(descriptor, 0, found.st_size)
        finally:
            os.close(descriptor)


class Archive:
    """The files in a tar, read in place: opening one is a look-up in memory, nothing is unpacked. A context manager.

    A compressed tar is unpacked into a nameless file in ``staging`` first. Links lead to other members, one step, and nowhere
    else.
    """

    def __init__(self, path: Path, staging: Path, limits: Limits) -> None:
        """Raise :class:`ManifestError` unless ``path`` is a regular file, and what :class:`TarReader` raises."""
        self.place = str(path)
        self._descriptor = _open_archive(path, staging, limits)
        try:
            self._members, self._links = _index(self._descriptor, limits, self.place)
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)

    @contextmanager
    def open(self, name: str) -> Iterator[Extent]:
        """See :meth:`Files.open`."""
        found = self._members.get(self._links.get(name, name))
        if found is None:
            if name in self._links:
                raise UnsafeEntryError(
                    f"{self.place}: {name}", f"is a link to {self._links[name]!r}, which is no file of the archive"
                )
            raise ManifestError(self.place, f"has no file {name!r}")
        yield Extent(self._descriptor, *found)


@contextmanager
def open_regular(path: Path) -> Iterator[Extent]:
    """Yield the bytes of a file that the user named. Raises :class:`ManifestError` unless it is a regular file."""
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError as error:
        raise ManifestError(str(path), "does not exist") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ManifestError(str(path), "is no archive, but a directory or a special file")
        yield Extent(descriptor, 0, found.st_size)
    finally:
        os.close(descriptor)


def _open_archive(path: Path, staging: Path, limits: Limits) -> int:
    """Return a descriptor of the uncompressed archive."""
    with open_regular(path) as source:
        if detect(os.pread(source.descriptor, 16, 0)) is Compression.NONE:
            return os.dup(source.descriptor)
        with TemporaryFile(dir=staging) as spool, decompressed(source, limits, label=str(path)) as stream:
            while data := stream.read(CHUNK):
                spool.write(data)
            spool.flush()
            return os.dup(spool.fileno())


def _index(descriptor: int, limits: Limits, place: str) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Return where each file of a tar has its bytes (offset, size), and where each link leads."""
    members: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    reader = TarReader(Extent(descriptor, 0, os.fstat(descriptor).st_size), limits, label=place)
    for entry in reader:
        name = _normal(entry.name, place)
        if entry.kind is EntryKind.DIRECTORY:
            continue
        if name in members or name in links:
            raise UnsafeEntryError(f"{place}: {printable(entry.name)}", "occurs twice, and readers differ in which they take")
        if entry.kind is EntryKind.FILE:
            if reader.offset is None:
                raise MalformedArchiveError(f"{place}: {printable(entry.name)}", "a sparse file, which cannot be read in place")
            members[name] = (reader.offset, entry.size)
        elif entry.kind is EntryKind.HARDLINK:
            links[name] = _normal(entry.link, place)
        elif entry.kind is EntryKind.SYMLINK:
            links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), os.fsdecode(entry.link)))
        else:
            raise UnsafeEntryError(f"{place}: {printable(entry.name)}", "is a device or a FIFO, which no image archive holds")
    return members, links


def _normal(name: bytes, place: str) -> str:
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if name.startswith(b"/") or b".." in parts:
        raise UnsafeEntryError(f"{place}: {printable(name)}", "a name that leads out of the archive")
    return os.fsdecode(b"/".join(parts))
