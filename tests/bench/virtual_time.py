"""An event loop whose time stands still while anything is done, and jumps when nothing is to do:
an hour of waiting takes minutes, and a busy machine changes no decision that is made in it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 0.003
"""Real time in which a thread or a socket may still bring something before time jumps."""
BEGIN_MS = 1_790_000_000_000


class _PatientSelector(selectors.DefaultSelector):
    """Tells its loop of the time that nobody has anything to do in."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        found = super().select(PATIENCE_SECONDS)
        if not found:
            self.loop.jump(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; its time begins at 1,000 seconds."""

    def __init__(self) -> None:
        self._elapsed = 1_000.0
        selector = _PatientSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds."""
        return self._elapsed

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed += seconds


class VirtualClock:
    """The `Clock` port by the running loop's time."""

    def now(self) -> int:
        return BEGIN_MS + round(self.monotonic() * 1000)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def random(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def seconds(self) -> float:
        """Unix seconds."""
        return self.now() / 1000


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of work in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
