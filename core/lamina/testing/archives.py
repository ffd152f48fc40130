"""Layer archives made by hand, hostile ones too, with the standard library's writer: a second opinion on the format.

    >>> archive([directory("etc"), file("etc/motd", "hello"), whiteout("etc/issue")])

Names and link targets go in exactly as they are given; nothing is checked, normalised or ordered.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Times of entries unless they say otherwise: a whole second long gone.
LONG_AGO = 1_000_000_000 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveEntry:
    """One member of an archive."""

    name: str
    type: bytes = tarfile.REGTYPE
    data: bytes = b""
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    #: Nanoseconds since the epoch; written as a PAX record when it is no whole second or negative.
    mtime: int = LONG_AGO
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    #: Further PAX records of this entry.
    pax: Mapping[str, str] = field(default_factory=dict)

    def header(self) -> tarfile.TarInfo:
        """Return the entry as the standard library wants it."""
        info = tarfile.TarInfo(self.name)
        info.type, info.linkname, info.size = self.type, self.link, len(self.data)
        info.mode, info.uid, info.gid = self.mode, self.uid, self.gid
        info.devmajor, info.devminor = self.device
        seconds, fraction = divmod(self.mtime, 10**9)
        info.pax_headers = dict(self.pax)
        if fraction or seconds < 0:
            info.pax_headers["mtime"] = pax_time(self.mtime)
        else:
            info.mtime = seconds
        for name, value in self.xattrs.items():
            info.pax_headers[f"SCHILY.xattr.{name}"] = value.decode("utf-8", "surrogateescape")
        return info


def pax_time(nanoseconds: int) -> str:
    """Decimal seconds as PAX wants them: ``-1.5`` is a second and a half before the epoch."""
    sign, size = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    seconds, fraction = divmod(size, 10**9)
    return f"{sign}{seconds}.{fraction:09d}"


def archive(entries: Iterable[ArchiveEntry], *, global_pax: Mapping[str, str] | None = None) -> bytes:
    """Return an uncompressed archive of ``entries`` in this order, with its end blocks."""
    sink = io.BytesIO()
    with tarfile.open(
        fileobj=sink, mode="w", format=tarfile.PAX_FORMAT, pax_headers=global_pax, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for entry in entries:
            tar.addfile(entry.header(), io.BytesIO(entry.data))
    return sink.getvalue()


def members(data: bytes) -> list[tarfile.TarInfo]:
    """Read an archive back with the standard library; names that are no UTF-8 come with surrogate escapes."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        return tar.getmembers()


def file(
    name: str,
    data: str | bytes = b"",
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = LONG_AGO,
    xattrs: Mapping[str, bytes] | None = None,
    type: bytes = tarfile.REGTYPE,
) -> ArchiveEntry:
    """A regular file; ``type`` for the other ways of saying so."""
    content = data.encode() if isinstance(data, str) else data
    return ArchiveEntry(name=name, type=type, data=content, mode=mode, uid=uid, gid=gid, mtime=mtime, xattrs=xattrs or {})


def directory(
    name: str,
    *,
    mode: int = 0o755,
    uid: int = 0,
    gid: int = 0,
    mtime: int = LONG_AGO,
    xattrs: Mapping[str, bytes] | None = None,
) -> ArchiveEntry:
    """A directory; the writer ends its name with a slash."""
    return ArchiveEntry(name=name, type=tarfile.DIRTYPE, mode=mode, uid=uid, gid=gid, mtime=mtime, xattrs=xattrs or {})


def symlink(name: str, target: str, *, uid: int = 0, gid: int = 0, mtime: int = LONG_AGO) -> ArchiveEntry:
    """A symbolic link with the text ``target``."""
    return ArchiveEntry(name=name, type=tarfile.SYMTYPE, link=target, mode=0o777, uid=uid, gid=gid, mtime=mtime)


def hardlink(name: str, existing: str, *, mode: int = 0o644, uid: int = 0, mtime: int = LONG_AGO) -> ArchiveEntry:
    """A further name of ``existing``; readers ignore what the entry says of mode, owner and time."""
    return ArchiveEntry(name=name, type=tarfile.LNKTYPE, link=existing, mode=mode, uid=uid, mtime=mtime)


def fifo(name: str, *, mode: int = 0o644) -> ArchiveEntry:
    """A named pipe."""
    return ArchiveEntry(name=name, type=tarfile.FIFOTYPE, mode=mode)


def character_device(name: str, major: int, minor: int, *, mode: int = 0o600) -> ArchiveEntry:
    """A character device; 0:0 is what overlayfs takes for a whiteout."""
    return ArchiveEntry(name=name, type=tarfile.CHRTYPE, device=(major, minor), mode=mode)


def block_device(name: str, major: int, minor: int, *, mode: int = 0o600) -> ArchiveEntry:
    """A block device."""
    return ArchiveEntry(name=name, type=tarfile.BLKTYPE, device=(major, minor), mode=mode)


def whiteout(path: str) -> ArchiveEntry:
    """The entry that hides ``path`` of the layers below."""
    parent, slash, name = path.rpartition("/")
    return ArchiveEntry(name=f"{parent}{slash}.wh.{name}", mode=0)


def opaque(path: str = "") -> ArchiveEntry:
    """The entry that hides all that the layers below have in the directory ``path``; nothing is the root."""
    return ArchiveEntry(name=f"{path}/.wh..wh..opq".lstrip("/"), mode=0)
