"""JSON that two readers could read differently, or that costs more than its size, is refused."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.strictjson import DEPTH_MAX, VALUES_MAX, NotStrictJson, parse, parse_object

MILLION = 2**20
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"quote": 0.085}', {"quote": Decimal("0.085")}),
        ('{"quote": 1e-7}', {"quote": Decimal("1e-7")}),
        ("[5.10, 0.1, 5]", [Decimal("5.10"), Decimal("0.1"), 5]),
        (' \t\r\n{"a": {"a": null}} \n', {"a": {"a": None}}),
        ('"\\ud83d\\ude00 \\"[[[\\" é"', '\U0001f600 "[[[" é'),
        ("true", True),
        ('"\\ud800"', "\ud800"),
    ],
)
def test_numbers_stay_exact_and_plain_json_is_read(text: str, value: Any) -> None:
    assert parse(text.encode()) == value


def test_no_number_becomes_a_float() -> None:
    kinds = {type(number) for number in parse(b"[1, 1.0, 1e2, -0.5, 1E-400]")}
    assert kinds == {int, Decimal}


BAD: dict[str, bytes] = {
    "empty": b"",
    "spaces": b"   ",
    "not JSON": b"model=wan",
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without a mark": '{"a":1}'.encode("utf-16-le"),
    "Latin-1": '{"a":"é"}'.encode("latin-1"),
    "an overlong encoding": b'{"a":"\xc0\xaf"}',
    "trailing bytes": b'{"a":1}x',
    "a second value": b'{"a":1}{"a":2}',
    "a trailing comma": b'{"a":1,}',
    "a comment": b'{"a":1} // no',
    "single quotes": b"{'a':1}",
    "a bare name": b"{a:1}",
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "minus Infinity": b'{"a":-Infinity}',
    "1e999": b'{"a":1e999}',
    "an exponent beyond any": b'{"a":1e99999999999999999999999}',
    "an exponent below any": b'{"a":1e-99999999999999999999999}',
    "a number of 100 digits": b'{"a":' + b"1" * 100 + b"}",
    "a fraction of 100 digits": b'{"a":0.' + b"1" * 100 + b"}",
    "a leading zero": b'{"a":01}',
    "a plus sign": b'{"a":+1}',
    "hexadecimal": b'{"a":0x1}',
    "a control character": b'{"a":"\n"}',
    "a bad escape": b'{"a":"\\x"}',
    "an unfinished text": b'{"a":"b',
    "duplicate names": b'{"model":"cheap","model":"dear"}',
    "duplicate names, escaped": b'{"model":"cheap","m\\u006fdel":"dear"}',
    "duplicate names within": b'{"a":[{"b":1,"b":1}]}',
    "one level too deep": b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1),
    "100,000 levels": b"[" * 100_000,
    "100,000 levels of objects": b'{"a":' * 100_000,
    "levels behind a text of quotes": b'["' + b'\\"' * 5_000 + b'",' + b"[" * 100_000,
    "too many values": b"[" + b"0," * (VALUES_MAX + 1) + b"0]",
    "too many empty lists": b"[" + b"[]," * (VALUES_MAX + 1) + b"[]]",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_within_a_tenth_of_a_second(name: str) -> None:
    began = time.perf_counter()
    with pytest.raises(NotStrictJson):
        parse(BAD[name])
    assert time.perf_counter() - began < 0.1


COSTLY: dict[str, bytes] = {
    "brackets": b"[" * MILLION,
    "closing brackets": b"[]" * 100 + b"]" * MILLION,
    "empty lists": b"[" + b"[]," * MILLION + b"[]]",
    "an unfinished text of quotes": b"[" * (DEPTH_MAX + 1) + b'"' + b'\\"' * MILLION,
    "many unfinished texts": b"[" * (DEPTH_MAX + 1) + b'"\\' * MILLION,
    "spaces before nothing": b" " * MILLION,
    "spaces before something": b"1" + b" " * MILLION + b"x",
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_megabyte_of_malice_costs_no_more_than_its_size(name: str) -> None:
    began = time.perf_counter()
    with pytest.raises(NotStrictJson):
        parse(COSTLY[name])
    assert time.perf_counter() - began < 1.0


def test_a_large_honest_body_is_read() -> None:
    body = json.dumps({"image_url": "data:image/png;base64," + "A" * 8 * MILLION}).encode()
    assert len(parse_object(body)["image_url"]) > 8 * MILLION


def test_brackets_and_commas_inside_of_texts_are_no_structure() -> None:
    prompt = "[{," * VALUES_MAX + '\\ "quoted" '
    assert parse(json.dumps([prompt]).encode()) == [prompt]


def test_the_deepest_allowed_nesting_is_read() -> None:
    value = parse(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)
    for _ in range(DEPTH_MAX - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize("content", [b"[]", b'"a"', b"1", b"null"])
def test_a_body_that_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(NotStrictJson, match="not a JSON object"):
        parse_object(content)


@given(values, st.booleans())
def test_what_json_writes_is_read_back(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse(text.encode("utf-8", "surrogatepass" if ascii_only else "strict")) == value


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(content: bytes) -> None:
    with suppress(NotStrictJson):
        parse(content)
