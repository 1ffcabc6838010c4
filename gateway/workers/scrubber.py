"""Reads every stored video again now and then: disks wear, and some videos nobody opens for weeks.

One at a time, with long rests; a video that is not what it was is fetched again.
"""

from __future__ import annotations

import structlog

from gateway.core.job import State
from gateway.core.scrub import is_due, rest_after
from gateway.deliver import Deliveries
from gateway.logs import about
from gateway.ports import Clock, Ledger, StoreFailure, VideoRecords
from gateway.records import Job

IDLE_SECONDS = 60.0
"""Between two questions whether it is any video's turn."""

_log = structlog.get_logger(__name__)


class Scrubber:
    """One round proves one video, if it is one's turn."""

    def __init__(
        self, deliveries: Deliveries, ledger: Ledger, records: VideoRecords, clock: Clock
    ) -> None:
        self._deliveries = deliveries
        self._ledger = ledger
        self._records = records
        self._clock = clock
        self._rests_until = float("-inf")

    async def run_once(self) -> None:
        """Prove the video that was proved longest ago, and rest."""
        began = self._clock.monotonic()
        if began < self._rests_until:
            return
        self._rests_until = began + IDLE_SECONDS
        oldest = await self._records.longest_unproved()
        if oldest is None or not is_due(oldest[1], self._clock.now()):
            return
        job = await self._ledger.job(oldest[0])
        assert job is not None, "the ledger has just named it"
        if job.state is State.STORED:
            await self._prove(job)
        ended = self._clock.monotonic()
        self._rests_until = ended + rest_after(ended - began)

    async def _prove(self, job: Job) -> None:
        try:
            is_intact = await self._deliveries.prove(job)
        except StoreFailure as error:
            _log.error("scrub.unread", **about(job), why=str(error))
            return
        if is_intact:
            await self._records.note_proved(job.id, self._clock.now())
