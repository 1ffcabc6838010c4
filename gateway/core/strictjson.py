"""JSON as strictly as money deserves: no duplicate names, no NaN, no floats, bounded depth.

RFC 8259 leaves duplicate names to the reader; two readers that choose differently are an attack.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

DEPTH_MAX = 64
"""Venice's deepest body has four levels; a parser's recursion limit is no place to find out."""
NUMBER_CHARACTERS_MAX = 64
"""No honest number is longer, and converting long ones takes quadratic time."""
VALUES_MAX = 200_000
"""Values in one body. Venice's longest lists have some thousands; a body of the allowed size could
hold millions of empty ones, each costing fifty times its text in memory."""

# Possessive, and content with an unterminated string matches too: time and memory stay linear.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NESTING = re.compile(rb"[\[\]{}]")
_SPACE = re.compile(r"[ \t\r\n]*+")


class NotStrictJson(ValueError):
    """The bytes are not the JSON this gateway accepts; the text says why."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("an object names a field twice")
    return found


def _integer(text: str) -> int:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise NotStrictJson("a number is too long")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise NotStrictJson("a number is too long")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise NotStrictJson("a number is too large or too small") from None
    if number.adjusted() > 300:
        raise NotStrictJson("a number is too large")
    return number


def _constant(text: str) -> Any:
    raise NotStrictJson(f"{text} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_decimal,
    parse_constant=_constant,
)


def parse(content: bytes) -> Any:
    """The value in UTF-8 bytes, numbers as `int` or `Decimal`; else `NotStrictJson`."""
    if content.startswith(b"\xef\xbb\xbf"):
        raise NotStrictJson("the body begins with a byte order mark")
    _check_structure(content)
    try:
        text = content.decode("utf-8")
        value, end = _DECODER.raw_decode(text, _after_space(text, 0))
    except UnicodeDecodeError as error:
        raise NotStrictJson("the body is not UTF-8") from error
    except NotStrictJson:
        raise
    except (ValueError, RecursionError) as error:
        raise NotStrictJson("the body is not valid JSON") from error
    if _after_space(text, end) != len(text):
        raise NotStrictJson("something follows the JSON value")
    return value


def parse_object(content: bytes) -> dict[str, Any]:
    """The object in UTF-8 bytes; `NotStrictJson` where the value is anything else."""
    value = parse(content)
    if not isinstance(value, dict):
        raise NotStrictJson("the body is not a JSON object")
    return value


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _check_structure(content: bytes) -> None:
    """Refuse what is too deep or has too many values, before anything is built from it."""
    if _values(content) <= DEPTH_MAX:
        return
    bare = _STRING.sub(b'""', content)
    if _values(bare) > VALUES_MAX:
        raise NotStrictJson(f"the body holds more than {VALUES_MAX} values")
    depth = 0
    for match in _NESTING.finditer(bare):
        depth += 1 if match[0] in b"[{" else -1
        if depth > DEPTH_MAX:
            raise NotStrictJson(f"the body nests deeper than {DEPTH_MAX} levels")
        if depth < 0:
            raise NotStrictJson("the body is not valid JSON")


def _values(content: bytes) -> int:
    """At least as many as there are values: each is the first, or follows a comma or a bracket."""
    return content.count(b"[") + content.count(b"{") + content.count(b",")
