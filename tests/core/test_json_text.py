"""Request bodies: what strict JSON read comes out again, and no number passes through a float."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.json_text import encode
from gateway.core.strictjson import parse

numbers = st.integers(-(10**20), 10**20) | st.decimals(
    allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9
)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_is_encoded_reads_back_equal(value: Any) -> None:
    assert parse(encode(value)) == value


@given(values)
def test_an_encoded_body_is_compact_ascii(value: Any) -> None:
    text = encode(value).decode("ascii")
    assert json.loads(text, parse_float=Decimal) == value


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Decimal("0.085"), "0.085"),
        (Decimal("0.1"), "0.1"),
        (Decimal("5.0"), "5"),
        (Decimal("1E+2"), "100"),
        (Decimal("-0.50"), "-0.50"),
        (Decimal("1E-7"), "1E-7"),
        (Decimal("123456789012345678.25"), "123456789012345678.25"),
        (Decimal("1E+300"), "1E+300"),
    ],
)
def test_a_number_keeps_its_digits(number: Decimal, text: str) -> None:
    assert encode({"n": number}) == f'{{"n":{text}}}'.encode()


def test_an_absurd_exponent_costs_nothing() -> None:
    assert encode(Decimal("1E-999999")) == b"1E-999999"


def test_a_lone_surrogate_passes_as_the_escape_it_came_as() -> None:
    value = parse(b'{"prompt": "a \\ud83d cat", "\\udc00": 1}')
    assert encode(value) == b'{"prompt":"a \\ud83d cat","\\udc00":1}'


@pytest.mark.parametrize("value", [0.1, b"bytes", {1: 2}, {"a": object()}, [1.5]])
def test_a_type_that_is_not_json_is_our_bug(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity")])
def test_no_number_is_no_json(value: Decimal) -> None:
    with pytest.raises(ValueError, match="not a JSON number"):
        encode(value)
