"""How many event streams each key holds open: a stream costs little, but not nothing.

It counts; what flows through a stream is not known here.
"""

from __future__ import annotations

from collections import Counter

from gateway.core.errors import RateLimited, RateStanding
from gateway.ports import Clock
from gateway.records import Caller

STREAMS_OF_A_KEY_MAX = 64
"""At once: as many as a person's jobs on a large screen, or a page opened many times over."""
RETRY_SECONDS = 30
"""A job's end closes its stream, and nobody knows when that is."""


class Streams:
    """Places for event streams."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: Counter[str] = Counter()

    def take(self, caller: Caller) -> None:
        """Take one of the key's places; `RateLimited` where all are taken. `give_back` it."""
        if self._open[caller.key.id] >= STREAMS_OF_A_KEY_MAX:
            reset_at = self._clock.now() + RETRY_SECONDS * 1000
            raise RateLimited(
                "event_streams",
                RateStanding(STREAMS_OF_A_KEY_MAX, 0, RETRY_SECONDS, reset_at),
                f"This key has {STREAMS_OF_A_KEY_MAX} event streams open, and may have no more. "
                "Close one, or poll.",
            )
        self._open[caller.key.id] += 1

    def give_back(self, caller: Caller) -> None:
        """Leave a place."""
        self._open[caller.key.id] -= 1
        if not self._open[caller.key.id]:
            del self._open[caller.key.id]

    def __len__(self) -> int:
        return self._open.total()
