"""Room for videos: made before one comes and kept afterwards, by letting go of those that can best
be spared. The ledger is told first; a read in progress has its file open and ends well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from gateway.core.eviction import Excess, Held, auto_quota, choose, excess
from gateway.core.job import Event, IllegalEvent
from gateway.core.policy import VideoRules
from gateway.custody import Custody
from gateway.ledgered import dollars
from gateway.logs import about
from gateway.ports import LedgerFailure, StoreFailure, VideoRecords

PAGE = 200
"""Videos weighed against each other at a time."""
DISK_SETTLES_SECONDS = 5.0
"""File systems tell of freed space late, and files being read free none: until then nothing more
goes for the disk's sake."""
USES_WAITING_MAX = 50_000
"""Uses that wait to be written; far more than videos are read in a minute."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Coming:
    """A video on its way here."""

    bytes: int
    """0 where it does not say."""
    has_space: bool = False
    """Whether its space on the disk is taken, and no more among what is free."""


class Room:
    """Keeps the store within `max_bytes` and the disk above `free_disk`."""

    def __init__(
        self, custody: Custody, records: VideoRecords, rules: Callable[[], VideoRules]
    ) -> None:
        self._custody = custody
        self._records = records
        self._rules = rules
        self._uses: dict[str, int] = {}
        self._coming: dict[str, _Coming] = {}
        self._making = asyncio.Lock()
        self.newest: str | None = None
        """The video that came last: it stays until somebody has it, whatever the quota says."""
        self._disk_rests_until = float("-inf")
        self.stored_bytes = 0
        self.quota = 0
        """Both as last looked at."""

    def used(self, job_id: str) -> None:
        """A video is being read; written down with the next round."""
        if len(self._uses) < USES_WAITING_MAX:
            self._uses[job_id] = self._custody.clock.now()

    @asynccontextmanager
    async def for_video(self, job_id: str, expected_bytes: int | None) -> AsyncIterator[None]:
        """Make room for a video that is coming, and keep it while it comes.

        For one that does not say its length room is made afterwards: no guess costs another video.
        """
        coming = self._coming[job_id] = _Coming(expected_bytes or 0)
        try:
            await self.make()
            # The store takes it as a whole before the first byte.
            coming.has_space = True
            yield
        finally:
            self._coming.pop(job_id, None)
        if not expected_bytes:
            await self.make()

    async def make(self) -> None:
        """Let videos go until store and disk are within their bounds, or nothing else can go.

        A ledger or a disk that fails leaves things as they are: a video that comes matters more.
        """
        async with self._making:
            try:
                while (too_much := await self._too_much()) != Excess(0, 0):
                    if not await self._let_go(too_much):
                        return
            except (LedgerFailure, StoreFailure) as error:
                _log.error("room.not_made", why=str(error))

    async def _too_much(self) -> Excess:
        rules = self._rules()
        self.stored_bytes, here = await self._records.stored(self._coming)
        # One that is stored while whoever brought it has yet to go on counts once, or others would
        # go for it.
        for job_id in here:
            self._coming.pop(job_id, None)
        coming = self._coming.values()
        free = self._custody.store.free_bytes() + sum(v.bytes for v in coming if v.has_space)
        is_auto = rules.max_bytes == "auto"
        self.quota = auto_quota(free, self.stored_bytes) if is_auto else int(rules.max_bytes)
        rests = self._custody.clock.monotonic() < self._disk_rests_until
        return excess(
            quota=self.quota,
            free_wanted=0 if rests else rules.free_disk,
            stored_bytes=self.stored_bytes,
            coming_bytes=sum(video.bytes for video in coming),
            free_bytes=free,
        )

    async def _let_go(self, too_much: Excess) -> bool:
        """Let go of some videos; False where none of them went."""
        await self.write_uses()
        # Smaller than one video, a quota would keep every video from ever being had.
        found = await self._records.evictable(PAGE)
        page = [video for video in found if not (video.is_owed and video.job_id == self.newest)]
        if too_much.over_disk:
            self._disk_rests_until = self._custody.clock.monotonic() + DISK_SETTLES_SECONDS
        chosen = choose(page, too_much)
        for video in chosen:
            await self._evict(video, "quota" if too_much.over_quota else "disk")
        return bool(chosen)

    async def _evict(self, video: Held, reason: str) -> None:
        custody = self._custody
        job = await custody.book.find(video.job_id)
        assert job is not None, "the ledger has just named it"
        try:
            job = await custody.move(job, Event.EVICT, reason=f"made room ({reason})")
        except IllegalEvent:
            # It was purged, or found damaged, since it was weighed.
            await custody.book.refresh(job.id)
            return
        await custody.delete(job)
        custody.metrics.video_evictions.labels(reason).inc()
        if video.is_owed:
            custody.metrics.unfetched.inc(dollars(job.settled))
            _log.warning("video.evicted_undelivered", **about(job))

    async def write_uses(self) -> None:
        """Write down which videos were read since the last time."""
        uses, self._uses = self._uses, {}
        if uses:
            await self._records.note_uses(uses)

    def __repr__(self) -> str:
        return f"<Room {self.stored_bytes} of {self.quota} bytes, {len(self._coming)} coming>"
