"""Time as the outside sees it: the system's clock, and RFC 3339 in UTC."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

FOLLOWED_SHARE = 60
"""A running gateway follows its machine's wall clock by at most one second in so many: a clock
that drifts is kept up with, one that is set wrong by a day expires nothing before it is noticed."""


def _elapsed_ns() -> int:
    """Nanoseconds that never jump; where the system can tell, time asleep counts too."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if boottime is None else time.clock_gettime_ns(boottime)


class SystemClock:
    """`ports.Clock` on the machine's own clocks.

    Its time begins at the wall clock's and goes on with the monotonic one. Where the two differ
    it comes closer to the wall clock by 1 s a minute, so it never jumps and never goes back.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        elapsed_ns: Callable[[], int] = _elapsed_ns,
    ) -> None:
        """Both in nanoseconds; `elapsed_ns` from an arbitrary origin."""
        self._wall_ns = wall_ns
        self._elapsed_ns = elapsed_ns
        self._read_at = elapsed_ns()
        self._told = wall_ns()

    def now(self) -> int:
        """Unix milliseconds."""
        read_at = self._elapsed_ns()
        elapsed = read_at - self._read_at
        expected = self._told + elapsed
        step = elapsed // FOLLOWED_SHARE
        self._told = expected + max(-step, min(step, self._wall_ns() - expected))
        self._read_at = read_at
        return self._told // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def random(self) -> float:
        """A number in [0, 1)."""
        return random.random()  # noqa: S311 - jitter, not a secret

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds."""
        await asyncio.sleep(seconds)


def rfc3339(at: int) -> str:
    """Unix milliseconds as text, to the millisecond, in UTC."""
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_moment(text: str, timezone: tzinfo = UTC) -> int:
    """RFC 3339, or a plain date meaning its first moment in a time zone, as Unix milliseconds.

    `ValueError` for anything else.
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone)
    return round(moment.timestamp() * 1000)
