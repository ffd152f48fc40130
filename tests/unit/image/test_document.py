from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lamina.diff import Limits
from lamina.errors import LimitExceededError, ManifestError
from lamina.image.document import Fields, known_names, read_json, write_json

LIMITS = Limits()


def fields(text: str) -> Fields:
    return Fields(read_json(text.encode(), "it", LIMITS), "it", known_names("layers", "size", "name", "on"))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(json.dumps({"a": 1}).encode("utf-16"), id="J3-utf-16"),
        pytest.param(json.dumps({"a": 1}).encode("utf-32"), id="J3-utf-32"),
        pytest.param(b"\xef\xbb\xbf{}", id="J3-byte-order-mark"),
        pytest.param(b'{"a":"\\ud800"}', id="J3-half-a-surrogate-pair"),
        pytest.param(b'{"\\udfff":1}', id="J3-half-a-surrogate-pair-in-a-name"),
        pytest.param(b'{"a":"\xff"}', id="J3-latin-1"),
        pytest.param(b'{"a":NaN}', id="J2-NaN"),
        pytest.param(b'{"a":-Infinity}', id="J2-Infinity"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", id="J2-huge-integer"),
        pytest.param(b'{"layers":[1],"layers":[2]}', id="J4-member-twice"),
        pytest.param(b'{"a":{"b":1,"b":1}}', id="J4-member-twice-deep-inside"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"{} {}", id="two-documents"),
        pytest.param(b"{'a':1}", id="single-quotes"),
    ],
)
def test_what_readers_take_differently_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        read_json(data, "it", LIMITS)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_j2_deep_nesting_is_refused(opening: str) -> None:
    with pytest.raises(LimitExceededError, match="json_depth"):
        read_json((opening * 100_000).encode(), "it", LIMITS)


def test_the_limit_of_nesting_is_inclusive() -> None:
    limits = replace(LIMITS, json_depth=3)

    assert read_json(b'[[["x"]]]', "it", limits) == [[["x"]]]
    with pytest.raises(LimitExceededError):
        read_json(b"[[[[]]]]", "it", limits)


@pytest.mark.parametrize("name", ["Layers", "LAYERS", "layer\u017f"])
def test_j4_a_member_that_differs_from_a_known_one_in_case_is_refused(name: str) -> None:
    with pytest.raises(ManifestError, match="some take for 'layers'"):
        fields(json.dumps({"layers": [], name: []}))


def test_unknown_members_are_ignored_whatever_their_case() -> None:
    assert fields('{"Other":1,"other":2,"name":"x"}').text("name") == "x"


@pytest.mark.parametrize("value", ["true", "1.0", '"1"', "null", "-1", "11", "[]", "1e1"])
def test_j7_a_size_is_an_integer_in_its_bounds(value: str) -> None:
    with pytest.raises(ManifestError, match="'size'"):
        fields(f'{{"size":{value}}}').number("size", 10)


def test_the_bounds_of_a_size_are_inclusive() -> None:
    assert fields('{"size":10}').number("size", 10) == 10
    assert fields('{"size":0}').number("size", 10) == 0


@pytest.mark.parametrize("value", ["1", "[1]", '{"a":1}', "true", '"x"'])
@pytest.mark.parametrize("getter", ["text", "texts", "mapping", "names", "values", "flag"])
def test_j9_a_member_of_the_wrong_type_is_a_typed_error_or_fits(getter: str, value: str) -> None:
    known = fields(f'{{"name":{value}}}')

    try:
        found = getattr(known, getter)("name")
    except ManifestError:
        return

    assert type(found) in (str, tuple, dict, list, bool)
    assert found


@pytest.mark.parametrize("getter", ["text", "texts", "mapping", "names", "values", "flag"])
def test_null_is_absent(getter: str) -> None:
    assert getattr(fields('{"name":null}'), getter)("name") == getattr(fields("{}"), getter)("name")


@pytest.mark.parametrize("value", ["[]", "1", '"x"', "null"])
def test_j9_an_object_is_expected(value: str) -> None:
    with pytest.raises(ManifestError, match="should be an object"):
        fields(value)


def test_equal_values_give_equal_bytes_in_utf_8() -> None:
    assert write_json({"b": "ü", "a": [1]}) == '{"b":"ü","a":[1]}'.encode()
