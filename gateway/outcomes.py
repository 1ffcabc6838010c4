"""What became of an order at Venice, written to ledger and book whatever becomes of its client:
taken, refused, or nobody knows. It sends nothing, and decides only which of the three it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from gateway.balance_watch import BalanceWatch
from gateway.book import JobBook
from gateway.core.answers import REFUSALS, read_queue_answer
from gateway.core.errors import GatewayError, OutcomeUnknown, UpstreamBusy, UpstreamRefused
from gateway.core.job import Event, State
from gateway.core.json_text import encode
from gateway.core.retry import NOT_ACCEPTED, Outcome
from gateway.logs import about
from gateway.moves import Moves
from gateway.ports import AlreadyThere, Clock, Ledger, Reply
from gateway.quotes import BUSY, organization_broke, retry_after, upstream_auth
from gateway.records import Job

ACCEPTING = {
    State.SENDING: Event.ACCEPT,
    State.IN_DOUBT: Event.IDENTIFY,
    State.SETTLED_IN_DOUBT: Event.IDENTIFY,
    State.RELEASED_IN_DOUBT: Event.IDENTIFY,
}
"""What an acceptance is to a job, by where it stands when the answer comes."""
REFUSING = {
    State.SENDING: Event.REFUSE,
    State.IN_DOUBT: Event.DECIDE_UNBILLED,
    State.SETTLED_IN_DOUBT: Event.DECIDE_UNBILLED,
}
DOUBTED = frozenset({State.IN_DOUBT, State.SETTLED_IN_DOUBT, State.RELEASED_IN_DOUBT})
_log = structlog.get_logger(__name__)


class Outcomes:
    """Writes what was learned of orders that were sent."""

    def __init__(
        self, ledger: Ledger, clock: Clock, book: JobBook, moves: Moves, balance: BalanceWatch
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._clock = clock
        self._moves = moves
        self._balance = balance

    @property
    def unwritten(self) -> set[str]:
        """Jobs whose answer could not be written yet."""
        return self._moves.unwritten

    async def settle_down(self, seconds: float) -> None:
        """Return when every answer is written, or after so many seconds."""
        await self._moves.settle_down(seconds)

    async def attach(self, job: Job, reply: Reply) -> Job:
        """The job that Venice took; raises what the client is to be told of any other answer."""
        answer = read_queue_answer(reply.document) if reply.is_ok else None
        if answer is not None:
            return await self._accept(job, reply, *answer)
        if reply.outcome in NOT_ACCEPTED and _is_refusal(reply):
            reason = f"refused by Venice ({_words(reply)})"
            await self._write_news(job.id, REFUSING, {}, reason)
            if reply.status == 402:
                self._balance.hurry()
            raise _told(reply)
        await self.lose_answer(job.id, f"the answer was lost ({_words(reply)})")
        raise OutcomeUnknown(job.id)

    async def _accept(self, job: Job, reply: Reply, queue_id: str, link: str | None) -> Job:
        told = {k: v for k, v in reply.document.items() if k != "download_url"}
        facts = {
            "queue_id": queue_id,
            "download_url": link,
            "is_private": link is not None,
            "answer": encode(told).decode(),
            "accepted_at": self._clock.now(),
        }
        try:
            accepted = await self._write_news(job.id, ACCEPTING, facts, None)
        except AlreadyThere as error:
            _log.exception("queue_id.taken", **about(job), queue_id=queue_id)
            await self.lose_answer(job.id, "Venice answered with another job's queue_id")
            raise OutcomeUnknown(job.id) from error
        if accepted is None:
            raise OutcomeUnknown(job.id)
        return accepted

    async def _write_news(
        self,
        job_id: str,
        events: Mapping[State, Event],
        facts: Mapping[str, Any],
        reason: str | None,
    ) -> Job | None:
        """Write Venice's answer by the event that fits where the job stands now: it may have been
        given up meanwhile. None where it cannot be written yet."""

        async def write() -> Job:
            job = await self._moves.current(job_id)
            event = events.get(job.state)
            if event is None:
                # An administrator has decided otherwise; the answer changes nothing any more.
                _log.warning("answer.too_late", job=job_id, state=job.state)
                return job
            return await self._moves.move(job_id, event, facts, reason)

        return await self._moves.insist(job_id, write)

    async def lose_answer(self, job_id: str, reason: str) -> None:
        """The order may have been accepted, and nobody knows: hold its money.

        `IllegalEvent` where its answer has come after all.
        """

        async def write() -> Job:
            job = await self._moves.current(job_id)
            if job.state in DOUBTED:
                return job
            return await self._moves.move(job_id, Event.LOSE_ANSWER, reason=reason)

        job = await self._moves.insist(job_id, write)
        _log.error("job.in_doubt", **(about(job) if job else {"job": job_id}), reason=reason)

    async def note_delivered(self, job_id: str) -> None:
        """Its client has the answer: no twin may claim it any more."""
        known = self._book.known(job_id)
        if known is None or known.answer_owed:
            await self._moves.note(job_id, {"answer_owed": False})

    # what a crash left behind

    async def recover(self) -> None:
        """Free what was never sent and put in doubt what may have been; once, at a start."""
        for job in await self._ledger.jobs(states=[State.RESERVED], limit=1_000_000):
            await self._moves.move(job.id, Event.GIVE_UP, reason="never sent: found at a start")
        for job in await self._ledger.jobs(states=[State.SENDING], limit=1_000_000):
            await self.lose_answer(job.id, "the gateway stopped while it was being sent")


def _is_refusal(reply: Reply) -> bool:
    return reply.outcome is not Outcome.REFUSED or reply.status in REFUSALS


def _words(reply: Reply) -> str:
    return f"{reply.outcome}, status {reply.status}" if reply.status else str(reply.outcome)


def _told(reply: Reply) -> GatewayError:
    """What a client is told of a queue request that surely bought nothing."""
    if reply.outcome is Outcome.REFUSED and reply.status in (401, 403):
        return upstream_auth()
    if reply.outcome is Outcome.REFUSED and reply.status == 402:
        return organization_broke()
    if reply.outcome in (Outcome.REFUSED, Outcome.SERVER_ERROR) and reply.status is not None:
        return UpstreamRefused(reply.status, reply.body)
    return UpstreamBusy(BUSY, retry_after(reply))
