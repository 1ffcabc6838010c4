"""One order's way to Venice: estimate, reserve, gate, send, attach.

Sending is durable before the first byte leaves, so that a crash tells never sent from unknown.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from gateway.allowances import Allowances
from gateway.balance_watch import BalanceWatch
from gateway.book import JobBook
from gateway.budget_watch import BudgetWatch
from gateway.core.answers import REFUSALS, read_queue_answer
from gateway.core.budget import Standing
from gateway.core.catalogue import ModelFacts
from gateway.core.errors import (
    BudgetExceeded,
    Draining,
    GatewayError,
    OrganizationBroke,
    OutcomeUnknown,
    PolicyRefused,
    StorageFull,
    UpstreamBusy,
    UpstreamRefused,
)
from gateway.core.job import Event, State
from gateway.core.json_text import encode
from gateway.core.money import Money
from gateway.core.retry import NOT_ACCEPTED, Outcome
from gateway.estimate import Estimate, Estimator
from gateway.logs import about
from gateway.metrics import Metrics
from gateway.moves import Moves
from gateway.orders import ClientGone, Flight, QueueRequest, new_job_id
from gateway.ports import (
    AlreadyThere,
    Clock,
    Ledger,
    LedgerFailure,
    ModelClosed,
    NoPlace,
    Reply,
    Upstream,
)
from gateway.quotes import (
    BUSY,
    Quoted,
    organization_broke,
    retry_after,
    upstream_auth,
)
from gateway.records import Caller, Job, Order, Overrun, Reserved
from gateway.spending import Spending

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
GIVEN_UP: dict[type[BaseException], str] = {
    NoPlace: "no place at the gate in time",
    ModelClosed: "Venice does not take the key for this model at present",
    Draining: "the gateway was stopping",
    StorageFull: "there was no room on the disk to write that it is sent",
    ClientGone: "the client left before it was sent",
    asyncio.CancelledError: "the client left before it was sent",
}
"""Why an order that was held is not sent, for its receipt."""
DOUBTED = frozenset({State.IN_DOUBT, State.SETTLED_IN_DOUBT, State.RELEASED_IN_DOUBT})
_log = structlog.get_logger(__name__)


class Sending:
    """Sends orders, and keeps ledger and book right about them."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        upstream: Upstream,
        clock: Clock,
        book: JobBook,
        estimator: Estimator,
        spending: Spending,
        allowances: Allowances,
        metrics: Metrics,
        budgets: BudgetWatch,
        balance: BalanceWatch,
        upstream_key: Callable[[], str],
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._clock = clock
        self._book = book
        self._estimator = estimator
        self._spending = spending
        self._allowances = allowances
        self._metrics = metrics
        self._budgets = budgets
        self._balance = balance
        self._upstream_key = upstream_key
        self._moves = Moves(ledger, clock, book, spending)
        self._starting: Counter[tuple[str, str | None]] = Counter()
        """Orders of each user, and of each of their keys, that are not reserved yet."""

    @property
    def unwritten(self) -> set[str]:
        """Jobs whose answer could not be written yet."""
        return self._moves.unwritten

    async def settle_down(self, seconds: float) -> None:
        """Return when every answer is written, or after so many seconds."""
        await self._moves.settle_down(seconds)

    async def send(self, flight: Flight) -> Job:
        """The accepted job; raises what the client is to be told.

        May be cancelled until the flight is committed, and then leaves nothing held.
        """
        request = flight.request
        body, model = self._estimator.check(request.body)
        self._spending.admit()
        with self._counted(request.caller):
            estimate = await self._estimate(request, body, model, flight.deadline)
            job = await self._pay(request, estimate, flight.deadline)
        flight.job_id = job.id
        try:
            reply = await self._upstream.queue(
                estimate.body,
                job.user,
                flight.deadline,
                before_sending=lambda: self._commit(flight, job),
            )
        except BaseException as error:
            if flight.is_committed:
                await self.lose_answer(job.id, f"sending failed here: {type(error).__name__}")
                raise OutcomeUnknown(job.id) from error
            await self._release(job, error)
            if isinstance(error, NoPlace):
                raise UpstreamBusy(BUSY) from error
            if isinstance(error, ModelClosed):
                raise upstream_auth() from error
            raise
        return await self._attach(job, reply)

    @contextmanager
    def _counted(self, caller: Caller) -> Iterator[None]:
        """Check the caller's own limits, counting this order until the book does."""
        name = caller.user.name
        self._allowances.refuse_failing(self._upstream.user_wait(name))
        key = caller.key.id
        self._allowances.take_order(
            caller,
            active=self._book.active(name) + self._starting[name, None],
            active_of_key=self._book.active_of_key(key) + self._starting[name, key],
        )
        counted = ((name, None), (name, key))
        self._starting.update(counted)
        try:
            yield
        finally:
            self._starting.subtract(counted)
            for who in counted:
                if not self._starting[who]:
                    del self._starting[who]

    # before the money

    async def _estimate(
        self, request: QueueRequest, body: dict[str, Any], model: ModelFacts, deadline: float
    ) -> Estimate:
        try:
            return await self._estimator.estimate(request.caller, body, model, deadline)
        except PolicyRefused as refused:
            await self._keep_refusal(request, "POLICY_REFUSED", refused.rule, model.id, None)
            raise

    async def _keep_refusal(
        self, request: QueueRequest, code: str, rule: str, model: str, amount: Money | None
    ) -> None:
        """Remember a refusal for people to see; one that cannot be kept is still a refusal."""
        self._metrics.refusals.labels(rule.partition(".")[0]).inc()
        try:
            await self._ledger.refuse(
                at=self._clock.now(),
                user=request.caller.user.name,
                key_id=request.caller.key.id,
                code=code,
                rule=rule,
                model=model,
                amount=amount,
            )
        except LedgerFailure as error:
            _log.warning("refusal.not_kept", why=str(error))

    # the money

    async def _pay(self, request: QueueRequest, estimate: Estimate, deadline: float) -> Job:
        """Reserve what the organization itself can pay for."""
        price = estimate.quoted.price
        try:
            with self._balance.claim(price):
                return await self._reserve(request, estimate, deadline)
        except OrganizationBroke:
            model = estimate.model.id
            await self._keep_refusal(request, "INSUFFICIENT_BALANCE", "balance", model, price)
            raise

    async def _reserve(self, request: QueueRequest, estimate: Estimate, deadline: float) -> Job:
        caller = request.caller
        order = Order(
            id=new_job_id(),
            caller=caller,
            model=estimate.model.id,
            body_digest=request.body_digest,
            idempotency_key=request.idempotency_key,
            quote=estimate.quoted.price,
            limits=estimate.limits,
            calendar=estimate.rules.rulebook.organization.calendar,
            tags=tuple(dict.fromkeys((*caller.key.tags, *request.tags))),
            policy=estimate.policy_name,
            policy_version=estimate.rules.version,
            seconds=estimate.facts.seconds,
            resolution=estimate.facts.resolution,
            upstream_key=self._upstream_key(),
            remark=_remark(estimate.quoted),
        )
        held = await self._hold(order)
        if isinstance(held, Overrun):
            self._budgets.refused(held.standing, caller.user.team)
            raise await self._overrun(request, held.standing, estimate, deadline)
        self._budgets.reserved(held)
        for standing in held.observed:
            _log.warning("budget.observed", standing=str(standing), **about(held.job))
        _log.info("reservation.held", **about(held.job), usd=str(held.job.quote))
        return self._book.put(held.job)

    async def _hold(self, order: Order) -> Reserved | Overrun:
        """Reserve to the end, whatever happens to us: a hold nobody knows of would leak."""
        reserving = asyncio.ensure_future(self._ledger.reserve(order, self._clock.now()))
        try:
            return await self._spending.guard(asyncio.shield(reserving))
        except asyncio.CancelledError as error:
            held = await reserving
            if isinstance(held, Reserved):
                await self._release(held.job, error)
            raise

    async def _overrun(
        self, request: QueueRequest, standing: Standing, estimate: Estimate, deadline: float
    ) -> BudgetExceeded:
        """The refusal, kept, with a cheaper form of the order where one fits."""
        price = estimate.quoted.price
        rule = f"{standing.limit.scope}.{standing.limit.window}"
        code = "API_KEY_USD_SPEND_LIMIT_EXCEEDED"
        await self._keep_refusal(request, code, rule, estimate.model.id, price)
        cheaper = await self._estimator.cheaper(request.caller, estimate, deadline)
        return BudgetExceeded(standing, price, cheaper.as_fields() if cheaper else None)

    async def _commit(self, flight: Flight, job: Job) -> None:
        """From here on the order may reach Venice, and its client cannot take it back."""
        if not flight.presence.is_here:
            # It is being taken back: a copy that came since did not join it, and is an order.
            raise ClientGone
        if self._clock.monotonic() >= flight.deadline:
            raise NoPlace
        flight.is_committed = True
        try:
            await self._moves.move(job.id, Event.SEND, {"sent_at": self._clock.now()})
        except BaseException:
            # Not durable, so nothing is sent.
            flight.is_committed = False
            raise

    async def _release(self, job: Job, error: BaseException) -> None:
        """Give back what was held for an order that was not sent."""
        reason = GIVEN_UP.get(type(error), "the gateway could not send it")

        async def write() -> Job:
            return await self._moves.move(job.id, Event.GIVE_UP, reason=reason)

        await self._moves.insist(job.id, write)

    # after the answer

    async def _attach(self, job: Job, reply: Reply) -> Job:
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
            _log.exception("queue_id.taken", job=job.id, queue_id=queue_id)
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


def _remark(quoted: Quoted) -> str | None:
    """Both prices, where the one that is held is another than before."""
    if quoted.before is None:
        return None
    return f"Venice quoted {quoted.before} before and {quoted.price} now"


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
