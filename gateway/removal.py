"""How videos go: ours when a caller or the policy is done with it, Venice's when ours is safe or
unwanted. The ledger is told first, so that nobody is promised what is going.
"""

from __future__ import annotations

import structlog

from gateway.core.answers import LINK_MS
from gateway.core.job import Event, IllegalEvent, State
from gateway.custody import Custody
from gateway.ledgered import dollars
from gateway.logs import about
from gateway.ports import LinkRefused
from gateway.records import Job

NOT_THERE = frozenset({400, 404, 410})
"""Venice's words for having no such video, which is what is wanted."""
LINK_ENDED = NOT_THERE | {401, 403}
"""What private links answer besides, once they have expired."""

_log = structlog.get_logger(__name__)


class Removal:
    """Completes jobs, purges our videos, and has Venice delete its copies."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody

    async def complete(self, job: Job, *, purge: bool) -> None:
        """The caller is done with a job. A job still being made goes on, and goes on arrival."""
        if job.completed_at is None:
            job = await self._custody.note(job, {"completed_at": self._custody.clock.now()})
        if purge and job.state in (State.STORED, State.EVICTED):
            await self.purge(job, "completed")

    async def purge(self, job: Job, reason: str) -> Job:
        """Remove our video; one that somebody else just moved on is left as it is."""
        custody, was_here = self._custody, job.state is State.STORED
        try:
            job = await custody.move(job, Event.PURGE, reason=reason)
        except IllegalEvent:
            return await custody.book.refresh(job.id)
        custody.metrics.video_evictions.labels(reason).inc()
        if was_here and job.delivered_at is None:
            custody.metrics.unfetched.inc(dollars(job.settled))
        await custody.delete(job)
        return job

    async def let_go(self, job: Job) -> bool:
        """Have Venice delete its copy, which nobody needs any more; True when it is gone.

        `NoPlace` and `Draining` where Venice could not be asked.
        """
        if not await self._is_gone(job):
            return False
        await self._custody.note(job, {"copy_gone": True, "download_url": None})
        return True

    async def _is_gone(self, job: Job) -> bool:
        if job.is_private and job.download_url is not None:
            return await self._is_revoked(job, job.download_url)
        assert job.queue_id is not None, "only jobs that Venice has are deleted there"
        venice = self._custody.upstream
        reply = await venice.complete(job.model, job.queue_id, job.user, job.upstream_key)
        if reply.is_ok or reply.status in NOT_THERE:
            return True
        _log.info("copy.kept", **about(job), outcome=reply.outcome, status=reply.status)
        return False

    async def _is_revoked(self, job: Job, link: str) -> bool:
        learned_at = max(job.accepted_at or job.created_at, job.ready_at or 0)
        if self._custody.clock.now() - learned_at >= LINK_MS:
            return True
        try:
            reply = await self._custody.upstream.revoke(link)
        except LinkRefused as error:
            # It never will be allowed, and ends by itself.
            _log.warning("copy.out_of_reach", **about(job), why=str(error))
            return True
        if reply.is_ok or reply.status in LINK_ENDED:
            return True
        _log.info("copy.kept", **about(job), outcome=reply.outcome, status=reply.status)
        return False
