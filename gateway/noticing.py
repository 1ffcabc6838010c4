"""Finds what is to be told and puts it into the outbox: news that was handed in, jobs that ended or
came to be in doubt, and conditions that began.

Jobs are found by where the last look ended, kept in the transaction that keeps their notices, so
that a crash neither loses one nor tells one twice, and the money's own transactions know nothing of
it.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.core.job import State
from gateway.core.keys import ID_CHARACTERS, random_text
from gateway.core.notices import Notice
from gateway.core.notify import NoticeEvent
from gateway.moments import rfc3339
from gateway.ports import Clock, Ledger, LedgerFailure, Outbox
from gateway.receivers import Receivers
from gateway.records import Job

PAGE = 200
HANDED_IN_MAX = 1_000
"""News that waits to be kept; more in one second is told by metrics."""
QUIET_MS = 15 * 60_000
"""A condition that comes and goes is told once in so long."""
ENDED_MARK = "notices.ended"
DOUBTED_MARK = "notices.doubted"

COMPLETED = frozenset({State.STORED, State.EVICTED, State.PURGED})
FAILED = frozenset(
    {
        State.FAILED_REFUNDED,
        State.FAILED_BILLED,
        State.UNDELIVERABLE,
        State.STALLED,
        State.LOST,
    }
)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is so or is not, and is told each time it begins."""

    event: NoticeEvent
    subject: str
    why: Callable[[], str | None]
    """Why it is so; None while it is not."""


