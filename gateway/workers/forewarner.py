"""Says beforehand, once for each, that a video which nobody has yet is about to be purged."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gateway.core.notify import NoticeEvent
from gateway.core.retention import KeepRules, expiring_before
from gateway.logs import about
from gateway.metrics import Metrics
from gateway.moments import rfc3339
from gateway.ports import Clock, Notices, VideoRecords
from gateway.records import Job

TOLD_A_ROUND_MAX = 200

_log = structlog.get_logger(__name__)


class Forewarner:
    """One round tells of every undelivered video whose end has come near."""

    def __init__(
        self,
        records: VideoRecords,
        clock: Clock,
        metrics: Metrics,
        rules: Callable[[], KeepRules],
        notices: Notices,
    ) -> None:
        self._records = records
        self._clock = clock
        self._metrics = metrics
        self._rules = rules
        self._notices = notices

    async def run_once(self) -> None:
        """Tell of each that nobody was told of, by the log and a notice, and count them all."""
        rules, now = self._rules(), self._clock.now()
        before = expiring_before(rules, now)
        jobs = await self._records.expiring(before, untold=True, limit=TOLD_A_ROUND_MAX)
        for job in jobs:
            assert job.stored_at is not None, "a stored job knows since when"
            ends = rfc3339(job.stored_at + rules.keep_undelivered)
            _log.warning("video.expiring", **about(job), queue_id=job.queue_id, expires_at=ends)
            self._post(job, ends)
        if jobs:
            await self._notices.kept()
            await self._records.note_told([job.id for job in jobs], now)
        self._metrics.videos_expiring.set(await self._records.count_expiring(before))

    def _post(self, job: Job, ends: str) -> None:
        self._notices.post(
            NoticeEvent.VIDEO_EXPIRING,
            f"{job.id}/{job.stored_at}",
            job.id,
            team=job.team,
            user=job.user,
            facts={"job": job.id, "queue_id": job.queue_id, "model": job.model, "expires_at": ends},
        )
