"""JSON in which decimals keep their digits both ways; the standard encoder would need floats."""

import json
from decimal import Decimal
from typing import Any


def to_json(value: Any) -> str:
    """Compact JSON text of plain values; a Decimal becomes a number with exactly its digits."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{to_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(to_json, value)) + "]"
    return json.dumps(value)


def from_json(text: bytes | str) -> Any:
    """Parsed JSON, numbers with a point as Decimal.

    Raises ValueError for anything that is no JSON, whatever the depth.
    """
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(name: str) -> None:
    # Python's parser would take NaN and Infinity, which are no JSON.
    raise ValueError(f"{name} is no JSON")
