"""`/gateway/v1/usage` and `/refusals`: what the caller spent, and what they were refused."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.authenticate import caller_of
from gateway.api.forms import Form, Moment, Number, PageSize, Until, read_query
from gateway.api.own_answers import UsageAnswer
from gateway.api.respond import json_response
from gateway.api.services import services_of
from gateway.api.shapes import refusal_shape, spent, time_of


class Period(Form):
    """`since` is in, `until` is out."""

    since: Moment | None = None
    until: Until | None = None


class RefusalsPage(Form):
    """Which refusals."""

    before: Number | None = None
    limit: PageSize = 100


async def usage(request: Request) -> Response:
    """The caller's own spending by day, as the organization counts days, and by model."""
    services = services_of(request)
    name = caller_of(request).user.name
    period = read_query(request, Period)
    spend = services.ledger.spend
    timezone = services.rulebook.organization.calendar.timezone
    days = await spend("day", period.since, period.until, name, timezone=timezone)
    models = await spend("model", period.since, period.until, name)
    answer: UsageAnswer = {
        "since": time_of(period.since),
        "until": time_of(period.until),
        "days": [{"day": row.name or None, **spent(row)} for row in days],
        "models": [{"model": row.name or None, **spent(row)} for row in models],
    }
    return json_response(answer)


async def refusals(request: Request) -> Response:
    """The caller's refused orders, newest first, a page at a time."""
    services = services_of(request)
    name = caller_of(request).user.name
    page = read_query(request, RefusalsPage)
    found = await services.ledger.refusals(name, page.before, page.limit)
    following = found[-1].number if len(found) == page.limit else None
    return json_response({"refusals": [refusal_shape(each) for each in found], "next": following})
