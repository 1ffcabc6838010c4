"""Has the ledger compared with Venice's bill: every night, and as soon as a doubt may be ended.

When is decided here; what follows from the bill is not. A run that fails is tried again later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import structlog

from gateway.book import JobBook
from gateway.core.errors import GatewayError
from gateway.core.job import State
from gateway.core.policy import Rulebook
from gateway.ports import Clock, LedgerFailure
from gateway.reconcile import Reconciler

NIGHT = time(3)
"""By the organization's clock: the day's jobs have ended, and nobody waits for the gate."""
JITTER_SECONDS = 3_600.0
"""After that, a moment of its own for each gateway, so that not all ask Venice at once."""
FIRST_SECONDS = 60.0
"""After a start: what it recovered has moved on by then."""
APART_SECONDS = 600.0
"""At least, between two runs of this chore, whatever came of the first."""

_log = structlog.get_logger(__name__)


class NightlyReconciler:
    """One round looks whether a run is due, and has it made."""

    def __init__(
        self,
        reconciler: Reconciler,
        run: Callable[[], Awaitable[object]],
        book: JobBook,
        clock: Clock,
        rules: Callable[[], Rulebook],
    ) -> None:
        """`run` makes one with all that follows from it."""
        self._reconciler = reconciler
        self._run = run
        self._book = book
        self._clock = clock
        self._rules = rules
        self._jitter = timedelta(seconds=clock.random() * JITTER_SECONDS)
        self._not_before = clock.monotonic() + FIRST_SECONDS

    async def run_once(self) -> None:
        """Make a run if one is due."""
        if not self._reconciler.is_on or self._clock.monotonic() < self._not_before:
            return
        if not await self._is_due():
            return
        self._not_before = self._clock.monotonic() + APART_SECONDS
        try:
            await self._run()
        except (GatewayError, LedgerFailure) as error:
            _log.error("reconciliation.failed", why=str(error))

    async def _is_due(self) -> bool:
        last = self._reconciler.last
        if last is None:
            return await self._reconciler.kept.first_sent() is not None
        now = self._clock.now()
        night = night_before(now, self._rules().organization.timezone, self._jitter)
        return last.started_at < night or self._has_ripe_doubt(last.started_at, now)

    def _has_ripe_doubt(self, looked_at: int, now: int) -> bool:
        """Whether a doubt came of an age, since the last look, at which silence says something."""
        rules = self._rules().in_doubt
        doubts = (job for job in self._book.open_jobs() if job.state is State.IN_DOUBT)
        return any(
            looked_at < (job.sent_at or job.created_at) + age <= now
            for job in doubts
            for age in (rules.release_after, rules.settle_after)
        )


def night_before(now: int, timezone: ZoneInfo, jitter: timedelta) -> int:
    """The last night's moment before `now`, both in Unix milliseconds."""
    moment = datetime.fromtimestamp(now / 1000, UTC)
    today = moment.astimezone(timezone).date()
    night = _night_of(today, timezone) + jitter
    if night > moment:
        night = _night_of(today - timedelta(days=1), timezone) + jitter
    return int(night.timestamp()) * 1000


def _night_of(day: date, timezone: ZoneInfo) -> datetime:
    return datetime.combine(day, NIGHT, timezone).astimezone(UTC)
