"""Reads the limits that Venice publishes for the key, again when they are old, and only where a
policy leaves them to Venice.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gateway.core.published import orders_per_minute
from gateway.core.retry import Endpoint
from gateway.key_limits import KeyLimits
from gateway.ports import Clock, NoPlace, Upstream

FRESH_SECONDS = 600.0
"""A key's limits change when somebody pays for another tier."""
RETRY_SECONDS = 60.0
"""An unanswered question may cost a failure of the few there are."""
ASK_SECONDS = 20.0

_log = structlog.get_logger(__name__)


class LimitsReader:
    """Keeps the published limits fresh."""

    def __init__(
        self,
        upstream: Upstream,
        limits: KeyLimits,
        clock: Clock,
        is_video: Callable[[str], bool],
    ) -> None:
        """`is_video` says whether a model is in the catalogue."""
        self._upstream = upstream
        self._limits = limits
        self._clock = clock
        self._is_video = is_video
        self._due = 0.0

    def hurry(self) -> None:
        """Read at the next round: the key is another one."""
        self._due = 0.0

    async def run_once(self) -> None:
        """Read the limits if they are old."""
        now = self._clock.monotonic()
        if now < self._due or not self._limits.is_wanted:
            return
        self._due = now + RETRY_SECONDS
        try:
            reply = await self._upstream.get(Endpoint.RATE_LIMITS, now + ASK_SECONDS)
        except NoPlace:
            return
        # A key that may not ask is not asked again and again.
        self._due = now + (RETRY_SECONDS if reply.status is None else FRESH_SECONDS)
        if not reply.is_ok:
            _log.warning("limits.unread", outcome=reply.outcome, status=reply.status)
            return
        orders = orders_per_minute(reply.document, self._is_video)
        if orders is None:
            _log.info("limits.untold")
        self._limits.publish(orders)
