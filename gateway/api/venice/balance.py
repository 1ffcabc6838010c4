"""`GET /billing/balance`: the caller's own money in Venice's shape, never the organization's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.authenticate import caller_of
from gateway.api.respond import json_response
from gateway.api.services import Services, services_of
from gateway.core.budget import least_left
from gateway.core.money import ZERO, Money
from gateway.records import Caller


async def money_left(services: Services, caller: Caller) -> Money | None:
    """The least that any of the caller's own windows has left; None where nothing limits it.

    Pools shared with others count: they bound what the caller can spend.
    """
    rulebook = services.rulebook
    limits = rulebook.limits_for(
        key_id=caller.key.counts_as,
        key_name=caller.key.label,
        key_budget=caller.key.budget,
        user=caller.user.name,
        team=caller.user.team,
        policy=services.allowances.policy_of(caller),
        model="",
    )
    enforced = [limit for limit in limits if not limit.only_observed]
    calendar = rulebook.organization.calendar
    standings = await services.ledger.standings(enforced, calendar, services.clock.now())
    left = least_left(standings, ZERO)
    return None if left is None else max(left, ZERO)


async def balance(request: Request) -> Response:
    """Answer with what the caller may still spend."""
    services = services_of(request)
    left = await money_left(services, caller_of(request))
    body: dict[str, Any] = {
        "canConsume": left is None or left > ZERO,
        "consumptionCurrency": "USD",
        "balances": {"diem": None, "usd": None if left is None else Decimal(str(left))},
        "diemEpochAllocation": 0,
    }
    return json_response(body)
