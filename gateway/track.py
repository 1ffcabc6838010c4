"""The journey `learn`: Venice is asked about a job, and what it says moves job and money.

One look at a time per job. Polls never come here: they are answered from what is known.
"""

from __future__ import annotations

import structlog

from gateway.book import JobBook
from gateway.core.answers import Lesson, Watched, learn_from_status
from gateway.core.job import Event, State
from gateway.deliver import Deliveries
from gateway.metrics import Metrics
from gateway.ports import Clock, Job, Ledger, NoPlace, Reply, Upstream, VideoReply

ALL = 1_000_000
"""Open jobs at a start; at the key's full rate this many take seventeen days."""

_log = structlog.get_logger(__name__)


class Tracking:
    """Looks at jobs."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        upstream: Upstream,
        clock: Clock,
        book: JobBook,
        deliveries: Deliveries,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._clock = clock
        self._book = book
        self._deliveries = deliveries
        self._metrics = metrics

    async def look(self, job: Job) -> Job:
        """Ask Venice about a job that is in the making, and act on the answer."""
        assert job.queue_id is not None, "a job in the making has a queue_id"
        try:
            async with self._upstream.retrieve(job.model, job.queue_id, job.user) as reply:
                if isinstance(reply, VideoReply):
                    return await self._deliveries.take(job, reply)
        except NoPlace:
            return job
        return await self.learn(job, reply)

    async def learn(self, job: Job, reply: Reply) -> Job:
        """Apply an answer that is no video; an answer that teaches nothing changes nothing."""
        watched = Watched(
            accepted_at=job.accepted_at or job.created_at,
            has_link=job.download_url is not None,
            not_found_count=job.not_found_count,
            not_found_first_at=job.not_found_first_at,
        )
        lesson = learn_from_status(
            watched,
            outcome=reply.outcome,
            status=reply.status,
            document=reply.document,
            body=reply.body.decode("utf-8", "replace"),
            now=self._clock.now(),
        )
        if reply.status == 400:
            _log.error("retrieve.refused", job=job.id, queue_id=job.queue_id)
        return await self._apply(job, lesson)

    async def _apply(self, job: Job, lesson: Lesson) -> Job:
        facts = {name: value for name, value in lesson.facts.items() if getattr(job, name) != value}
        if lesson.link is not None:
            facts["download_url"] = lesson.link
        if lesson.event is None:
            if not facts:
                return job
            return self._book.put(await self._ledger.note(job.id, facts))
        held = job.reserved
        moved = self._book.put(
            await self._ledger.advance(
                job.id, lesson.event, self._clock.now(), facts=facts, reason=lesson.reason
            )
        )
        _log.info("job.moved", job=job.id, state=moved.state, reason=lesson.reason)
        if lesson.event is Event.FAIL_REFUNDED:
            self._metrics.refunds.labels("credits_refunded").inc(float(str(held)))
        if lesson.event is Event.FINISH:
            return await self._deliveries.follow_link(moved)
        return moved

    async def recover(self) -> None:
        """Take up again what a stop interrupted; once, at a start."""
        for job in await self._ledger.jobs(states=[State.FETCHING], limit=ALL):
            await self._ledger.advance(
                job.id, Event.INTERRUPT, self._clock.now(), reason="the gateway stopped"
            )
        for job in await self._ledger.jobs(states=[State.PROCESSING, State.IN_DOUBT], limit=ALL):
            self._book.put(job)
