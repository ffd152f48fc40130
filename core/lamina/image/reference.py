"""Names of images: ``debian``, ``debian:12``, ``registry.example:5000/tools/debian:12``, ``debian@sha256:…``.

The grammar is that of https://github.com/distribution/reference. Unlike Docker nothing is filled in but the tag ``latest``:
``debian`` stays ``debian`` and does not become a name in somebody's registry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from lamina.errors import InvalidReferenceError

_NAME_LENGTH: Final = 255
_LENGTH: Final = _NAME_LENGTH + 1 + 128 + 1 + 71

# Each alternative starts with a character that the one before cannot hold, so matching is linear.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9]+(?:[.-]+[A-Za-z0-9]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_NAME = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """A name in its parts. At least one of ``tag`` and ``digest`` is set."""

    name: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``name[:tag][@digest]``; without both the tag is ``latest``.

        Raises :class:`InvalidReferenceError`.
        """
        if len(text) > _LENGTH:
            raise InvalidReferenceError(f"{text[:64]}…", f"it is longer than {_LENGTH} characters")
        rest, at, digest = text.partition("@")
        if at and not _DIGEST.fullmatch(digest):
            raise InvalidReferenceError(text, "what follows the @ is no sha256 digest")
        name, colon, tag = rest, "", ""
        if ":" in rest.rpartition("/")[2]:  # a colon further left belongs to a port
            name, colon, tag = rest.rpartition(":")
        if colon and not _TAG.fullmatch(tag):
            raise InvalidReferenceError(text, "a tag is up to 128 letters, digits, '_', '.' and '-'")
        if len(name) > _NAME_LENGTH:
            raise InvalidReferenceError(text, f"without its tag it is longer than {_NAME_LENGTH} characters")
        if not _NAME.fullmatch(name):
            raise InvalidReferenceError(
                text, "lower-case letters and digits, with '.', '_' and '-' between, and ':' before a tag"
            )
        if _HEX.fullmatch(name):
            raise InvalidReferenceError(text, "64 hexadecimal digits are taken for a digest")
        return cls(name, tag if colon or at else "latest", digest)

    @classmethod
    def for_tag(cls, text: str) -> Self:
        """Read a name to give to an image: one without a digest, which no name can promise to keep."""
        reference = cls.parse(text)
        if reference.digest:
            raise InvalidReferenceError(text, "a name to give cannot hold a digest")
        return reference

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}@{self.digest}" if self.digest else f"{self.name}{tag}"
