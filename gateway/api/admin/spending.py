"""`/gateway/v1/admin/spending`: whether anything may be bought, and the switch."""

from __future__ import annotations

from pydantic import StrictBool
from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import spending as verbs
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.forms import Form, Why, read_form
from gateway.api.respond import json_response


class Switch(Form):
    """The switch as it is to be."""

    stopped: StrictBool
    why: Why


async def spending(request: Request) -> Response:
    """Whether spending is stopped, and why; POST stops or resumes it."""
    office = office_of(request)
    if request.method == "POST":
        form = await read_form(request, Switch)
        act = verbs.stop if form.stopped else verbs.resume
        await act(office, actor_of(request), form.why)
    why = office.spending.stopped
    return json_response({"stopped": why is not None, "why": why})
