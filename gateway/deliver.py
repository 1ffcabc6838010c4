"""The journey `fetch`: a finished video comes into the store once, whole, and is served from it.

Whoever asks waits for the same fetch; Venice's copy is let go only when ours is safe or unwanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog

from gateway.book import JobBook
from gateway.core.answers import NO_VIDEO_IN_TIME, STALL_AFTER_MS, asked_anew
from gateway.core.job import Event, IllegalEvent, State
from gateway.core.mp4 import BrokenVideo
from gateway.core.retry import Outcome
from gateway.metrics import Metrics
from gateway.places import Places
from gateway.ports import (
    BodyCut,
    BodyLost,
    Clock,
    Ledger,
    LinkRefused,
    OpenVideo,
    StoredVideo,
    StoreFailure,
    Upstream,
    VideoReply,
    VideoStore,
)
from gateway.records import Job

BAD_BODIES_MAX = 3
"""Whole-looking answers that were no whole video: after the third it is undeliverable."""
SUSPICIOUS_BYTES = 100_000
"""Real clients take less for a moderation placeholder (720p, 5 s)."""

LINK_LIVES_ON = frozenset({408, 425})
"""Refusals of a link that say nothing of the video behind it."""

_log = structlog.get_logger(__name__)


class Tried(NamedTuple):
    """A job after something was tried for it."""

    job: Job
    has_failed: bool = False
    """Venice's side, or the way to it, failed: the next try waits longer."""
    is_waiting: bool = False
    """A video is ready, but no place was free to fetch it."""
    is_unready: bool = False
    """Venice said that it is still being made."""


class Deliveries:
    """Fills the store, and opens what is in it."""

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
        self.places = Places(fetches)
        """Whoever fetches a video holds one before the answer that brings it is read."""

    async def take(self, job: Job, video: VideoReply) -> Tried:
        """Take in the body that Venice is sending for a job; the caller holds a place."""
        if job.state is State.PROCESSING:
            ready = {"ready_at": job.ready_at or self._clock.now(), "looks": job.looks}
            job = await self._move(job, Event.FINISH, ready)
        began = self._clock.monotonic()
        try:
            stored = await self._store.fill(job.id, video.chunks, video.expected_bytes)
        except BodyLost as error:
            return Tried(await self._interrupt(job, f"the network: {error}"), has_failed=True)
        except (BrokenVideo, BodyCut) as error:
            return Tried(await self._count_bad_body(job, str(error)), has_failed=True)
        except StoreFailure as error:
            _log.error("fetch.failed_here", job=job.id, why=str(error))
            return Tried(await self._move(job, Event.INTERRUPT, reason=f"our own disk: {error}"))
        except BaseException:
            await self._move(job, Event.INTERRUPT, reason="the gateway stopped fetching")
            raise
        self._metrics.fill_seconds.observe(self._clock.monotonic() - began)
        self._metrics.fetched_bytes.inc(stored.bytes)
        return Tried(await self._keep(job, stored))

    async def follow_link(self, job: Job) -> Tried:
        """Fetch a private video by Venice's link; a dead link stalls the job. The caller holds a
        place."""
        if job.download_url is None:
            return Tried(await self._interrupt(job, "no link to follow"), has_failed=True)
        try:
            async with self._upstream.download(job.download_url) as reply:
                if isinstance(reply, VideoReply):
                    return await self.take(job, reply)
        except LinkRefused as error:
            return Tried(await self._stall(job, f"its link may not be followed: {error}"))
        if reply.outcome is Outcome.REFUSED and reply.status not in LINK_LIVES_ON:
            return Tried(await self._stall(job, f"its link is dead (status {reply.status})"))
        return Tried(await self._interrupt(job, f"its link: {reply.outcome}"), has_failed=True)

    async def _interrupt(self, job: Job, reason: str) -> Job:
        """Look again later, unless that has been tried for as long as links live."""
        if job.ready_at is not None and self._clock.now() - job.ready_at >= STALL_AFTER_MS:
            return await self._stall(job, f"{NO_VIDEO_IN_TIME} ({reason})")
        return await self._move(job, Event.INTERRUPT, reason=reason)

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
        self._metrics.looks_per_job.observe(job.looks)
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
            await self._want_again(job)
        return video

    async def _want_again(self, job: Job) -> None:
        """Have a video fetched again; of many who find it damaged, the first one does."""
        facts = asked_anew(self._clock.now())
        try:
            job = await self._move(job, Event.WANT_AGAIN, facts, "ours is missing or damaged")
            _log.error("video.damaged", job=job.id)
            if job.copy_gone:
                await self._move(job, Event.VANISH, reason="ours is damaged, Venice's is deleted")
            else:
                await self._move(job, Event.INTERRUPT, reason="to be fetched again")
        except IllegalEvent:
            # Somebody else found it first, or it was purged while we looked.
            await self._book.refresh(job.id)

    async def note_delivered(self, job: Job) -> None:
        """A client has the whole video."""
        if job.delivered_at is None:
            self._book.put(await self._ledger.note(job.id, {"delivered_at": self._clock.now()}))

    async def want_deleted(self, job: Job) -> None:
        """A client asked that delivery complete the job; ours stays for its grace."""
        if not job.delete_wanted:
            self._book.put(await self._ledger.note(job.id, {"delete_wanted": True}))

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
