"""`/gateway/v1/me`: who the caller is here, what applies to them, and how every window stands."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.authenticate import caller_of
from gateway.api.own_answers import (
    ExpiringAnswer,
    MeAnswer,
    OwnKeyAnswer,
    OwnWindowAnswer,
    SharedWindowAnswer,
)
from gateway.api.respond import json_response
from gateway.api.services import Services, services_of
from gateway.api.shapes import job_shape, standing_shape, time_of
from gateway.core.budget import Scope, Standing, least_left
from gateway.core.job import State
from gateway.core.money import ZERO
from gateway.core.retention import KeepRules, expiring_before
from gateway.records import Caller, Job, Key

DOUBTED_SHOWN_MAX = 100
EXPIRING_SHOWN_MAX = 100
SHARED = (Scope.TEAM, Scope.ORGANIZATION)


async def me(request: Request) -> Response:
    """Answer with the caller's own standing."""
    services = services_of(request)
    caller = caller_of(request)
    user = caller.user
    rulebook = services.rulebook
    policy = rulebook.policy_name_for(user.policy, user.team)
    doubted = await services.ledger.jobs(
        states=[State.IN_DOUBT], user=user.name, limit=DOUBTED_SHOWN_MAX
    )
    rules = rulebook.videos.keep_rules
    expiring = await services.video_records.expiring(
        expiring_before(rules, services.clock.now()), user=user.name, limit=EXPIRING_SHOWN_MAX
    )
    answer: MeAnswer = {
        "user": user.name,
        "team": user.team,
        "policy": policy,
        "key": _key(caller.key),
        "rules": rulebook.policies[policy].model_dump(mode="json"),
        "active_jobs": services.book.active(user.name),
        "budgets": budgets(await _standings(services, caller)),
        "in_doubt": [job_shape(job) for job in doubted],
        "expiring": [_expiring(job, rules) for job in expiring],
    }
    return json_response(answer)


async def _standings(services: Services, caller: Caller) -> list[Standing]:
    """Every window that a job of the caller may touch, of whichever model."""
    rulebook = services.rulebook
    limits = rulebook.limits_for(
        key_id=caller.key.counts_as,
        key_name=caller.key.label,
        key_budget=caller.key.budget,
        user=caller.user.name,
        team=caller.user.team,
        policy=services.allowances.policy_of(caller),
        model=None,
    )
    calendar = rulebook.organization.calendar
    return await services.ledger.standings(limits, calendar, services.clock.now())


def budgets(standings: list[Standing]) -> list[OwnWindowAnswer | SharedWindowAnswer]:
    """The windows, each with whether it is the one that has least left.

    Of pools shared with others no amount is told: what others spend is theirs to know.
    """
    least = least_left([s for s in standings if not s.limit.only_observed], ZERO)
    shapes: list[OwnWindowAnswer | SharedWindowAnswer] = []
    for standing in standings:
        limit = standing.limit
        is_limiting = standing.left == least and not limit.only_observed
        shown: SharedWindowAnswer = {
            "scope": limit.scope,
            "name": limit.name,
            "window": limit.window,
            "is_limiting": is_limiting,
        }
        own: OwnWindowAnswer = {**standing_shape(standing), "is_limiting": is_limiting}
        shapes.append(shown if limit.scope in SHARED else own)
    return shapes


def _expiring(job: Job, rules: KeepRules) -> ExpiringAnswer:
    """A video that its user has not fetched, and that goes soon."""
    assert job.stored_at is not None, "a stored job knows since when"
    ends = time_of(job.stored_at + rules.keep_undelivered)
    return {"job": job.id, "queue_id": job.queue_id, "expires_at": ends}


def _key(key: Key) -> OwnKeyAnswer:
    return {
        "id": key.id,
        "name": key.name,
        "models": list(key.models),
        "tags": list(key.tags),
        "delivery": key.delivery,
        "expires_at": time_of(key.expires_at),
    }
