"""Feels the event loop's pulse: asks to be woken at a moment and measures how late that comes.

A late pulse is time in which nobody was answered; what was in the way it cannot say.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.ports import Clock

BEAT_SECONDS = 0.5
"""Twice a second costs nothing, and a stall of any length is in some beat's way."""


class Pulse:
    """One round is one beat."""

    def __init__(self, clock: Clock, observe: Callable[[float], None]) -> None:
        """`observe` takes the delay in seconds."""
        self._clock = clock
        self._observe = observe

    async def run_once(self) -> None:
        """Sleep one beat and report how much longer it took."""
        due = self._clock.monotonic() + BEAT_SECONDS
        await self._clock.sleep(BEAT_SECONDS)
        self._observe(max(0.0, self._clock.monotonic() - due))
