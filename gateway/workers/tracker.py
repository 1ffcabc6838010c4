"""Looks at jobs in the making, each when its turn comes, whether or not anybody polls.

When is `core.cadence`'s decision; one look at a time per job, however many ask for it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable

import structlog

from gateway.core.cadence import LOOKS_PER_MINUTE_MAX, Load, next_look
from gateway.core.errors import Draining
from gateway.core.job import State
from gateway.ports import Clock
from gateway.records import Job
from gateway.track import Tracking

_log = structlog.get_logger(__name__)


class Tracker:
    """The schedule of looks."""

    def __init__(
        self, tracking: Tracking, clock: Clock, looks_per_minute: Callable[[], int]
    ) -> None:
        self._tracking = tracking
        self._clock = clock
        self._looks_per_minute = looks_per_minute
        self._jobs: dict[str, Job] = {}
        self._due: list[tuple[float, str]] = []
        self._looks: dict[str, deque[float]] = {}
        self._usual: dict[str, float] = {}
        self._failed: dict[str, int] = {}
        """Looks in a row that failed, of jobs where the last one did."""
        self._looking: dict[str, asyncio.Task[None]] = {}

    def is_looking(self, job_id: str) -> bool:
        """Whether a look at a job, or the fetch that came of it, is under way."""
        return job_id in self._looking

    def follow(self, job: Job) -> None:
        """Take a job in, as it is now; one that is no longer in the making is let go."""
        if job.average_ms:
            self._usual[job.model] = job.average_ms / 1000
        if job.state is not State.PROCESSING or job.queue_id is None:
            self._jobs.pop(job.id, None)
            if job.state is not State.FETCHING:
                self._looks.pop(job.id, None)
                self._failed.pop(job.id, None)
            return
        is_new = job.id not in self._jobs
        self._jobs[job.id] = job
        if is_new and job.id not in self._looking:
            self._plan(job)

    def _plan(self, job: Job) -> None:
        now = self._clock.monotonic()
        age = max(0, self._clock.now() - (job.accepted_at or job.created_at)) / 1000
        looks = self._looks.setdefault(job.id, deque(maxlen=LOOKS_PER_MINUTE_MAX))
        load = Load(len(self._jobs), self._looks_per_minute())
        usual, failed = self._usual.get(job.model), self._failed.get(job.id, 0)
        due = next_look(now - age, tuple(looks), usual, load, now, failed=failed)
        heapq.heappush(self._due, (due, job.id))

    async def run_once(self) -> None:
        """Start every look that is due."""
        now = self._clock.monotonic()
        while self._due and self._due[0][0] <= now:
            _, job_id = heapq.heappop(self._due)
            job = self._jobs.get(job_id)
            if job is None or job_id in self._looking:
                continue
            self._looks.setdefault(job_id, deque(maxlen=LOOKS_PER_MINUTE_MAX)).append(now)
            self._looking[job_id] = asyncio.create_task(self._look(job))

    async def _look(self, job: Job) -> None:
        try:
            tried = await self._tracking.look(job)
            self._count(job.id, tried.has_failed)
        except Draining:
            return
        except Exception:  # noqa: BLE001 - the schedule goes on
            _log.exception("look.failed", job=job.id)
        finally:
            del self._looking[job.id]
            still = self._jobs.get(job.id)
            if still is not None:
                self._plan(still)

    def _count(self, job_id: str, has_failed: bool) -> None:
        if not has_failed:
            self._failed.pop(job_id, None)
        elif job_id in self._jobs:
            self._failed[job_id] = self._failed.get(job_id, 0) + 1

    async def close(self) -> None:
        """Stop looking; a fetch that is cut off is taken up at the next start."""
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
