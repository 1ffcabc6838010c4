"""Keeps the store within its bounds between fills: quotas are lowered, disks fill from elsewhere.

It also writes down which videos were read; a crash forgets a minute of that.
"""

from __future__ import annotations

import structlog

from gateway.metrics import Metrics
from gateway.ports import Clock, LedgerFailure, VideoRecords
from gateway.room import Room

WRITE_SECONDS = 60.0
"""Between two writes of what was read: no poll and no read waits for the disk."""
PRUNE_SECONDS = 86_400.0
"""Between two times of forgetting videos that are gone."""

_log = structlog.get_logger(__name__)


class Evictor:
    """One round lets go of what is too much."""

    def __init__(self, room: Room, records: VideoRecords, clock: Clock, metrics: Metrics) -> None:
        self._room = room
        self._records = records
        self._clock = clock
        self._metrics = metrics
        self._written_at = self._pruned_at = clock.monotonic()

    async def run_once(self) -> None:
        """Make room where there is too little, and write down what was read."""
        await self._room.make()
        self._metrics.video_quota.set(self._room.quota)
        now = self._clock.monotonic()
        if now - self._written_at < WRITE_SECONDS:
            return
        self._written_at = now
        try:
            await self._room.write_uses()
            if now - self._pruned_at >= PRUNE_SECONDS:
                self._pruned_at = now
                await self._records.prune()
        except LedgerFailure as error:
            _log.warning("uses.unwritten", why=str(error))
