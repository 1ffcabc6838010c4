"""What Venice publishes about the limits of a key: in `/api_keys/rate_limits`, and beside answers.

Text in, calls a minute out; a number that cannot be one is none. What follows from it is decided
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.core.pacing import WINDOW_SECONDS, CallClass
from gateway.core.retry import seconds_told

DOCUMENTED = {CallClass.QUEUE: 40, CallClass.RETRIEVE: 120}
"""Calls a minute by Venice's documentation, where it publishes nothing for the key."""
PER_MINUTE_MAX = 100_000
"""No key of Venice's has such a limit: a larger number is something else by mistake."""
RESET_SLACK_SECONDS = 5.0
"""How far Venice's clock and this machine's may be apart for a minute to be seen as one."""
_PER_MINUTE = "RPM"


def orders_per_minute(document: object, is_video: Callable[[str], bool]) -> int | None:
    """The orders a minute that `/api_keys/rate_limits` grants; None where it tells of none.

    It tells them for each model, and the key has one window for all: the least of the video
    models' counts. Limits per day and per token are none of the gate's.
    """
    return min(_told(document, is_video), default=None)


def _told(document: object, is_video: Callable[[str], bool]) -> Iterator[int]:
    data = document.get("data") if isinstance(document, Mapping) else None
    models = data.get("rateLimits") if isinstance(data, Mapping) else None
    for model in models if isinstance(models, list) else ():
        name = model.get("apiModelId") if isinstance(model, Mapping) else None
        limits = model.get("rateLimits") if isinstance(model, Mapping) else None
        if not isinstance(name, str) or not isinstance(limits, list) or not is_video(name):
            continue
        for limit in limits:
            if isinstance(limit, Mapping) and limit.get("type") == _PER_MINUTE:
                amount = _whole(limit.get("amount"))
                if amount is not None:
                    yield amount


def stated_per_minute(headers: Mapping[str, str], now: float) -> int | None:
    """The calls a minute that an answer's headers state; None where they state no such thing.

    `now` is Unix time in seconds. Venice does not say how long the window is; one that ends later
    than a minute from now is another one, a day's for example.
    """
    limit = _whole(headers.get("x-ratelimit-limit-requests"))
    reset = headers.get("x-ratelimit-reset-requests")
    if limit is None or reset is None:
        return None
    left = seconds_told(reset.strip(), now)
    return limit if 0 < left <= WINDOW_SECONDS + RESET_SLACK_SECONDS else None


def _whole(value: Any) -> int | None:
    """A number of calls, written as a whole number."""
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 6:
        return None
    return int(text) if 0 < int(text) <= PER_MINUTE_MAX else None
