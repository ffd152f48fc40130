from __future__ import annotations

from pathlib import Path

import pytest

from lamina.errors import ImageError
from lamina.image.location import Location, Transport


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oci:dir", Location(Transport.OCI, Path("dir"))),
        ("oci:/a/b:12", Location(Transport.OCI, Path("/a/b"), "12")),
        ("oci-archive:x.tar:debian:12", Location(Transport.OCI_ARCHIVE, Path("x.tar"), "debian:12")),
        ("docker-archive:x.tar:localhost:5000/a:1", Location(Transport.DOCKER_ARCHIVE, Path("x.tar"), "localhost:5000/a:1")),
    ],
)
def test_a_place_is_read_and_printed(text: str, expected: Location) -> None:
    assert Location.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["", "x.tar", "oci", "oci:", "oci::12", "docker:x", "/a:b", "OCI:x"])
def test_what_is_no_place_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(ImageError, match=r"write oci:DIR\[:TAG\]"):
        Location.parse(text)
