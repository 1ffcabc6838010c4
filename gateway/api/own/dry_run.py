"""`POST /gateway/v1/dry-run`: what would become of a queue body. Nothing is bought or held."""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.authenticate import caller_of
from gateway.api.own.me import SHARED
from gateway.api.own_answers import (
    CheaperAnswer,
    DryRunAnswer,
    SharedTriedAnswer,
    TriedAnswer,
)
from gateway.api.reading import read_object
from gateway.api.respond import json_response
from gateway.api.services import Services, services_of
from gateway.api.shapes import time_of
from gateway.core.budget import Standing, overruns
from gateway.core.errors import GatewayError, PolicyRefused
from gateway.core.money import Money
from gateway.estimate import Cheaper, Estimate
from gateway.records import Caller
from gateway.submit import ANSWER_SECONDS

UNPRICED: DryRunAnswer = {"would_pass": False, "quote_usd": None, "budgets": [], "cheaper": None}
"""Of a model that is not allowed no form is, and of no price nothing can be said."""


async def dry_run(request: Request) -> Response:
    """Answer with the price, how every window would stand, and a cheaper form that passes.

    So too where policy refuses this form: what it costs, and which one would be allowed.
    """
    services = services_of(request)
    caller = caller_of(request)
    body, model = services.estimator.check(await read_object(request))
    deadline = services.clock.monotonic() + ANSWER_SECONDS
    try:
        estimate = await services.estimator.estimate(caller, body, model, deadline)
    except PolicyRefused as refused:
        told = UNPRICED
        if refused.rule != "models":
            with suppress(GatewayError):
                estimate = await services.estimator.price(caller, body, model, deadline)
                told = await _tried(services, caller, estimate, deadline)
        return json_response(_refused(told, refused))
    told = await _tried(services, caller, estimate, deadline)
    try:
        services.spending.admit()
    except GatewayError as closed:
        told = {**told, "would_pass": False, "message": closed.message}
    return json_response(told)


def _refused(told: DryRunAnswer, refused: PolicyRefused) -> DryRunAnswer:
    return {
        **told,
        "would_pass": False,
        "rule": refused.rule,
        "allowed": refused.allowed,
        "message": refused.message,
    }


async def _tried(
    services: Services, caller: Caller, estimate: Estimate, deadline: float
) -> DryRunAnswer:
    calendar = estimate.rules.rulebook.organization.calendar
    standings = await services.ledger.standings(estimate.limits, calendar, services.clock.now())
    price = estimate.quoted.price
    enforced = [standing for standing in standings if not standing.limit.only_observed]
    cheaper = await services.estimator.cheaper(caller, estimate, deadline)
    return {
        "would_pass": not overruns(enforced, price) and services.balance.covers(price),
        "quote_usd": str(price),
        "budgets": [_window(standing, price) for standing in standings],
        "cheaper": _cheaper(cheaper) if cheaper else None,
    }


def _cheaper(found: Cheaper) -> CheaperAnswer:
    return {"changes": dict(found.changes), "quote_usd": str(found.estimate.quoted.price)}


def _window(standing: Standing, price: Money) -> TriedAnswer | SharedTriedAnswer:
    """A window before and after; of pools shared with others, only whether the job fits."""
    limit = standing.limit
    shape: SharedTriedAnswer = {
        "scope": limit.scope,
        "name": limit.name,
        "window": limit.window,
        "models": limit.models,
        "fits": limit.only_observed or not overruns([standing], price),
    }
    if limit.scope in SHARED:
        return shape
    return {
        **shape,
        "limit_usd": str(standing.ceiling),
        "used_before_usd": str(standing.used),
        "used_after_usd": str(standing.used + price),
        "left_before_usd": str(standing.left),
        "left_after_usd": str(standing.left - price),
        "resets_at": time_of(standing.resets_at),
    }
