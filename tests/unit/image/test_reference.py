from __future__ import annotations

import pytest

from lamina.errors import InvalidReferenceError
from lamina.image.reference import Reference

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("debian", Reference("debian", "latest")),
        ("debian:12", Reference("debian", "12")),
        ("tools/debian_x.y--z:V1.0-a_b", Reference("tools/debian_x.y--z", "V1.0-a_b")),
        ("localhost:5000/debian", Reference("localhost:5000/debian", "latest")),
        ("Registry.Example:5000/a/b:1", Reference("Registry.Example:5000/a/b", "1")),
        ("[::1]:5000/a", Reference("[::1]:5000/a", "latest")),
        (f"debian@{DIGEST}", Reference("debian", "", DIGEST)),
        (f"debian:12@{DIGEST}", Reference("debian", "12", DIGEST)),
        ("a" * 255, Reference("a" * 255, "latest")),
        (f"a:{'t' * 128}", Reference("a", "t" * 128)),
    ],
)
def test_a_name_is_read(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected
    assert Reference.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":12",
        "debian:",
        "Debian",
        "debian/",
        "/debian",
        "a//b",
        "a..b",
        "a___b",
        "-a",
        "a-",
        "../x",
        "a/../b",
        "debian:-x",
        "debian:a/b:c d",
        "debian\n",
        "debian:12\n",
        "debian\0",
        "d\u00e9bian",
        "debian:\u0661",
        f"a:{'t' * 129}",
        "a" * 256,
        "a" * 100_000,
        "debian@sha256:x",
        f"debian@{DIGEST}\n",
        f"debian@sha512:{'a' * 128}",
        f"debian@{DIGEST}@{DIGEST}",
        "a" * 64,
        "0123456789abcdef" * 4 + ":1",
        "[overlay@/root]debian",
        "host:99999999/a",
        "a-" * 120 + "!",
        "a." * 120 + "!",
        "a/" * 120 + "!",
        "a" * 250 + "!",
        "a" + "_" * 250,
    ],
)
def test_g11_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        Reference.parse(text)


def test_a_name_to_give_holds_no_digest() -> None:
    with pytest.raises(InvalidReferenceError, match="cannot hold a digest"):
        Reference.for_tag(f"debian@{DIGEST}")
