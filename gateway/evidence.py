"""What the bill proves, done: each verdict about a job becomes an event or a correction, audited.

It acts only on a job that still stands where the comparison saw it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gateway.book import JobBook
from gateway.core.answers import asked_anew
from gateway.core.bill import Finding, Match
from gateway.core.job import Event, IllegalEvent
from gateway.core.money import ZERO, Money
from gateway.core.verdict import Act, Verdict
from gateway.ledgered import dollars
from gateway.logs import about
from gateway.metrics import BILL, Metrics
from gateway.ports import AlreadyThere, Clock, Ledger
from gateway.records import Job

ACTOR = "reconcile"
"""Who acts on evidence, in entries and audit."""
AT_ONCE = 50
"""Acts under way together: they share the ledger's commits, and leave room for orders."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Acted:
    """A match, what it called for, and whether that was done."""

    match: Match
    verdict: Verdict
    is_done: bool = False

    @property
    def correction(self) -> Money:
        """By how much it changed what is settled of a job whose money had ended."""
        doubts = (Finding.BILLED, Finding.UNBILLED, Finding.UNCLEAR)
        if not self.is_done or self.match.finding in doubts:
            return ZERO
        if self.verdict.event is Event.IDENTIFY:
            return ZERO
        return self.match.billed - self.match.job.paid


class Evidence:
    """The hands of a reconciliation."""

    def __init__(self, ledger: Ledger, clock: Clock, book: JobBook, metrics: Metrics) -> None:
        self._ledger = ledger
        self._clock = clock
        self._book = book
        self._metrics = metrics

    async def act(self, judged: Sequence[tuple[Match, Verdict]]) -> list[Acted]:
        """Do what the verdicts call for, some at a time."""
        done: list[Acted] = []
        for start in range(0, len(judged), AT_ONCE):
            some = judged[start : start + AT_ONCE]
            done += await asyncio.gather(*(self._one(*each) for each in some))
        return done

    async def _one(self, match: Match, verdict: Verdict) -> Acted:
        if verdict.act not in (Act.MOVE, Act.CORRECT):
            return Acted(match, verdict)
        before = await self._ledger.job(match.job.id)
        assert before is not None, "jobs are never deleted"
        try:
            job = await self._done(match, verdict)
        except (IllegalEvent, AlreadyThere) as error:
            # It moved since it was read: the next run sees it as it is then.
            _log.warning("evidence.not_used", job=match.job.id, why=str(error))
            return Acted(match, verdict)
        self._book.put(job)
        acted = Acted(match, verdict, is_done=True)
        await self._tell(acted, before, job)
        return acted

    async def _done(self, match: Match, verdict: Verdict) -> Job:
        at = self._clock.now()
        job_id, reason = match.job.id, _told(match, verdict)
        if verdict.event is None:
            return await self._ledger.correct(
                job_id, match.billed, at, reason=reason, actor=ACTOR, seen=match.job.state
            )
        facts = {}
        if verdict.event is Event.IDENTIFY:
            answer = {"model": match.job.model, "queue_id": match.request_id}
            facts = {"queue_id": match.request_id, "answer": json.dumps(answer), **asked_anew(at)}
        return await self._ledger.advance(
            job_id,
            verdict.event,
            at,
            facts=facts,
            reason=reason,
            actor=ACTOR,
            settle_as=match.billed or None,
            seen=match.job.state,
        )

    async def _tell(self, acted: Acted, before: Job, job: Job) -> None:
        """The audit, the log, and what was given back."""
        word = acted.verdict.event or Act.CORRECT
        detail = {
            "why": acted.verdict.reason,
            "was": before.state,
            "is": job.state,
            "billed_usd": str(acted.match.billed),
            "settled_usd": str(job.settled),
            "request_id": acted.match.request_id,
        }
        await self._ledger.audit(
            at=self._clock.now(),
            actor=ACTOR,
            act=f"job.{word}",
            target=job.id,
            detail=json.dumps(detail),
        )
        _log.info("evidence.used", **about(job), act=str(word), **detail)
        over = job.settled - max(before.settled, job.quote)
        if over > ZERO:
            self._metrics.overruns.inc(dollars(over))
        back = before.settled - job.settled
        if back > ZERO:
            self._metrics.refunds.labels(BILL).inc(dollars(back))


def _told(match: Match, verdict: Verdict) -> str:
    """The reason of an entry: what the bill shows, by which row, and how far above what was
    held."""
    row = f" (request {match.request_id})" if match.request_id else ""
    over = match.billed - match.job.quote
    overrun = f"; an overrun of {over} USD above what was held" if over > ZERO else ""
    return f"{verdict.reason}{row}{overrun}"
