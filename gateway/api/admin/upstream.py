"""`/gateway/v1/admin/upstream`: how the way to Venice stands; Venice is not asked for it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.admin.guard import office_of
from gateway.api.details import UpstreamAnswer
from gateway.api.respond import json_response
from gateway.api.shapes import time_of
from gateway.core.errors import Conflict
from gateway.way_to_venice import WayStanding


async def upstream(request: Request) -> Response:
    """The key's limits and what is left, failures, breakers, closed models, balance."""
    way = office_of(request).way
    if way is None:
        raise Conflict("Only a gateway that runs knows how the way to Venice stands. Start it.")
    return json_response(_shape(way.standing()))


def _shape(way: WayStanding) -> UpstreamAnswer:
    balance = way.balance
    return {
        "upstream": way.upstream,
        "key": way.key,
        "blocked": way.is_blocked,
        "calls": {
            str(call_class): {
                "per_minute": standing.per_minute,
                "said_by": standing.said_by,
                "allowed_per_minute": standing.allowed_per_minute,
                "left": standing.left,
                "waiting": standing.waiting,
            }
            for call_class, standing in way.calls.items()
        },
        "failures": {"allowed_per_30s": way.failures_max, "left": way.failures_left},
        "breakers_open": [str(endpoint) for endpoint in way.breakers_open],
        "closed_models": way.closed_models,
        "balance_usd": None if balance is None else str(balance.dollars),
        "balance_at": time_of(None if balance is None else balance.asked_at),
        "balance_low": way.balance_low,
    }
