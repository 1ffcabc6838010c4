"""A clock that moves only when a test moves it, and wakes sleepers in order on the way."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

NOON_MS = 1_790_000_000_000
STEPS_TO_SETTLE = 60
"""Loop turns after which everything that does not wait for the clock has run."""


class StillClock:
    """The `Clock` port for tests: `advance` it."""

    def __init__(self, chance: float = 0.5) -> None:
        self.wall_ms = NOON_MS
        self.chance = chance
        self.sleeps = 0
        self._elapsed = 1_000.0
        self._numbers = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> int:
        return self.wall_ms

    def monotonic(self) -> float:
        return self._elapsed

    def random(self) -> float:
        return self.chance

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._numbers), awake))
        await awake

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everybody act at the moment they waited for."""
        target = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, awake = heapq.heappop(self._sleepers)
            if not awake.done():
                self._move_to(max(due, self._elapsed))
                awake.set_result(None)
                await settle()
        self._move_to(target)
        await settle()

    def _move_to(self, moment: float) -> None:
        self.wall_ms += round((moment - self._elapsed) * 1000)
        self._elapsed = moment


async def settle() -> None:
    """Let every task run that has something to do now."""
    for _ in range(STEPS_TO_SETTLE):
        await asyncio.sleep(0)
