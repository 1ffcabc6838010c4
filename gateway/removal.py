"""How videos go: ours when a caller or the policy is done with it, Venice's when ours is safe or
unwanted. The ledger is told first, so that nobody is promised what is going.
"""

from __future__ import annotations

import structlog

from gateway.book import JobBook
from gateway.core.answers import LINK_MS
from gateway.core.job import Event, IllegalEvent, State
from gateway.metrics import Metrics, dollars
from gateway.ports import Clock, Ledger, LinkRefused, StoreFailure, Upstream, VideoStore
from gateway.records import SPENDING_WAITS, Job

NOT_THERE = frozenset({400, 404, 410})
"""Venice's words for having no such video, which is what is wanted."""
LINK_ENDED = NOT_THERE | {401, 403}
"""What private links answer besides, once they have expired."""

_log = structlog.get_logger(__name__)


class Removal:
    """Completes jobs, purges our videos, and has Venice delete its copies."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: VideoStore,
        upstream: Upstream,
        clock: Clock,
        book: JobBook,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._upstream = upstream
        self._clock = clock
        self._book = book
        self._metrics = metrics

    async def complete(self, job: Job, *, purge: bool) -> None:
        """The caller is done with a job. A job still being made goes on, and goes on arrival."""
        if job.completed_at is None:
            facts = {"completed_at": self._clock.now()}
            job = self._book.put(await self._ledger.note(job.id, facts))
        if purge and job.state in (State.STORED, State.EVICTED):
            await self.purge(job, "completed")

    async def purge(self, job: Job, reason: str) -> Job:
        """Remove our video; one that somebody else just moved on is left as it is."""
        try:
            job = await self._ledger.advance(job.id, Event.PURGE, self._clock.now(), reason=reason)
        except IllegalEvent:
            return await self._book.refresh(job.id)
        self._book.put(job)
        _log.info("job.moved", job=job.id, state=job.state, reason=reason)
        self._metrics.video_evictions.labels(reason).inc()
        if job.delivered_at is None:
            self._metrics.unfetched.inc(dollars(job.settled))
        try:
            await self._store.delete(job.id)
        except StoreFailure as error:
            _log.error("video.left_behind", job=job.id, why=str(error))
        return job

    async def let_go(self, job: Job) -> bool:
        """Have Venice delete its copy, which nobody needs any more; True when it is gone.

        `NoPlace` and `Draining` where Venice could not be asked.
        """
        if not await self._is_gone(job):
            return False
        self._book.put(await self._ledger.note(job.id, {"copy_gone": True, "download_url": None}))
        return True

    async def _is_gone(self, job: Job) -> bool:
        if job.is_private and job.download_url is not None:
            return await self._is_revoked(job, job.download_url)
        assert job.queue_id is not None, "only jobs that Venice has are deleted there"
        reply = await self._upstream.complete(job.model, job.queue_id, job.user, job.upstream_key)
        if reply.is_ok or reply.status in NOT_THERE:
            return True
        _log.info("copy.kept", job=job.id, outcome=reply.outcome, status=reply.status)
        return False

    async def _is_revoked(self, job: Job, link: str) -> bool:
        learned_at = max(job.accepted_at or job.created_at, job.ready_at or 0)
        if self._clock.now() - learned_at >= LINK_MS:
            return True
        try:
            reply = await self._upstream.revoke(link)
        except LinkRefused as error:
            # It never will be allowed, and ends by itself.
            _log.warning("copy.out_of_reach", job=job.id, why=str(error))
            return True
        if reply.is_ok or reply.status in LINK_ENDED:
            return True
        _log.info("copy.kept", job=job.id, outcome=reply.outcome, status=reply.status)
        return False

    async def sweep(self) -> None:
        """Remove files of no stored job: those whose removal failed or was cut off.

        Nothing goes while a restored database may only lack their jobs.
        """
        # In this order: what is stored meanwhile is known by the time the ledger is read.
        names = await self._store.ids()
        arriving = {self._store.name_of(job.id) for job in self._book.open_jobs()}
        stored = {self._store.name_of(job) for job in await self._ledger.stored_ids()}
        orphans = [name for name in names if name not in stored and name not in arriving]
        if not orphans or await self._ledger.mark(SPENDING_WAITS) is not None:
            return
        for name in orphans:
            await self._store.delete_name(name)
        _log.warning("videos.orphans_removed", count=len(orphans))
