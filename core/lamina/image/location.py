"""Places for images outside of a store: ``oci:DIR[:TAG]``, ``oci-archive:FILE[:TAG]``, ``docker-archive:FILE[:NAME]``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from lamina.errors import ImageError


class Transport(StrEnum):
    """The forms in which images travel; skopeo's words."""

    #: A directory: https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md.
    OCI = "oci"
    #: The same as a tar.
    OCI_ARCHIVE = "oci-archive"
    #: What ``docker save`` writes and ``docker load`` reads.
    DOCKER_ARCHIVE = "docker-archive"


@dataclass(frozen=True, slots=True)
class Location:
    """A place outside of the store."""

    transport: Transport
    path: Path
    #: What the image is called there; empty for the only one, or the obvious one.
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``transport:path[:name]``; raises :class:`ImageError`.

        The path ends at its first colon, as skopeo has it, so no path with a colon can be named.
        """
        transport, _, rest = text.partition(":")
        path, _, name = rest.partition(":")
        if transport not in set(Transport) or not path:
            forms = "oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]"
            raise ImageError(text, f"{text!r} is no place for images: write {forms}")
        return cls(Transport(transport), Path(path), name)

    def __str__(self) -> str:
        return f"{self.transport}:{self.path}" + (f":{self.name}" if self.name else "")
