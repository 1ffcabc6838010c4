"""`/gateway/v1/admin/grants`: limits raised for a time."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import grants as verbs
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.answers import GrantAnswer
from gateway.api.forms import Form, Truth, Why, read_form, read_query
from gateway.api.listing import Paged, answer_list, page_of
from gateway.api.respond import json_response
from gateway.api.shapes import grant_shape
from gateway.core.notation import Amount

COLUMNS = tuple(GrantAnswer.__annotations__)


class NewGrant(Form):
    """A grant to be."""

    to: str
    usd: Amount
    window: Literal["day", "week", "month", "total", "all"]
    until: str
    """Exclusive: a length of time like `7d`, or a date."""
    why: Why


class Which(Paged):
    """Which grants."""

    to: str | None = None
    active: Truth | None = None
    """Whether it still raises its limit."""


async def grants(request: Request) -> Response:
    """All grants, newest first, or a new one."""
    office = office_of(request)
    if request.method != "POST":
        which, now = read_query(request, Which), office.clock.now()
        found = [
            grant
            for grant in await office.ledger.grants()
            if which.active in (None, grant.revoked_at is None and grant.until > now)
        ]
        rows = [row for row in map(grant_shape, found) if which.to in (None, row["to"])]
        page, following = page_of(rows, lambda row: row["id"], which)
        return answer_list(
            request, which, "grants", page, columns=COLUMNS, following=following, cursor="after"
        )
    form = await read_form(request, NewGrant)
    grant = await verbs.add_grant(
        office,
        actor_of(request),
        to=form.to,
        amount=form.usd,
        window=form.window,
        until=form.until,
        why=form.why,
    )
    return json_response(grant_shape(grant), 201)


async def revoke(request: Request) -> Response:
    """End a grant now."""
    grant_id = request.path_params["id"]
    grant = await verbs.revoke_grant(office_of(request), actor_of(request), grant_id)
    return json_response(grant_shape(grant))