class Noticing:
    """`ports.Notices`, and one look at everything else there is to tell."""

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        receivers: Receivers,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._receivers = receivers
        self._clock = clock
        self._conditions: list[Condition] = []
        self._handed_in: deque[Notice] = deque(maxlen=HANDED_IN_MAX)
        self._ended: int | None = None
        self._doubted = 0
        self._seen: set[str] = set()
        """Keys of jobs that ended at the very moment up to which was looked."""
        self._told_of: dict[NoticeEvent, str | None] = {}
        """Since when conditions hold that were told of."""
        self._told_at: dict[NoticeEvent, int] = {}
        """When each was told of last, by this process."""

    def watch(self, *conditions: Condition) -> None:
        """Tell of these whenever they begin; before the first look."""
        self._conditions += conditions

    def post(
        self,
        event: NoticeEvent,
        key: str,
        subject: str,
        *,
        team: str | None = None,
        user: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """See `ports.Notices.post`; it is kept within a second."""
        at = self._clock.now()
        if len(self._handed_in) == HANDED_IN_MAX:
            _log.warning("notice.dropped", about=event)
        self._handed_in.append(
            Notice(new_id(), f"{event}/{key}", event, subject, at, team, user, dict(facts or {}))
        )

    async def begin(self) -> None:
        """Learn where the last look ended; a database that never told anybody tells no past."""
        ended = await self._ledger.mark(ENDED_MARK)
        doubted = await self._ledger.mark(DOUBTED_MARK)
        now = self._clock.now()
        # A clock that was put back must not hide what ends from now on.
        self._ended = now if ended is None else min(int(ended), now)
        self._doubted = await self._ledger.entry_count() if doubted is None else int(doubted)
        marks = {ENDED_MARK: str(self._ended), DOUBTED_MARK: str(self._doubted)}
        await self._outbox.post([], marks)
        for condition in self._conditions:
            self._told_of[condition.event] = await self._ledger.mark(_mark_of(condition.event))

    async def run_once(self) -> None:
        """Keep all news since the last look."""
        if self._ended is None:
            await self.begin()
        await self.kept()
        await self._keep_conditions()
        await self._keep_ended()
        await self._keep_doubted()

    async def finish(self) -> None:
        """Keep what was handed in last; a stop loses no news."""
        try:
            await self.kept()
        except LedgerFailure as error:
            _log.error("notices.lost", count=len(self._handed_in), why=str(error))

    async def kept(self) -> None:
        """See `ports.Notices.kept`; `LedgerFailure` where it cannot be."""
        news, self._handed_in = self._handed_in, deque(maxlen=HANDED_IN_MAX)
        if not news:
            return
        try:
            await self._outbox.post([self._addressed(notice) for notice in news], {})
        except LedgerFailure:
            self._handed_in.extendleft(reversed(news))
            raise

    async def _keep_conditions(self) -> None:
        """Tell of those that have begun. One that was told of lately waits, and is told of then if
        it still holds: what comes and goes is no news each time, but nothing that stays is missed.
        """
        for condition in self._conditions:
            event, why, at = condition.event, condition.why(), self._clock.now()
            is_told = self._told_of[event] is not None
            if why is None and is_told:
                await self._outbox.post([], {_mark_of(event): None})
                self._told_of[event] = None
            elif why is not None and not is_told and at - self._told_at.get(event, 0) >= QUIET_MS:
                key = f"{event}/{at}"
                notice = Notice(new_id(), key, event, condition.subject, at, facts={"why": why})
                await self._outbox.post([self._addressed(notice)], {_mark_of(event): str(at)})
                self._told_of[event], self._told_at[event] = str(at), at

    async def _keep_ended(self) -> None:
        assert self._ended is not None, "begin comes first"
        at, number = self._ended, 0
        while page := await self._outbox.ended_jobs(at, number, PAGE):
            number, last = page[-1]
            assert last.ended_at is not None, "found by its end"
            notices = [notice for _, job in page if (notice := _of_ended(job)) is not None]
            news = [notice for notice in notices if notice.key not in self._seen]
            if news or last.ended_at > at:
                marks = {ENDED_MARK: str(last.ended_at)}
                await self._outbox.post([self._addressed(notice) for notice in news], marks)
            if last.ended_at > self._ended:
                self._seen.clear()
            self._seen |= {n.key for n in notices if n.at == last.ended_at}
            self._ended = at = last.ended_at
            if len(page) < PAGE:
                return

    async def _keep_doubted(self) -> None:
        while True:
            page, reached = await self._outbox.doubted_jobs(self._doubted, PAGE)
            news = [
                _of_job(job, NoticeEvent.JOB_IN_DOUBT, f"{job.id}/{entry}", self._clock.now())
                for entry, job in page
                if job.state is State.IN_DOUBT
            ]
            if page:
                marks = {DOUBTED_MARK: str(reached)}
                await self._outbox.post([self._addressed(notice) for notice in news], marks)
            self._doubted = reached
            if len(page) < PAGE:
                return

    def _addressed(self, notice: Notice) -> tuple[Notice, list[str]]:
        event = NoticeEvent(notice.event)
        return notice, self._receivers.wanted_by(event, notice.team, notice.user)


def new_id() -> str:
    """An id for a notice."""
    return "n" + random_text(secrets.token_bytes(16), ID_CHARACTERS)


def _mark_of(event: NoticeEvent) -> str:
    return f"notices.{event}"


def _of_ended(job: Job) -> Notice | None:
    """What a job's end is to be told as; None where nobody needs to know."""
    assert job.ended_at is not None, "found by its end"
    if job.state in COMPLETED:
        # A video that was fetched once more is no second news.
        return _of_job(job, NoticeEvent.JOB_COMPLETED, job.id, job.ended_at)
    if job.state in FAILED:
        return _of_job(job, NoticeEvent.JOB_FAILED, f"{job.id}/{job.ended_at}", job.ended_at)
    return None


def _of_job(job: Job, event: NoticeEvent, key: str, at: int) -> Notice:
    facts = {
        "job": job.id,
        "queue_id": job.queue_id,
        "state": str(job.state),
        "model": job.model,
        "quote_usd": str(job.quote),
        "settled_usd": str(job.settled),
        "in_doubt_usd": str(job.in_doubt),
        "tags": list(job.tags),
        "created_at": rfc3339(job.created_at),
        "ended_at": None if job.ended_at is None else rfc3339(job.ended_at),
    }
    return Notice(new_id(), f"{event}/{key}", event, job.id, at, job.team, job.user, facts)
