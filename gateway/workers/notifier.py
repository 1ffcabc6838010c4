"""Looks for what is to be told, tells it, and lets old notices go. What is told, to whom and when
again is decided by the verbs it calls.
"""

from __future__ import annotations

from gateway.noticing import Noticing
from gateway.ports import Clock, Outbox
from gateway.telling import Telling

KEPT_MS = 30 * 86_400_000
"""As long as an undelivered video is kept by default: who missed a notice may still ask for it."""
FORGET_SECONDS = 60.0


class Notifier:
    """One round keeps what is new and begins to send what is due."""

    def __init__(self, noticing: Noticing, telling: Telling, outbox: Outbox, clock: Clock) -> None:
        self._noticing = noticing
        self._telling = telling
        self._outbox = outbox
        self._clock = clock
        self._forgot_at = float("-inf")

    async def run_once(self) -> None:
        """Keep the news, send what is due."""
        await self._noticing.run_once()
        await self._telling.run_once()
        now = self._clock.monotonic()
        if now - self._forgot_at >= FORGET_SECONDS:
            self._forgot_at = now
            await self._outbox.forget(self._clock.now() - KEPT_MS)
