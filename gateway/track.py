"""The journey `learn`: Venice is asked about a job, and what it says moves job and money.

One look at a time per job. Polls never come here: they are answered from what is known.
"""

from __future__ import annotations

import structlog

from gateway.book import JobBook
from gateway.core.answers import Lesson, Watched, learn_from_status
from gateway.core.job import Event, IllegalEvent, State
from gateway.core.retry import FAILED_OUTCOMES
from gateway.deliver import Deliveries, Tried
from gateway.ledgered import dollars
from gateway.logs import about
from gateway.metrics import REFUNDED, Metrics
from gateway.ports import Clock, Ledger, NoPlace, Reply, Upstream, VideoReply
from gateway.records import Job

ALL = 1_000_000
"""Open jobs at a start; at the key's full rate this many take seventeen days."""
OPEN_SECONDS = 10.0
"""How long an answer waits for a fetch place: asking again costs one of the job's few looks, and
no server hangs up so soon."""

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

    async def look(self, job: Job) -> Tried:
        """Ask Venice about a job that is in the making, and act on the answer; `looks` of the job
        counts this one already.

        A body is read only by whoever holds a fetch place. One that comes while all are taken
        waits a moment; then it is let go of and asked for again with a place in hand, so that no
        number of ready videos can use up the connections.
        """
        try:
            if job.ready_at is None:
                tried = await self._ask(job, holds_place=False)
                if not tried.is_waiting:
                    return tried
            async with self._deliveries.places.one():
                return await self._fetch(self._book.known(job.id) or job)
        except IllegalEvent:
            # Somebody else moved the job on meanwhile: what the ledger says of it is right.
            return Tried(await self._book.refresh(job.id))

    async def _fetch(self, job: Job) -> Tried:
        if job.state is State.FETCHING:
            return await self._deliveries.follow_link(job)
        if job.state is State.PROCESSING:
            return await self._ask(job, holds_place=True)
        return Tried(job)

    async def _ask(self, job: Job, *, holds_place: bool) -> Tried:
        assert job.queue_id is not None, "a job in the making has a queue_id"
        try:
            async with self._upstream.retrieve(
                job.model, job.queue_id, job.user, job.upstream_key
            ) as reply:
                if isinstance(reply, VideoReply):
                    return await self._take(job, reply, holds_place=holds_place)
        except NoPlace:
            return Tried(job)
        moved = await self.learn(job, reply)
        if moved.state is not State.FETCHING:
            return Tried(
                moved,
                has_failed=reply.outcome in FAILED_OUTCOMES,
                is_unready=reply.is_ok and moved.state is State.PROCESSING,
            )
        if holds_place:
            return await self._deliveries.follow_link(moved)
        return Tried(moved, is_waiting=True)

    async def _take(self, job: Job, video: VideoReply, *, holds_place: bool) -> Tried:
        if holds_place:
            return await self._deliveries.take(job, video)
        places = self._deliveries.places
        if not places.take_now():
            facts = {"ready_at": self._clock.now(), "looks": job.looks}
            job = self._book.put(await self._ledger.note(job.id, facts))
            if not await places.take_soon(lambda: self._clock.sleep(OPEN_SECONDS)):
                return Tried(await self._deliveries.let_go(job), is_waiting=True)
        try:
            return await self._deliveries.take(job, video)
        finally:
            places.give_back()

    async def learn(self, job: Job, reply: Reply) -> Job:
        """Apply an answer that is no video; an answer that teaches nothing changes nothing."""
        watched = Watched(
            accepted_at=job.accepted_at or job.created_at,
            has_link=job.download_url is not None,
            ready_at=job.ready_at,
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
            _log.error("retrieve.refused", **about(job), queue_id=job.queue_id)
        return await self._apply(job, lesson)

    async def _apply(self, job: Job, lesson: Lesson) -> Job:
        facts = {name: value for name, value in lesson.facts.items() if getattr(job, name) != value}
        if lesson.link is not None:
            # Known only now, and to be revoked like one that came with the order's answer.
            facts |= {"download_url": lesson.link, "is_private": True}
        if lesson.event is None:
            if not facts:
                return job
            return self._book.put(await self._ledger.note(job.id, facts))
        paid = job.reserved + job.settled
        facts |= {"looks": job.looks}
        moved = self._book.put(
            await self._ledger.advance(
                job.id, lesson.event, self._clock.now(), facts=facts, reason=lesson.reason
            )
        )
        _log.info(
            "job.moved",
            **about(moved),
            state=moved.state,
            holding=moved.holding,
            reason=lesson.reason,
        )
        if lesson.event is Event.FAIL_REFUNDED:
            self._metrics.refunds.labels(REFUNDED).inc(dollars(paid))
        return moved

    async def recover(self) -> None:
        """Take up again what a stop interrupted; once, at a start."""
        for job in await self._ledger.jobs(states=[State.FETCHING], limit=ALL):
            await self._ledger.advance(
                job.id, Event.INTERRUPT, self._clock.now(), reason="the gateway stopped"
            )
        for job in await self._ledger.jobs(states=[State.PROCESSING, State.IN_DOUBT], limit=ALL):
            self._book.put(job)
