"""What every verb about videos works with, and the one way in which they move a job: the ledger
first, then the memory, then a line in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from gateway.book import JobBook
from gateway.core.job import MISSED, Event
from gateway.logs import about
from gateway.metrics import Metrics
from gateway.ports import Clock, Ledger, StoreFailure, Upstream, VideoStore
from gateway.records import Job

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Custody:
    """The ledger that knows of videos, the store that has them, and Venice that made them."""

    ledger: Ledger
    store: VideoStore
    upstream: Upstream
    clock: Clock
    book: JobBook
    metrics: Metrics

    async def move(
        self,
        job: Job,
        event: Event,
        facts: Mapping[str, object] | None = None,
        reason: str | None = None,
    ) -> Job:
        """Move a job by one event; `IllegalEvent` where somebody else moved it on meanwhile."""
        moved = await self.ledger.advance(
            job.id, event, self.clock.now(), facts=facts, reason=reason
        )
        _log.info(
            "job.moved", **about(moved), state=moved.state, holding=moved.holding, reason=reason
        )
        if moved.state in MISSED:
            _log.error("video.missed", **about(moved), state=moved.state, why=reason)
        return self.book.put(moved)

    async def note(self, job: Job, facts: Mapping[str, object]) -> Job:
        """Record facts about a job that move nothing."""
        return self.book.put(await self.ledger.note(job.id, facts))

    async def delete(self, job: Job) -> None:
        """Remove a video whose job has let go of it; what cannot be removed is for the sweep."""
        try:
            await self.store.delete(job.id)
        except StoreFailure as error:
            _log.error("video.left_behind", **about(job), why=str(error))
