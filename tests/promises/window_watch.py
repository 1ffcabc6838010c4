"""R1 by a calendar and sums of its own: entry by entry, whatever is let in fits every window that
it touches, and from then on a window grows by nothing but what truly had to be paid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from gateway.core.budget import Limit, Scope
from gateway.records import Job

ROME = ZoneInfo("Europe/Rome")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


class Entry(Protocol):
    """What is asked of a ledger entry."""

    @property
    def id(self) -> int: ...
    @property
    def job(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def amount(self) -> int: ...
    @property
    def actor(self) -> str | None: ...


class Watched(Protocol):
    """What is asked of a world."""

    def rows(self, after: int) -> Sequence[Entry]: ...
    def limits_of(self, job: Job) -> list[Limit]: ...
    async def ceiling(self, limit: Limit, at: int) -> int: ...


@dataclass
class Window:
    """A window as the last order that was let into it left it; amounts are micro-dollars."""

    limit: Limit
    at: int
    ceiling: int
    """The limit with its grants at that moment. What is changed later bounds later orders only."""
    proved: int = 0
    """What came in since without asking: evidence, or an administrator, said that it was paid."""


class WindowWatch:
    """Follows the entries, and knows of every window how much it may hold."""

    def __init__(self, world: Watched) -> None:
        self._world = world
        self._seen = 0
        self._held: Counter[str] = Counter()
        self._windows: dict[Hashable, Window] = {}

    async def look(self, jobs: Mapping[str, Job]) -> None:
        """Go on to the last entry; `jobs` are all there are, by id, as they stand now."""
        for entry in self._world.rows(self._seen):
            self._seen = entry.id
            self._held[entry.job] += entry.amount
            if entry.kind == "reserve" and entry.actor is None:
                await self._let_in(jobs[entry.job], jobs)
            elif entry.amount > 0:
                self._proved(entry, jobs[entry.job])
        for window in self._windows.values():
            used = sum(
                job.reserved.micros + job.in_doubt.micros + job.settled.micros
                for job in jobs.values()
                if counts(window.limit, job, window.at)
            )
            assert used <= window.ceiling + window.proved, (window, used)

    async def _let_in(self, job: Job, jobs: Mapping[str, Job]) -> None:
        """With the order itself everything that counts is within the limit, proved or not."""
        at = job.created_at
        for limit in self._world.limits_of(job):
            ceiling = await self._world.ceiling(limit, at)
            held = self._held.items()
            used = sum(micros for name, micros in held if counts(limit, jobs[name], at))
            assert used <= ceiling, (limit, used, ceiling, job)
            which = (limit.scope, limit.id, limit.window, limit.models, _part(limit.window, at))
            self._windows[which] = Window(limit, at, ceiling)

    def _proved(self, entry: Entry, job: Job) -> None:
        """A settlement above what was reserved, a correction upward, a job bought elsewhere."""
        assert entry.actor in ("reconcile", "root"), f"nobody said that this was paid: {entry}"
        assert entry.kind in ("settle", "correct") or job.id.startswith("adopted"), entry
        for window in self._windows.values():
            if counts(window.limit, job, window.at):
                window.proved += entry.amount


def counts(limit: Limit, job: Job, at: int) -> bool:
    """Whether a job takes room in a limit's window of a moment."""
    return (
        is_of(job, limit)
        and fnmatchcase(job.model, limit.models)
        and (
            at - DAY_MS < job.created_at <= at
            if limit.window == "24h"
            else _part(limit.window, job.created_at) == _part(limit.window, at)
        )
    )


def is_of(job: Job, limit: Limit) -> bool:
    """Whether a job is of the key, user or team that a limit binds."""
    match limit.scope:
        case Scope.KEY:
            return job.key_id == limit.id
        case Scope.USER:
            return job.user == limit.id
        case Scope.TEAM:
            return job.team == limit.id
        case _:
            return True


@lru_cache(100_000)
def _part(window: str, at: int) -> Hashable:
    """Which hour, day, week or month of the calendar a moment is in; a window that rolls has no
    parts, and its last order saw all that the ones before it saw and that still counts."""
    then = datetime.fromtimestamp(at / 1000, ROME)
    match window:
        case "hour":
            return at // HOUR_MS
        case "day":
            return then.date()
        case "week":
            return then.isocalendar()[:2]
        case "month":
            return then.year, then.month
        case "24h":
            return None
    raise AssertionError(window)
