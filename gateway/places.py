"""Places for what only a few may do at a time, first come first served, as many as the policy says
at the moment. It knows nothing of what is done there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

IMPATIENT_MAX = 16
"""Who waits in this way holds something open, so that only some may."""


class Places:
    """Places to be taken and given back; `count` says how many there are now."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._taken = 0
        self._impatient = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take_now(self) -> bool:
        """Take a place if one is free and nobody has waited for it longer."""
        self._let_in()
        if self._waiting or self._taken >= self._count():
            return False
        self._taken += 1
        return True

    async def take_soon(self, patience: Callable[[], Awaitable[None]]) -> bool:
        """Take a place unless `patience` ends first, or too many others wait in this way."""
        if self.take_now():
            return True
        if self._impatient >= IMPATIENT_MAX:
            return False
        self._impatient += 1
        waiting = asyncio.ensure_future(self._wait())
        ending = asyncio.ensure_future(patience())
        try:
            await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if waiting.done():
                self.give_back()
            raise
        finally:
            self._impatient -= 1
            ending.cancel()
            # Whoever is let in at this very moment gives the place back.
            waiting.cancel()
        return waiting.done()

    def give_back(self) -> None:
        """Leave a place to the next one."""
        self._taken -= 1
        self._let_in()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a place, and have it while the context lasts."""
        if not self.take_now():
            await self._wait()
        try:
            yield
        finally:
            self.give_back()

    async def _wait(self) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self.give_back()
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def _let_in(self) -> None:
        while self._waiting and self._taken < self._count():
            place = self._waiting.popleft()
            if not place.done():
                self._taken += 1
                place.set_result(None)
