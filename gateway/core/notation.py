"""How amounts, durations, sizes, shares and names are written in policies, and what they mean.

Text in, exact values out: no amount passes through a float, and no number is guessed.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from gateway.core.budget import is_window
from gateway.core.money import Money, NotAnAmount
from gateway.core.validation import RESOLUTIONS

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_DURATION_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB|TiB)?")
_SIZE_BYTES = {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_PERCENT = re.compile(r"([0-9]{1,4})\s?%")
_WHOLE = re.compile(r"[0-9]{1,12}")
_GLOB = re.compile(r"[A-Za-z0-9._*?-]{1,128}")
_NAME = re.compile(r"\w[\w .@+-]{0,62}\w|\w")
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
DURATION_MS_MAX = 3_660 * 86_400_000
"""Ten years: above any real rule, and far from where calendars end."""


def amount(value: object) -> Money:
    """`5`, `0.25` to money, rounded up; `ValueError` for anything else, negative ones included."""
    if isinstance(value, Money):
        money = value
    else:
        try:
            money = Money.from_text(str(value))
        except NotAnAmount as error:
            raise ValueError(str(error)) from error
    if money.micros < 0:
        raise ValueError("an amount cannot be negative; 0 forbids")
    return money


def duration_ms(value: object) -> int:
    """`500ms`, `25s`, `10m`, `7d` to milliseconds; `ValueError` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        milliseconds = value
    elif match := _DURATION.fullmatch(str(value)):
        milliseconds = int(match[1]) * _DURATION_MS[match[2]]
    else:
        raise ValueError(f"{value!r} is not a duration like 500ms, 25s, 10m, 24h or 7d")
    if not 0 <= milliseconds <= DURATION_MS_MAX:
        raise ValueError(f"{value!r} is not between 0s and 3660d")
    return milliseconds


def size_bytes(value: object) -> int:
    """`64MiB`, `50GiB` to bytes; `ValueError` for anything else."""
    match = _SIZE.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a size like 64MiB or 50GiB")
    return int(match[1]) * _SIZE_BYTES[match[2]]


def _percent(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _PERCENT.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a share like 80%")
    return int(match[1])


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not _WHOLE.fullmatch(str(value)):
        raise ValueError(f"{value!r} is not a whole number")
    return int(str(value))


def _window(value: str) -> str:
    if not is_window(value):
        raise ValueError(
            f"{value!r} is no window: use hour, day, week, month, total, or a length like 24h"
        )
    return value


def _glob(value: str) -> str:
    if not _GLOB.fullmatch(value):
        raise ValueError(f"{value!r} is no model name or pattern (letters, digits, . _ - * ?)")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no name: at most 64 letters, digits, spaces and . _ @ + -")
    return value


def _host(value: str) -> str:
    if len(value) > 253 or not _HOST.fullmatch(value):
        raise ValueError(f"{value!r} is no host name like videos.example.org (no https://, no /)")
    return value


def _resolution(value: str) -> str:
    if value not in RESOLUTIONS:
        raise ValueError(f"{value!r} is no resolution of Venice's, like 720p, 1080p or 4k")
    return value


def _zone(value: object) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(str(value))
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is no timezone like Europe/Rome or UTC") from error


def _shown(pattern: str, *types: str) -> WithJsonSchema:
    """What an editor is told of a value that is written as text but kept as a number."""
    return WithJsonSchema({"type": ["string", *types], "pattern": f"^({pattern})$"})


Amount = Annotated[
    Money,
    BeforeValidator(amount),
    PlainSerializer(str, when_used="json"),
    _shown(r"[0-9]{1,10}(\.[0-9]{1,18})?", "number"),
]
Duration = Annotated[int, BeforeValidator(duration_ms), _shown(_DURATION.pattern)]
Size = Annotated[int, BeforeValidator(size_bytes), _shown(_SIZE.pattern, "integer")]
Percent = Annotated[int, Field(ge=0, le=1000), BeforeValidator(_percent), _shown(_PERCENT.pattern)]
Count = Annotated[int, Field(ge=0, le=10**9), BeforeValidator(_whole)]
Positive = Annotated[int, Field(ge=1, le=10**9), BeforeValidator(_whole)]
Version = Annotated[Literal[1], BeforeValidator(_whole)]
Windows = dict[Annotated[str, AfterValidator(_window)], Amount]
Glob = Annotated[str, AfterValidator(_glob)]
Name = Annotated[str, AfterValidator(_name)]
Host = Annotated[str, AfterValidator(_host)]
Resolution = Annotated[str, AfterValidator(_resolution)]
Zone = Annotated[
    ZoneInfo,
    BeforeValidator(_zone),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string"}),
]
