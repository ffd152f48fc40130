"""The blobs of a store: manifests, configs and layers exactly as they came, in files named by their digests.

A blob is written to a staging directory, verified, made durable, and renamed to ``blobs/sha256/<hex>``; its record is part of the
transaction that makes an image visible. So a file may lack a record (its image never came to be), but no record lacks its file.
Whoever brings a blob leases it before the file appears, which keeps the collector away from it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from lamina.diff.streams import CHUNK
from lamina.errors import LimitExceededError, StoreCorruptError
from lamina.host.paths import open_beneath
from lamina.image.files import Extent
from lamina.image.spec import checked_digest, is_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.diff.limits import Limits

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: What copy_file_range(2) answers where it cannot do this pair of files.
_CANNOT: Final = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM})


class Blobs:
    """The blob files of one store; which of them count is for the records to say."""

    def __init__(self, root: Path, *, durable: bool) -> None:
        self._root = root
        self._home = root / "blobs" / "sha256"
        self._durable = durable

    def has(self, digest: str, size: int) -> bool:
        """Whether the file is there, and as long as it should be."""
        try:
            found = os.lstat(self._path(digest))
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == size

    @contextmanager
    def open(self, digest: str) -> Iterator[Extent]:
        """Yield the bytes of a blob. Raises :class:`StoreCorruptError` when its file is missing or no regular file."""
        name = os.path.relpath(self._path(digest), self._root)
        root = os.open(self._root, _DIRECTORY)
        try:
            descriptor = open_beneath(root, os.fsencode(name), os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise StoreCorruptError(self._root, f"blob {digest} cannot be opened ({error.strerror})") from error
        finally:
            os.close(root)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise StoreCorruptError(self._root, f"blob {digest} is no regular file")
            yield Extent(descriptor, 0, found.st_size)
        finally:
            os.close(descriptor)

    def read(self, digest: str, limits: Limits) -> bytes:
        """Return a whole blob that is a document. Raises like :meth:`open`, and :class:`LimitExceededError` for a large one."""
        with self.open(digest) as extent:
            if extent.size > limits.manifest_bytes:
                raise LimitExceededError(digest, "manifest_bytes", limits.manifest_bytes, extent.size)
            return b"".join(iter(lambda: extent.read(CHUNK), b""))

    def keep(self, staged: Staged, digest: str) -> None:
        """Make a staged blob, which the caller has verified and leased, the blob ``digest``."""
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        staged.move(self._path(digest), durable=self._durable)

    def remove(self, digest: str) -> None:
        """Remove the file; absent is fine."""
        self._path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Yield the digests that the files there are named by."""
        try:
            names = os.listdir(self._home)
        except FileNotFoundError:
            return
        yield from (digest for name in names if is_digest(digest := f"sha256:{name}"))

    def _path(self, digest: str) -> Path:
        return self._home / checked_digest(digest, "the store").removeprefix("sha256:")


@contextmanager
def staged(directory: Path, mode: int = 0o600) -> Iterator[Staged]:
    """Yield a new file in ``directory``; unless it was renamed it is gone when the block ends."""
    path = directory / uuid4().hex
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        yield Staged(descriptor, path)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


class Staged:
    """A file being written under a temporary name."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        self.path = path

    def write(self, data: bytes | memoryview, /) -> None:
        """Append all of ``data``."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]

    def copy(self, source: Extent) -> None:
        """Append what is left of ``source``: shared with it where the filesystem can, else copied by the kernel where it can."""
        while source.left:
            try:
                count = os.copy_file_range(source.descriptor, self.descriptor, source.left, source.position)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                break
            if not count:
                return  # the source has become shorter; whoever verifies it will say so
            source.skip(count)
        while data := source.read(CHUNK):
            self.write(data)

    def written(self) -> Extent:
        """Return all that was written so far, for reading."""
        return Extent(self.descriptor, 0, os.fstat(self.descriptor).st_size)

    def move(self, target: Path, *, durable: bool) -> None:
        """Give the file its name, in place of what had it; with ``durable``, data and name are on stable storage afterwards."""
        if durable:
            os.fsync(self.descriptor)
        self.path.replace(target)
        if durable:
            parent = os.open(target.parent, _DIRECTORY)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)
