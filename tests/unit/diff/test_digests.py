"""Digests of what goes by, believed at the end only."""

from __future__ import annotations

import hashlib
import io

import pytest

from lamina.diff.digests import Digester, DigestingReader, DigestingWriter
from lamina.errors import DigestMismatchError
from tests.unit.diff.tars import Drip, drain

DATA = b"layer" * 1000
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


def test_a_digest_is_written_as_oci_writes_it() -> None:
    assert Digester().digest == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_reader_gives_the_bytes_and_counts_them() -> None:
    reader = DigestingReader(io.BytesIO(DATA))

    assert drain(reader, 700) == DATA
    assert (reader.digest, reader.size) == (DIGEST, len(DATA))


def test_ap32_the_right_digest_and_size_pass() -> None:
    assert drain(DigestingReader(Drip(DATA), DIGEST, len(DATA))) == DATA


def test_ap32_a_wrong_digest_is_an_error_at_the_end_and_not_before() -> None:
    reader = DigestingReader(io.BytesIO(DATA), "sha256:" + "0" * 64, label="layer 3")

    assert reader.read(len(DATA)) == DATA
    with pytest.raises(DigestMismatchError, match="layer 3") as caught:
        reader.read(1)
    assert (caught.value.expected, caught.value.found) == ("sha256:" + "0" * 64, DIGEST)


def test_ap32_a_wrong_digest_is_an_error_for_as_long_as_one_asks() -> None:
    reader = DigestingReader(io.BytesIO(b""), DIGEST)

    for _ in range(2):
        with pytest.raises(DigestMismatchError):
            reader.read(1)


def test_ap32_a_source_longer_than_it_should_be_is_an_error_at_once() -> None:
    class Endless:
        def read(self, n: int, /) -> bytes:
            return b"x" * n

    reader = DigestingReader(Endless(), size=1000)

    assert len(reader.read(1000)) == 1000
    with pytest.raises(DigestMismatchError, match="1000 bytes"):
        reader.read(1)


def test_ap32_a_source_shorter_than_it_should_be_is_an_error() -> None:
    with pytest.raises(DigestMismatchError, match=f"{len(DATA) + 1} bytes"):
        drain(DigestingReader(io.BytesIO(DATA), DIGEST, len(DATA) + 1))


def test_reading_nothing_is_not_the_end() -> None:
    assert DigestingReader(io.BytesIO(DATA), DIGEST).read(0) == b""


def test_a_writer_passes_the_bytes_on_and_counts_them() -> None:
    sink = io.BytesIO()
    writer = DigestingWriter(sink)

    writer.write(DATA[:10])
    writer.write(memoryview(DATA)[10:])

    assert sink.getvalue() == DATA
    assert (writer.digest, writer.size) == (DIGEST, len(DATA))
