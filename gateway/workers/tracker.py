"""Looks at jobs in the making, each when its turn comes, whether or not anybody polls.

When is `core.cadence`'s decision; one look at a time per job, however many ask for it, and none
that the key has no room for: of those that are due, the one goes first that saves most time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from gateway.core.cadence import LOOKS_PER_MINUTE_MAX, POLL_LEAD, before_a_poll, next_look, saving
from gateway.core.completion import Kind
from gateway.core.errors import Draining
from gateway.core.job import State
from gateway.core.pacing import CallClass
from gateway.deliver import Tried
from gateway.experience import Experience
from gateway.planning import Planning
from gateway.ports import Clock
from gateway.records import Job
from gateway.rhythm import Rhythm
from gateway.track import Tracking

PRICE_SECONDS = 1.0
"""Between two looks at what is asked of the key."""
REPLANNED_MAX = 200
"""Jobs in one round whose next look is found anew after a change of price: four milliseconds."""

_log = structlog.get_logger(__name__)


class LookRoom(Protocol):
    """What the tracker asks of the gate."""

    def room(self, call_class: CallClass) -> int:
        """Calls that would pass now, beside those in line."""

    def waiting(self, call_class: CallClass, user: str | None = None) -> int:
        """Callers in line, of one user or of all."""


@dataclass(slots=True, eq=False)
class _Watch:
    """A job that is looked at; moments are monotonic seconds."""

    job: Job
    kind: Kind
    accepted: float
    unready: float
    """The last moment at which Venice said that it is still being made; at first the start."""
    looks: deque[float] = field(default_factory=lambda: deque(maxlen=LOOKS_PER_MINUTE_MAX))
    failed: int = 0
    """Looks in a row that failed."""
    due: float | None = None
    """When the next look is; None while one is under way, or the video is being fetched."""


class Tracker:
    """The schedule of looks."""

    def __init__(
        self,
        tracking: Tracking,
        clock: Clock,
        *,
        experience: Experience,
        planning: Planning,
        gate: LookRoom,
        rhythm: Rhythm,
    ) -> None:
        self._tracking = tracking
        self._clock = clock
        self._experience = experience
        self._planning = planning
        self._gate = gate
        self._rhythm = rhythm
        self._watched: dict[str, _Watch] = {}
        self._agenda: list[tuple[float, str]] = []
        self._due: set[str] = set()
        """Jobs whose look is due, and waits for room."""
        self._outdated: deque[str] = deque()
        """Jobs whose next look was found at another price."""
        self._priced_at = 0.0
        self._looking: dict[str, asyncio.Task[None]] = {}

    def is_looking(self, job_id: str) -> bool:
        """Whether a look at a job, or the fetch that came of it, is under way."""
        return job_id in self._looking

    def follow(self, job: Job) -> None:
        """Take a job in, as it is now; one that is no longer in the making is let go."""
        watch = self._watched.get(job.id)
        if watch is not None and watch.job.ready_at is None and job.ready_at is not None:
            self._learn(watch)
        if job.state not in (State.PROCESSING, State.FETCHING) or job.queue_id is None:
            self._watched.pop(job.id, None)
            self._due.discard(job.id)
            if job.state is not State.FETCHING:
                self._rhythm.forget(job.id)
            return
        if watch is None or watch.job.accepted_at != job.accepted_at:
            watch = self._watched[job.id] = self._watch(job)
        watch.job = replace(job, looks=max(job.looks, watch.job.looks))
        if job.average_ms:
            self._experience.hear(watch.kind, job.average_ms)
        if job.state is State.FETCHING:
            watch.due = None
        elif watch.due is None and job.id not in self._looking:
            self._plan(watch)

    def _watch(self, job: Job) -> _Watch:
        age = max(0, self._clock.now() - (job.accepted_at or job.created_at)) / 1000
        accepted = self._clock.monotonic() - age
        return _Watch(job, self._experience.kind_of(job), accepted, unready=accepted)

    def _learn(self, watch: _Watch) -> None:
        """The video became ready after the last look that said no, and before this moment."""
        upto = self._clock.monotonic() - watch.accepted
        self._experience.learn(watch.kind, watch.unready - watch.accepted, upto)

    def _plan(self, watch: _Watch) -> None:
        age = next_look(
            self._planning.plan(watch.kind),
            watch.unready - watch.accepted,
            [look - watch.accepted for look in watch.looks],
            failed=watch.failed,
            is_ready=watch.job.ready_at is not None,
        )
        self._put_off(watch, watch.accepted + age)

    def _put_off(self, watch: _Watch, due: float) -> None:
        """Look then, or just before the poll that is next to it where looks are short."""
        now = self._clock.monotonic()
        if not self._planning.keeps_promise:
            due = before_a_poll(self._rhythm.of(watch.job.id), due, now)
        watch.due = max(now, due)
        self._due.discard(watch.job.id)
        heapq.heappush(self._agenda, (watch.due, watch.job.id))

    async def run_once(self) -> None:
        """Start the looks that are due, the best first, as far as the key has room."""
        now = self._clock.monotonic()
        if now - self._priced_at >= PRICE_SECONDS:
            self._priced_at = now
            self._follow_price()
        for _ in range(min(REPLANNED_MAX, len(self._outdated))):
            watch = self._watched.get(self._outdated.popleft())
            if watch is not None and watch.due is not None:
                self._plan(watch)
        while self._agenda and self._agenda[0][0] <= now:
            due, job_id = heapq.heappop(self._agenda)
            watch = self._watched.get(job_id)
            if watch is not None and watch.due == due:
                self._due.add(job_id)
        self._begin_looks(now)
        self._let_chances_pass(now)

    def _let_chances_pass(self, now: float) -> None:
        """A look that found no room before its poll has another chance before the next."""
        for job_id in list(self._due):
            watch = self._watched[job_id]
            if watch.due is not None and now - watch.due > POLL_LEAD:
                self._put_off(watch, now)

    def _follow_price(self) -> None:
        making = (w.kind for w in self._watched.values() if w.job.ready_at is None)
        if self._planning.follow(Counter(making)):
            self._outdated = deque(self._watched)

    def _begin_looks(self, now: float) -> None:
        room = self._gate.room(CallClass.RETRIEVE) if self._due else 0
        if not room:
            return
        # A user held at the gate for failures must not use up the room of all others.
        free = [
            watch
            for watch in map(self._watched.__getitem__, self._due)
            if not self._gate.waiting(CallClass.RETRIEVE, watch.job.user)
        ]
        for watch in heapq.nlargest(room, free, key=lambda watch: self._saving(watch, now)):
            self._due.discard(watch.job.id)
            watch.due = None
            watch.looks.append(now)
            watch.job = replace(watch.job, looks=watch.job.looks + 1)
            self._looking[watch.job.id] = asyncio.create_task(self._look(watch, now))

    def _saving(self, watch: _Watch, now: float) -> float:
        if watch.job.ready_at is not None:
            return now - watch.unready
        expected = self._experience.expected(watch.kind)
        return saving(expected, watch.unready - watch.accepted, now - watch.accepted)

    async def _look(self, watch: _Watch, began: float) -> None:
        job_id = watch.job.id
        try:
            tried = await self._tracking.look(watch.job)
            self._take_in(watch, tried, began)
            await self._experience.save(watch.kind)
        except Draining:
            return
        except Exception:  # noqa: BLE001 - the schedule goes on
            _log.exception("look.failed", job=job_id)
        finally:
            del self._looking[job_id]
            still = self._watched.get(job_id)
            if still is not None and still.job.state is State.PROCESSING:
                self._plan(still)

    def _take_in(self, watch: _Watch, tried: Tried, began: float) -> None:
        watch.failed = watch.failed + 1 if tried.has_failed else 0
        if tried.is_unready:
            # Not later: Venice may have looked it up at any moment since.
            watch.unready = began
            self._experience.hear(watch.kind, tried.job.average_ms)

    async def close(self) -> None:
        """Stop looking; a fetch that is cut off is taken up at the next start."""
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
