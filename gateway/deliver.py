"""The journey `fetch`: a finished video comes into the store once, whole, and is served from it.

Whoever asks waits for the same fetch; Venice's copy is let go only when ours is safe or unwanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import structlog

from gateway.core.answers import NO_VIDEO_IN_TIME, STALL_AFTER_MS, asked_anew
from gateway.core.job import Event, IllegalEvent, State
from gateway.core.mp4 import BrokenVideo
from gateway.core.retry import Outcome
from gateway.custody import Custody
from gateway.logs import about
from gateway.places import Places
from gateway.ports import (
    BodyCut,
    BodyLost,
    LinkRefused,
    OpenVideo,
    StoredVideo,
    StoreFailure,
    VideoReply,
)
from gateway.records import Job
from gateway.room import Room

BAD_BODIES_MAX = 3
"""Answers with a body that brought no whole video: after the third it is undeliverable."""
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

    def __init__(self, custody: Custody, room: Room, fetches: Callable[[], int]) -> None:
        self._custody = custody
        self._room = room
        self._move = custody.move
        self._store = custody.store
        self._upstream = custody.upstream
        self._clock = custody.clock
        self._metrics = custody.metrics
        self.places = Places(fetches)
        """Whoever fetches a video holds one before the answer that brings it is read."""
        self._hits = custody.metrics.video_hits.labels("hit")
        self.damaged = 0
        """Videos found missing or damaged since the start."""

    async def take(self, job: Job, video: VideoReply) -> Tried:
        """Take in the body that Venice is sending for a job; the caller holds a place."""
        if job.state is State.PROCESSING:
            ready = {"ready_at": job.ready_at or self._clock.now(), "looks": job.looks}
            job = await self._move(job, Event.FINISH, ready)
        async with self._room.for_video(job.id, video.expected_bytes):
            return await self._fill(job, video)

    async def let_go(self, job: Job) -> Job:
        """Count a body that is closed unread: Venice has sent it, so it is one of the tries."""
        return await self._custody.note(job, {"bad_bodies": job.bad_bodies + 1})

    async def _fill(self, job: Job, video: VideoReply) -> Tried:
        began = self._clock.monotonic()
        try:
            stored = await self._store.fill(job.id, video.chunks, video.expected_bytes)
        except BodyLost as error:
            return Tried(await self._interrupt(job, f"the network: {error}"), has_failed=True)
        except (BrokenVideo, BodyCut) as error:
            return Tried(await self._count_bad_body(job, str(error)), has_failed=True)
        except StoreFailure as error:
            _log.error("fetch.failed_here", **about(job), why=str(error))
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
        if reply.status is not None and 300 <= reply.status < 400:
            why = f"its link leads elsewhere (status {reply.status}), where nobody follows it"
            return Tried(await self._stall(job, why))
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
        _log.warning("fetch.bad_body", **about(job), count=count, why=why)
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
        self._room.newest = job.id
        if is_suspicious:
            self._metrics.suspicious.inc()
            _log.warning("video.suspicious", **about(job), bytes=stored.bytes)
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
        expected = StoredVideo(job.video_sha256, job.video_bytes)
        video = await self._store.open(job.id, expected)
        if video is not None:
            self._hits.inc()
            self._room.used(job.id)
            return video
        # It may have been evicted meanwhile, which is no damage; the memory is told before.
        job = self._custody.book.known(job.id) or job
        self._metrics.video_hits.labels("damaged" if job.state is State.STORED else "gone").inc()
        if job.state is State.STORED:
            await self._replace(job, "a reader")
        return None

    async def prove(self, job: Job) -> bool:
        """Read a stored video again; one that is not what it was is fetched again. Whether it is.

        `StoreFailure` where that cannot be told.
        """
        assert job.video_sha256 is not None, "a stored job has a hash"
        assert job.video_bytes is not None, "a stored job has a size"
        expected = StoredVideo(job.video_sha256, job.video_bytes)
        if await self._store.is_intact(job.id, expected):
            return True
        job = self._custody.book.known(job.id) or job
        if job.state is State.STORED:
            await self._replace(job, "the scrub")
        return False

    async def call_back(self, job: Job) -> Job:
        """Have an evicted video fetched again, if Venice still has it for us; the job as it is."""
        if job.state is not State.EVICTED or job.copy_gone or job.is_private:
            return job
        return await self._want_again(job, "asked for again")

    async def _replace(self, job: Job, found_by: str) -> None:
        """Have a video fetched again that is missing or damaged."""
        self.damaged += 1
        self._metrics.video_damage.labels(found_by.rsplit(maxsplit=1)[-1]).inc()
        _log.error("video.damaged", **about(job), found_by=found_by)
        await self._want_again(job, "ours is missing or damaged")

    async def _want_again(self, job: Job, why: str) -> Job:
        """Ask Venice for it anew; of many who want that at once, the first one does."""
        try:
            job = await self._move(job, Event.WANT_AGAIN, asked_anew(self._clock.now()), why)
            if job.copy_gone:
                return await self._move(job, Event.VANISH, reason=f"{why}, Venice's is deleted")
            return await self._move(job, Event.INTERRUPT, reason=f"{why}: to be fetched again")
        except IllegalEvent:
            # Somebody else was first, or it was purged while we looked.
            return await self._custody.book.refresh(job.id)

    def tell(self) -> str:
        """How the store stands, in operators' words."""
        damage = f"{self.damaged} found missing or damaged since the start" if self.damaged else ""
        return ", ".join(filter(None, (repr(self._room), damage)))

    async def note_delivered(self, job: Job) -> None:
        """A client has the whole video; noted once each time that it came here."""
        if (job.delivered_at or 0) < (job.stored_at or 0):
            await self._custody.note(job, {"delivered_at": self._clock.now()})

    async def want_deleted(self, job: Job) -> None:
        """A client asked that this delivery complete the job; ours stays for a grace, which begins
        now where the video was delivered before."""
        if job.delete_wanted:
            return
        again = {} if job.delivered_at is None else {"delivered_at": self._clock.now()}
        await self._custody.note(job, {"delete_wanted": True, **again})
