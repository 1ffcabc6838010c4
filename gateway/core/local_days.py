"""How far local time is from UTC, and since when: what a database needs to know to count in the
days of a place. Rules of time zones come from the system.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

DAY_MS = 86_400_000


def offsets(timezone: tzinfo, first: int, last: int) -> Iterator[tuple[int, int]]:
    """From which moment on local time is how far ahead of UTC; all in milliseconds, in order.

    The first pair is of `first` itself, and moments after `last` are of no interest. A zone that
    changes twice within a day is taken to change once.
    """
    at, ahead = first, _ahead(timezone, first)
    yield at, ahead
    while at < last:
        following = at + DAY_MS
        if (then := _ahead(timezone, following)) != ahead:
            yield _change(timezone, at, following), then
        at, ahead = following, then


def _change(timezone: tzinfo, before: int, after: int) -> int:
    """The moment within a day at which the offset becomes what it is at its end, to the second."""
    wanted = _ahead(timezone, after)
    while after - before > 1000:
        middle = (before + after) // 2000 * 1000
        if middle <= before:
            break
        if _ahead(timezone, middle) == wanted:
            after = middle
        else:
            before = middle
    return after


def _ahead(timezone: tzinfo, at: int) -> int:
    moment = datetime.fromtimestamp(at // 1000, UTC).astimezone(timezone)
    ahead = moment.utcoffset()
    assert ahead is not None, "an aware moment has an offset"
    return int(ahead.total_seconds()) * 1000
