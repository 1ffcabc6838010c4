"""What Venice asks for a job: quoted before anything is held, from a fresh answer or a new one.

Equal pricing inputs are asked once at a time, and at most four questions are open upstream. A
price that cannot be trusted is no price: nothing is reserved on it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import structlog

from gateway.core.errors import (
    GatewayError,
    OrganizationBroke,
    QuoteUnavailable,
    UpstreamAuth,
    UpstreamBusy,
    UpstreamRefused,
)
from gateway.core.keys import digest
from gateway.core.money import Money, NotAnAmount
from gateway.core.policy import QuoteRules
from gateway.core.pricing import has_drifted, read_quote
from gateway.core.retry import Outcome
from gateway.metrics import Metrics
from gateway.ports import Clock, ModelClosed, NoPlace, Reply, Upstream

OPEN_QUESTIONS_MAX = 4
"""Quotes asked at once: they share the failure budget with orders."""
QUOTES_KEPT = 5_000
AGE_SECONDS_MAX = 300.0
"""Whatever the policy says, no order is priced by an older answer."""

_log = structlog.get_logger(__name__)

BUSY = "Venice could not be asked in time. Nothing was bought; send the request again shortly."


@dataclass(frozen=True, slots=True)
class Quoted:
    """A trustworthy price, Venice's own words of it, and when it was given (monotonic)."""

    price: Money
    body: bytes
    at: float
    before: Money | None = None
    """The price before this one, where they differ by more than `quotes.drift`."""
    is_cached: bool = False


class QuoteBook:
    """Fresh quotes by their canonical pricing inputs."""

    def __init__(
        self,
        upstream: Upstream,
        clock: Clock,
        metrics: Metrics,
        rules: Callable[[], QuoteRules],
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._metrics = metrics
        self._rules = rules
        self._known: OrderedDict[str, Quoted] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Quoted]] = {}
        self._places = asyncio.Semaphore(OPEN_QUESTIONS_MAX)

    async def quote(
        self, inputs: Mapping[str, Any], canonical: str, user: str, deadline: float
    ) -> Quoted:
        """The price for pricing inputs, whose `canonical` text names them."""
        key = digest(canonical)
        known = self._known.get(key)
        fresh = min(self._rules().fresh / 1000, AGE_SECONDS_MAX)
        is_fresh = known is not None and self._clock.monotonic() - known.at < fresh
        # What was free by another policy is asked for again.
        if known is not None and is_fresh and (known.price or self._may_be_free(inputs)):
            return replace(known, is_cached=True)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(inputs, key, user, deadline))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._answered(key, done))
        # Shielded: whoever leaves, the others who asked the same still want the answer.
        return await asyncio.shield(task)

    def _answered(self, key: str, task: asyncio.Task[Quoted]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            # Read, so that a refusal nobody waited for is not reported as lost.
            task.exception()

    async def _ask(self, inputs: Mapping[str, Any], key: str, user: str, deadline: float) -> Quoted:
        async with self._places:
            try:
                reply = await self._upstream.quote(inputs, user, deadline)
            except NoPlace as error:
                raise UpstreamBusy(BUSY) from error
            except ModelClosed as error:
                raise upstream_auth() from error
        if not reply.is_ok:
            raise refusal_of(reply)
        model = str(inputs.get("model"))
        try:
            price = read_quote(reply.document, may_be_free=self._may_be_free(inputs))
        except NotAnAmount as error:
            raise QuoteUnavailable(
                f"Venice gave no usable price for {model} ({error}), so nothing was ordered. "
                "Try again later, or tell an administrator."
            ) from error
        before = self._drifted_from(key, model, price)
        quoted = Quoted(price, reply.body, self._clock.monotonic(), before)
        self._known[key] = quoted
        self._known.move_to_end(key)
        while len(self._known) > QUOTES_KEPT:
            self._known.popitem(last=False)
        return quoted

    def _may_be_free(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the policy names the model as one that may cost nothing."""
        model = str(inputs.get("model"))
        return any(fnmatchcase(model, glob) for glob in self._rules().free_models)

    def _drifted_from(self, key: str, model: str, price: Money) -> Money | None:
        """The price of the same inputs before, where this one is another by more than allowed."""
        known = self._known.get(key)
        if known is None or not has_drifted(known.price, price, self._rules().drift):
            return None
        direction = "up" if price > known.price else "down"
        self._metrics.quote_drifts.labels(direction).inc()
        _log.warning("quote.drifted", model=model, before_usd=str(known.price), now_usd=str(price))
        return known.price


def refusal_of(reply: Reply) -> GatewayError:
    """What a failed free question to Venice is to the caller; nothing was bought by it."""
    match reply.outcome:
        case Outcome.REFUSED if reply.status in (401, 403):
            return upstream_auth()
        case Outcome.REFUSED if reply.status == 402:
            return organization_broke()
        case Outcome.REFUSED if reply.status is not None:
            return UpstreamRefused(reply.status, reply.body)
        case Outcome.RATE_LIMITED | Outcome.BLOCKED | Outcome.UNAVAILABLE | Outcome.NEVER_ARRIVED:
            return UpstreamBusy(BUSY, retry_after(reply))
        case _:
            return QuoteUnavailable(
                "Venice gave no usable price, so nothing was ordered. Try again later, or tell an "
                "administrator."
            )


def retry_after(reply: Reply) -> int:
    """Whole seconds after which trying again makes sense."""
    return max(1, round(reply.stated_wait or 5))


def upstream_auth() -> UpstreamAuth:
    """Venice does not take the organization's key, for this model or at all."""
    return UpstreamAuth(
        "Venice refused the organization's key for this request. This is not about your own key: "
        "an administrator must look at the organization's. Nothing was bought."
    )


def organization_broke() -> OrganizationBroke:
    """Venice says that the organization has no money left."""
    return OrganizationBroke(
        "The organization's balance at Venice is used up, so nothing was bought. This is not "
        "your own budget: an administrator must top up the account."
    )
