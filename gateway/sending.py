"""One order's way to Venice: estimate, reserve, gate, send. What became of it there is for
`outcomes.py`.

Sending is durable before the first byte leaves, so that a crash tells never sent from unknown.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from gateway.allowances import Allowances
from gateway.balance_watch import BalanceWatch
from gateway.book import JobBook
from gateway.budget_watch import BudgetWatch
from gateway.core.budget import Standing
from gateway.core.catalogue import ModelFacts
from gateway.core.errors import (
    BudgetExceeded,
    Draining,
    OrganizationBroke,
    OutcomeUnknown,
    PolicyRefused,
    StorageFull,
    UpstreamBusy,
)
from gateway.core.job import Event
from gateway.core.money import Money
from gateway.estimate import Estimate, Estimator
from gateway.logs import about
from gateway.metrics import Metrics
from gateway.moves import Moves
from gateway.orders import ClientGone, Flight, QueueRequest, new_job_id
from gateway.outcomes import Outcomes
from gateway.ports import (
    Clock,
    Ledger,
    LedgerFailure,
    ModelClosed,
    NoPlace,
    Upstream,
)
from gateway.quotes import (
    BUSY,
    Quoted,
    upstream_auth,
)
from gateway.records import Caller, Job, Order, Overrun, Reserved
from gateway.spending import Spending

GIVEN_UP: dict[type[BaseException], str] = {
    NoPlace: "no place at the gate in time",
    ModelClosed: "Venice does not take the key for this model at present",
    Draining: "the gateway was stopping",
    StorageFull: "there was no room on the disk to write that it is sent",
    ClientGone: "the client left before it was sent",
    asyncio.CancelledError: "the client left before it was sent",
}
"""Why an order that was held is not sent, for its receipt."""
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
        self.outcomes = Outcomes(ledger, clock, book, self._moves, balance)
        """Where answers go."""
        self._starting: Counter[tuple[str, str | None]] = Counter()
        """Orders of each user, and of each of their keys, that are not reserved yet."""

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
                await self.outcomes.lose_answer(
                    job.id, f"sending failed here: {type(error).__name__}"
                )
                raise OutcomeUnknown(job.id) from error
            await self._release(job, error)
            if isinstance(error, NoPlace):
                raise UpstreamBusy(BUSY) from error
            if isinstance(error, ModelClosed):
                raise upstream_auth() from error
            raise
        return await self.outcomes.attach(job, reply)

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
            id=new_job_id(self._clock.now()),
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


def _remark(quoted: Quoted) -> str | None:
    """Both prices, where the one that is held is another than before."""
    if quoted.before is None:
        return None
    return f"Venice quoted {quoted.before} before and {quoted.price} now"
