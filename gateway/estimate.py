"""What an order would cost and whether policy allows it, asked of nobody's money.

Orders, trial runs and the search for a cheaper form all begin here; nothing is held or kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.core.budget import Limit, overruns
from gateway.core.catalogue import Catalogue, ModelFacts
from gateway.core.errors import GatewayError, PolicyRefused
from gateway.core.job_check import check_job, check_price
from gateway.core.policy import Policy
from gateway.core.pricing import JobFacts, job_facts, reference_urls
from gateway.core.validation import check_queue_body
from gateway.core.variants import cheapest_changes
from gateway.policies import LoadedRules
from gateway.ports import Clock, Ledger
from gateway.quotes import QuoteBook, Quoted
from gateway.records import Caller

CHEAPER_SECONDS = 5.0
"""How long a refusal waits for the price of a cheaper form: a courtesy, not the answer."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Estimate:
    """An order that policy allows and Venice has quoted, with the budgets it would touch."""

    body: Mapping[str, Any]
    """Only the fields that Venice knows."""
    model: ModelFacts
    facts: JobFacts
    policy_name: str
    policy: Policy
    quoted: Quoted
    limits: Sequence[Limit]
    rules: LoadedRules


@dataclass(frozen=True, slots=True)
class Cheaper:
    """A form of an order that would fit: what to change, and what it costs then."""

    changes: Mapping[str, Any]
    estimate: Estimate

    def as_fields(self) -> dict[str, Any]:
        """As answers carry it."""
        price = self.estimate.quoted.price
        return {"changes": dict(self.changes), "quote_usd": str(price)}


class Estimator:
    """Checks, prices and compares orders."""

    def __init__(
        self,
        *,
        quotes: QuoteBook,
        ledger: Ledger,
        clock: Clock,
        rules: Callable[[], LoadedRules],
        catalogue: Callable[[], Catalogue],
    ) -> None:
        self._quotes = quotes
        self._ledger = ledger
        self._clock = clock
        self._rules = rules
        self._catalogue = catalogue

    def check(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], ModelFacts]:
        """The fields of a queue body to send, and its model; `InvalidRequest` for a bad one."""
        return check_queue_body(body, self._catalogue())

    async def estimate(
        self, caller: Caller, body: Mapping[str, Any], model: ModelFacts, deadline: float
    ) -> Estimate:
        """The estimate of a checked body; `PolicyRefused`, or what a failed quote is told as."""
        return await self._estimate(caller, body, model, deadline, is_obeyed=True)

    async def price(
        self, caller: Caller, body: Mapping[str, Any], model: ModelFacts, deadline: float
    ) -> Estimate:
        """The estimate of a body that policy may refuse; what a failed quote is told as."""
        return await self._estimate(caller, body, model, deadline, is_obeyed=False)

    async def _estimate(
        self,
        caller: Caller,
        body: Mapping[str, Any],
        model: ModelFacts,
        deadline: float,
        *,
        is_obeyed: bool,
    ) -> Estimate:
        rules = self._rules()
        name = rules.rulebook.policy_name_for(caller.user.policy, caller.user.team)
        policy = rules.rulebook.policies[name]
        facts = await _facts(body, model, policy.reference_seconds(model.id))
        if is_obeyed:
            _obey(_form_refused(policy, caller, facts), policy, caller, model.id)
        hold_until = min(deadline, self._clock.monotonic() + rules.rulebook.venice.hold / 1000)
        quoted = await self._quotes.quote(
            facts.quote_body, facts.quote_key, caller.user.name, hold_until
        )
        if is_obeyed:
            _obey(check_price(policy, model.id, quoted.price), policy, caller, model.id)
        limits = rules.rulebook.limits_for(
            key_id=caller.key.counts_as,
            key_name=caller.key.label,
            key_budget=caller.key.budget,
            user=caller.user.name,
            team=caller.user.team,
            policy=policy,
            model=model.id,
        )
        return Estimate(body, model, facts, name, policy, quoted, limits, rules)

    async def cheaper(self, caller: Caller, refused: Estimate, deadline: float) -> Cheaper | None:
        """The cheapest form of an order that fits every budget now, if there is one."""
        changes = cheapest_changes(refused.body, refused.model, refused.policy.job)
        if not changes:
            return None
        soon = min(deadline, self._clock.monotonic() + CHEAPER_SECONDS)
        body = {**refused.body, **changes}
        try:
            estimate = await self.estimate(caller, body, refused.model, soon)
        except GatewayError:
            return None
        if estimate.quoted.price >= refused.quoted.price or not await self.fits(estimate):
            return None
        return Cheaper(changes, estimate)

    async def fits(self, estimate: Estimate) -> bool:
        """Whether every enforced budget has room for it at this moment."""
        enforced = [limit for limit in estimate.limits if not limit.only_observed]
        calendar = estimate.rules.rulebook.organization.calendar
        standings = await self._ledger.standings(enforced, calendar, self._clock.now())
        return not overruns(standings, estimate.quoted.price)


async def _facts(body: Mapping[str, Any], model: ModelFacts, worst: int) -> JobFacts:
    """The facts of an order; references inside it are measured beside the event loop."""
    if not any(url.startswith("data:") for url in reference_urls(body)):
        return job_facts(body, model, reference_seconds_worst=worst)
    return await asyncio.to_thread(job_facts, body, model, reference_seconds_worst=worst)


def _form_refused(policy: Policy, caller: Caller, facts: JobFacts) -> PolicyRefused | None:
    """What the policy says against an order before its price is known."""
    return check_job(
        policy,
        model=facts.model,
        key_models=caller.key.models,
        seconds=facts.seconds,
        resolution=facts.resolution,
        has_audio=facts.has_audio,
    )


def _obey(refused: PolicyRefused | None, policy: Policy, caller: Caller, model: str) -> None:
    """Raise a refusal, unless the policy only observes the rule."""
    if refused is None:
        return
    section = "models" if refused.rule == "models" else "job"
    if section not in policy.observe:
        raise refused
    _log.warning("policy.observed", rule=refused.rule, user=caller.user.name, model=model)
