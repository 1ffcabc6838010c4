"""The real tracker with real prices and beliefs before a Venice that is only arithmetic: hours pass
in seconds, so that schedules can be measured.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from gateway.core.completion import Kind, Sketch
from gateway.core.job import Holding, State
from gateway.core.pacing import SLACK_SECONDS, WINDOW_SECONDS, CallClass
from gateway.deliver import Tried
from gateway.experience import Experience
from gateway.planning import Planning
from gateway.records import Job
from gateway.rhythm import Rhythm
from gateway.track import Tracking
from gateway.workers.tracker import Tracker
from tests.bench.bound import ready_by

LOOKS_PER_MINUTE = 114
EPOCH_MS = 1_790_000_000_000


class FreeClock:
    """The `Clock` port, moved by hand."""

    def __init__(self) -> None:
        self.elapsed = 1_000.0

    def now(self) -> int:
        return EPOCH_MS + round(self.elapsed * 1000)

    def monotonic(self) -> float:
        return self.elapsed

    def random(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


@dataclass
class KeptTimes:
    """The `CompletionTimes` port, in memory; counts the writes."""

    rows: dict[Kind, tuple[Sketch, int | None]] = field(default_factory=dict)
    writes: Counter[Kind] = field(default_factory=Counter)

    async def read(self) -> list[tuple[Kind, Sketch, int | None]]:
        return [(kind, *row) for kind, row in self.rows.items()]

    async def keep(self, kind: Kind, sketch: Sketch, average_ms: int | None, at: int) -> None:
        self.rows[kind] = (sketch, average_ms)
        self.writes[kind] += 1


@dataclass(frozen=True)
class Found:
    """A video that was found: what it was, when, and after how many looks."""

    job: str
    p80: float
    seconds: float
    """Its true completion time."""
    delay: float
    looks: int
    at: float


class ScheduledHouse:
    """Jobs with true completion times; each look is counted against a minute's window."""

    def __init__(self, seed: int, looks_per_minute: int = LOOKS_PER_MINUTE) -> None:
        self.clock = FreeClock()
        self.kept = KeptTimes()
        self.looks_per_minute = looks_per_minute
        self.experience = Experience(self.kept, self.clock)
        self.planning = Planning(self.experience, lambda: self.looks_per_minute)
        self.rhythm = Rhythm(self.clock.monotonic)
        self.tracker = Tracker(
            cast(Tracking, self),
            self.clock,
            experience=self.experience,
            planning=self.planning,
            gate=self,
            rhythm=self.rhythm,
        )
        self.found: list[Found] = []
        self.looks: list[tuple[float, str]] = []
        self._chance = random.Random(seed)
        self._window: deque[float] = deque()
        self._truths: dict[str, tuple[Job, float, float]] = {}

    # what the tracker sees

    def room(self, call_class: CallClass) -> int:
        while self._window and self._window[0] + WINDOW_SECONDS + SLACK_SECONDS <= self.now:
            self._window.popleft()
        return self.looks_per_minute - len(self._window)

    def waiting(self, call_class: CallClass, user: str | None = None) -> int:
        return 0

    async def look(self, job: Job) -> Tried:
        self._window.append(self.now)
        assert len(self._window) <= self.looks_per_minute
        self.looks.append((self.now, job.id))
        known, p80, seconds = self._truths[job.id]
        assert known.accepted_at is not None
        age = self.now - (known.accepted_at - EPOCH_MS) / 1000
        told = replace(job, average_ms=round(p80 * 1000))
        if age < seconds:
            self.tracker.follow(told)
            return Tried(told, is_unready=True)
        ready = replace(told, state=State.FETCHING, ready_at=self.clock.now())
        self.tracker.follow(ready)
        self.found.append(Found(job.id, p80, seconds, age - seconds, job.looks, self.now))
        del self._truths[job.id]
        self.tracker.follow(replace(ready, state=State.STORED))
        return Tried(ready)

    # what a test does

    @property
    def now(self) -> float:
        return self.clock.elapsed

    @property
    def open_jobs(self) -> int:
        """Jobs that are not found yet."""
        return len(self._truths)

    def draw(self, p80: float) -> float:
        """A completion time as the simulator draws them."""
        low, high, share = 0.0, p80 * 20, self._chance.random()
        by = ready_by(p80)
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if by(middle) < share else (low, middle)
        return high

    def accept(self, p80: float, seconds: float | None = None, **facts: Any) -> str:
        """A job that Venice takes now; its id."""
        name = f"job{len(self.found) + len(self._truths)}-{self._chance.getrandbits(32)}"
        job = Job(
            id=name,
            user="ann",
            key_id="k",
            model=f"model-{p80}",
            state=State.PROCESSING,
            holding=Holding.RESERVED,
            created_at=self.clock.now(),
            accepted_at=self.clock.now(),
            queue_id=f"q-{name}",
            **facts,
        )
        self._truths[name] = (job, p80, self.draw(p80) if seconds is None else seconds)
        self.tracker.follow(job)
        return name

    async def pass_time(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, with the tracker at work."""
        for _ in range(math.ceil(seconds / step)):
            self.clock.elapsed += step
            await self.tracker.run_once()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def run(self, p80s: Sequence[float], jobs_per_minute: float, minutes: float) -> None:
        """Take jobs at an even rate, of models by chance."""
        for _ in range(round(jobs_per_minute * minutes)):
            self.accept(self._chance.choice(p80s))
            await self.pass_time(60.0 / jobs_per_minute, step=60.0 / jobs_per_minute / 6)

    def delays(self, since: float = 0.0) -> Mapping[str, float]:
        """Delays by job, of videos found from a moment on."""
        return {each.job: each.delay for each in self.found if each.at >= since}
