"""The journey `fetch`: a finished video comes into the store once, whole, and is served from it.

Whoever asks waits for the same fetch; Venice's copy is let go only when ours is safe or unwanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from gateway.book import JobBook
from gateway.core.errors import Draining
from gateway.core.job import Event, State
from gateway.core.mp4 import BrokenVideo
from gateway.metrics import Metrics
from gateway.ports import (
    BodyCut,
    Clock,
    Job,
    Ledger,
    LinkRefused,
    NoPlace,
    OpenVideo,
    Reply,
    StoredVideo,
    StoreFailure,
    Upstream,
    VideoReply,
    VideoStore,
)

BAD_BODIES_MAX = 3
"""Whole-looking answers that were no whole video: after the third it is undeliverable."""
SUSPICIOUS_BYTES = 100_000
"""Real clients take less for a moderation placeholder (720p, 5 s)."""

_log = structlog.get_logger(__name__)


class Deliveries:
    """Fills the store, opens videos, and completes jobs."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: VideoStore,
        upstream: Upstream,
        clock: Clock,
        book: JobBook,
        metrics: Metrics,
        fetches: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._upstream = upstream
        self._clock = clock
        self._book = book
        self._metrics = metrics
        self._places = asyncio.Semaphore(fetches())

    async def take(self, job: Job, video: VideoReply) -> Job:
        """Take in the body that Venice is sending for a job."""
        if job.state is State.PROCESSING:
            ready = {"ready_at": job.ready_at or self._clock.now()}
            job = await self._move(job, Event.FINISH, ready)
        async with self._places:
            try:
                stored = await self._store.fill(job.id, video.chunks, video.expected_bytes)
            except (BrokenVideo, BodyCut) as error:
                return await self._count_bad_body(job, str(error))
            except StoreFailure as error:
                _log.error("fetch.failed_here", job=job.id, why=str(error))
                return await self._move(job, Event.INTERRUPT, reason=f"our own disk: {error}")
            except BaseException:
                await self._move(job, Event.INTERRUPT, reason="the gateway stopped fetching")
                raise
        return await self._keep(job, stored)

    async def follow_link(self, job: Job) -> Job:
        """Fetch a private video by Venice's link; a dead link stalls the job."""
        if job.download_url is None:
            return await self._move(job, Event.INTERRUPT, reason="no link to follow")
        try:
            async with self._upstream.download(job.download_url) as reply:
                if isinstance(reply, VideoReply):
                    return await self.take(job, reply)
        except LinkRefused as error:
            return await self._stall(job, f"its link may not be followed: {error}")
        if reply.status is not None and 400 <= reply.status < 500 and reply.status != 429:
            return await self._stall(job, f"its link is dead (status {reply.status})")
        return await self._move(job, Event.INTERRUPT, reason=f"its link: {reply.outcome}")

    async def _stall(self, job: Job, reason: str) -> Job:
        job = await self._move(job, Event.INTERRUPT, reason=reason)
        return await self._move(job, Event.STALL, reason=reason)

    async def _count_bad_body(self, job: Job, why: str) -> Job:
        count = job.bad_bodies + 1
        _log.warning("fetch.bad_body", job=job.id, count=count, why=why)
        event = Event.REJECT_BODY if count >= BAD_BODIES_MAX else Event.INTERRUPT
        return await self._move(job, event, {"bad_bodies": count}, f"no whole video: {why}")

    async def _keep(self, job: Job, stored: StoredVideo) -> Job:
        is_suspicious = stored.bytes < SUSPICIOUS_BYTES
        now = self._clock.now()
        facts = {
            "video_sha256": stored.sha256,
            "video_bytes": stored.bytes,
            "stored_at": now,
            "is_suspicious": is_suspicious,
        }
        job = await self._move(job, Event.STORE, facts)
        if is_suspicious:
            self._metrics.suspicious.inc()
            _log.warning("video.suspicious", job=job.id, bytes=stored.bytes)
        if job.ready_at is not None:
            self._metrics.ready_to_stored.observe((now - job.ready_at) / 1000)
        return job

    async def open(self, job: Job) -> OpenVideo | None:
        """The stored video, ready to be read; None where ours is gone and is to be fetched again.

        A damaged or missing file sends the job back to be fetched.
        """
        if job.video_sha256 is None or job.video_bytes is None:
            return None
        video = await self._store.open(job.id, StoredVideo(job.video_sha256, job.video_bytes))
        self._metrics.video_hits.labels("hit" if video else "damaged").inc()
        if video is None and job.state is State.STORED:
            _log.error("video.damaged", job=job.id)
            gone = job.copy_gone
            job = await self._move(job, Event.WANT_AGAIN, reason="ours is missing or damaged")
            if gone:
                await self._move(job, Event.VANISH, reason="ours is damaged, Venice's is deleted")
            else:
                await self._move(job, Event.INTERRUPT, reason="to be fetched again")
        return video

    async def note_delivered(self, job: Job) -> None:
        """A client has the whole video."""
        if job.delivered_at is None:
            self._book.put(await self._ledger.note(job.id, {"delivered_at": self._clock.now()}))

    async def want_deleted(self, job: Job) -> None:
        """A client asked that delivery complete the job; ours stays for its grace."""
        if not job.delete_wanted:
            self._book.put(await self._ledger.note(job.id, {"delete_wanted": True}))

    async def complete(self, job: Job, *, purge: bool) -> None:
        """The caller is done with a job. A job still being made goes on, and goes on arrival."""
        if job.completed_at is None:
            facts = {"completed_at": self._clock.now()}
            job = self._book.put(await self._ledger.note(job.id, facts))
        if purge and job.state in (State.STORED, State.EVICTED):
            await self.purge(job, "completed")

    async def purge(self, job: Job, reason: str) -> Job:
        """Remove our video: first in the ledger, so that nobody is promised what is going."""
        job = await self._move(job, Event.PURGE, reason=reason)
        await self._store.delete(job.id)
        self._metrics.video_evictions.labels(reason).inc()
        return job

    async def let_go(self, job: Job) -> bool:
        """Delete Venice's copy, which nobody needs any more; True when it is gone."""
        try:
            reply = await self._ask_to_delete(job)
        except (NoPlace, LinkRefused, Draining) as error:
            _log.info("copy.kept", job=job.id, why=str(error) or type(error).__name__)
            return isinstance(error, LinkRefused)
        # 400 and 404: Venice has no such video, which is what is wanted.
        if not reply.is_ok and reply.status not in (400, 404, 410):
            _log.info("copy.kept", job=job.id, outcome=reply.outcome, status=reply.status)
            return False
        self._book.put(await self._ledger.note(job.id, {"copy_gone": True, "download_url": None}))
        return True

    async def _ask_to_delete(self, job: Job) -> Reply:
        if job.is_private and job.download_url is not None:
            return await self._upstream.revoke(job.download_url)
        assert job.queue_id is not None, "only jobs that Venice has are deleted there"
        return await self._upstream.complete(job.model, job.queue_id, job.user)

    async def _move(
        self,
        job: Job,
        event: Event,
        facts: Mapping[str, object] | None = None,
        reason: str | None = None,
    ) -> Job:
        moved = await self._ledger.advance(
            job.id, event, self._clock.now(), facts=facts, reason=reason
        )
        _log.info("job.moved", job=job.id, state=moved.state, holding=moved.holding, reason=reason)
        return self._book.put(moved)
