"""Request bodies as JSON text whose numbers never pass through a float.

It writes what strict JSON reads, and refuses every other type: a float here would be our bug.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

PLAIN_DIGITS_MAX = 30
"""A whole number longer than this is written with an exponent, as it came: `1E+300`."""


def encode(value: Any) -> bytes:
    """Compact ASCII JSON; `TypeError` for a type that is not JSON, `ValueError` for no number.

    Escaping everything outside of ASCII lets lone surrogates pass as the escapes they came as.
    """
    return _text(value).encode("ascii")


def _text(value: Any) -> str:
    match value:
        case None | bool() | str() | int():
            return json.dumps(value)
        case Decimal():
            return _number(value)
        case Mapping():
            return "{" + ",".join(f"{_name(k)}:{_text(v)}" for k, v in value.items()) + "}"
        case Sequence() if not isinstance(value, bytes | bytearray):
            return "[" + ",".join(map(_text, value)) + "]"
        case _:
            raise TypeError(f"a {type(value).__name__} has no place in a request body")


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("the names of a JSON object are text")
    return json.dumps(value)


def _number(value: Decimal) -> str:
    """Whole numbers as integers, others with the digits they came with (RFC 8259, section 6)."""
    if not value.is_finite():
        raise ValueError(f"{value} is not a JSON number")
    if value.adjusted() <= PLAIN_DIGITS_MAX and value == value.to_integral_value():
        return str(int(value))
    return str(value)
