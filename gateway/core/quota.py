"""How often one caller may ask: a sliding minute in sixty one-second buckets.

Counting costs the same for 20 calls a minute and for 20,000, and takes no memory per call.
"""

from __future__ import annotations

BUCKETS = 60


class MinuteCounter:
    """Calls of one caller within the last minute, by a clock in whole seconds."""

    __slots__ = ("_buckets", "_total", "_upto")

    def __init__(self) -> None:
        self._buckets = [0] * BUCKETS
        self._upto = 0
        self._total = 0

    def _advance(self, second: int) -> None:
        passed = second - self._upto
        if passed <= 0:
            return
        if passed >= BUCKETS:
            self._buckets = [0] * BUCKETS
            self._total = 0
        else:
            for step in range(self._upto + 1, second + 1):
                self._total -= self._buckets[step % BUCKETS]
                self._buckets[step % BUCKETS] = 0
        self._upto = second

    def take(self, second: int, limit: int) -> bool:
        """Count one call if fewer than `limit` were counted in the last minute."""
        self._advance(second)
        if self._total >= limit:
            return False
        self._buckets[self._upto % BUCKETS] += 1
        self._total += 1
        return True

    def left(self, second: int, limit: int) -> int:
        """Calls still allowed now."""
        self._advance(second)
        return max(0, limit - self._total)

    def wait(self, second: int) -> int:
        """Seconds until the oldest counted call leaves the minute; at least 1."""
        self._advance(second)
        for age in range(BUCKETS - 1, -1, -1):
            if self._buckets[(self._upto - age) % BUCKETS]:
                return max(1, BUCKETS - age)
        return 1
