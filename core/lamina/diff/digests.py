"""Sizes and SHA-256 digests of streams, taken while the bytes go by."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lamina.errors import DigestMismatchError

if TYPE_CHECKING:
    from lamina.diff.streams import Readable, Writable


class Digester:
    """The digest and the size of all bytes given to :meth:`update` so far."""

    __slots__ = ("_hash", "size")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        #: Bytes so far.
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Count ``data`` in."""
        self._hash.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """As OCI writes it: ``sha256:`` and 64 hex digits."""
        return f"sha256:{self._hash.hexdigest()}"


class DigestingReader:
    """``source``, with a running digest, believed at its end only.

    With ``expected`` (a digest) or ``size`` given, the ``read`` that meets the end of the source, or a byte too many, raises
    :class:`lamina.errors.DigestMismatchError` unless they hold. So whoever reads to the end has the right bytes, and only then.
    """

    def __init__(self, source: Readable, expected: str | None = None, size: int | None = None, *, label: str = "stream") -> None:
        self._source = source
        self._digester = Digester()
        self._expected = expected
        self._size = size
        self._label = label

    def read(self, n: int, /) -> bytes:
        """Return the next bytes of the source, once they are counted; verify at its end."""
        data = self._source.read(n)
        if data:
            self._digester.update(data)
            if self._size is not None and self.size > self._size:
                raise DigestMismatchError(self._label, f"{self._size} bytes", f"{self.size} or more")
        elif n:
            self._verify()
        return data

    def _verify(self) -> None:
        if self._size is not None and self.size != self._size:
            raise DigestMismatchError(self._label, f"{self._size} bytes", f"{self.size}")
        if self._expected is not None and self.digest != self._expected:
            raise DigestMismatchError(self._label, self._expected, self.digest)

    @property
    def digest(self) -> str:
        """Digest of what was read so far."""
        return self._digester.digest

    @property
    def size(self) -> int:
        """Bytes read so far."""
        return self._digester.size


class DigestingWriter:
    """``sink``, with a running digest of what was written to it."""

    def __init__(self, sink: Writable) -> None:
        self._sink = sink
        self._digester = Digester()

    def write(self, data: bytes | memoryview, /) -> None:
        """Count ``data`` in and pass it on."""
        self._digester.update(data)
        self._sink.write(data)

    @property
    def digest(self) -> str:
        """Digest of what was written so far."""
        return self._digester.digest

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._digester.size
