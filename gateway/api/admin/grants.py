"""`/gateway/v1/admin/grants`: limits raised for a time."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import grants as verbs
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.forms import Form, Why, read_form
from gateway.api.respond import json_response
from gateway.api.shapes import grant_shape
from gateway.core.notation import Amount


class NewGrant(Form):
    """A grant to be."""

    to: str
    usd: Amount
    window: Literal["day", "week", "month", "total", "all"]
    until: str
    """Exclusive: a length of time like `7d`, or a date."""
    why: Why


async def grants(request: Request) -> Response:
    """All grants, newest first, or a new one."""
    office = office_of(request)
    if request.method != "POST":
        return json_response({"grants": [grant_shape(g) for g in await office.ledger.grants()]})
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
