"""`GET /api_keys/rate_limits`: the caller's own limits in Venice's shape."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.authenticate import caller_of
from gateway.api.respond import json_response
from gateway.api.services import services_of
from gateway.api.venice.balance import money_left
from gateway.core.budget import Calendar, window_at
from gateway.core.money import ZERO
from gateway.moments import rfc3339


async def rate_limits(request: Request) -> Response:
    """Answer with the caller's limits and money."""
    services = services_of(request)
    caller = caller_of(request)
    rate = services.allowances.policy_of(caller).rate
    left = await money_left(services, caller)
    today = window_at("day", services.clock.now(), Calendar())
    doors = {
        "video/queue": rate.queue_per_minute,
        "video/retrieve": rate.polls_per_minute,
        "*": rate.requests_per_minute,
    }
    expires = caller.key.expires_at
    data: dict[str, Any] = {
        "accessPermitted": left is None or left > ZERO,
        "apiTier": {"id": "venice-gateway", "isCharged": True},
        "balances": {} if left is None else {"USD": Decimal(str(left))},
        "keyExpiration": None if expires is None else rfc3339(expires),
        "nextEpochBegins": rfc3339(today.end),
        "rateLimits": [
            {"apiModelId": door, "rateLimits": [{"amount": amount, "type": "RPM"}]}
            for door, amount in doors.items()
        ],
    }
    return json_response({"data": data})
