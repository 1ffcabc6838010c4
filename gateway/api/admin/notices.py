"""`/gateway/v1/admin/notices`: what was told to whom, each try, and telling it again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import notices as verbs
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.answers import DeliveryAnswer
from gateway.api.forms import Form, Number, PageSize, read_form, read_query
from gateway.api.listing import Listing, answer_list
from gateway.api.respond import json_response
from gateway.api.shapes import Shape, time_of
from gateway.core.notices import Attempt, Delivery, Telling
from gateway.moments import rfc3339

COLUMNS = tuple(DeliveryAnswer.__annotations__)


class Which(Listing):
    """Which deliveries, and from where on."""

    event: str | None = None
    receiver: str | None = None
    state: Telling | None = None
    before: Number | None = None
    limit: PageSize = 100


class To(Form):
    """To whom; to all where nobody is named."""

    receiver: str | None = None


async def notices(request: Request) -> Response:
    """Deliveries, newest first, a page at a time."""
    which = read_query(request, Which)
    found = await office_of(request).outbox.deliveries(
        event=which.event,
        receiver=which.receiver,
        state=which.state,
        before=which.before,
        limit=which.limit,
    )
    following = found[-1].number if len(found) == which.limit else None
    rows = [_shape(each) for each in found]
    return answer_list(request, which, "notices", rows, columns=COLUMNS, following=following)


async def notice(request: Request) -> Response:
    """One notice: what it says, and every try to tell it."""
    return json_response(
        _whole(await verbs.find_notice(office_of(request), request.path_params["id"]))
    )


async def redeliver(request: Request) -> Response:
    """Tell a notice again."""
    form = await read_form(request, To)
    notice_id = request.path_params["id"]
    told = await verbs.redeliver(office_of(request), actor_of(request), notice_id, form.receiver)
    return json_response(_whole(told))


async def send_test(request: Request) -> Response:
    """Send a notice of no consequence."""
    form = await read_form(request, To)
    told = await verbs.send_test(office_of(request), actor_of(request), form.receiver)
    return json_response(_whole(told), 201)


def _shape(delivery: Delivery) -> DeliveryAnswer:
    notice = delivery.notice
    return {
        "number": delivery.number,
        "notice": notice.id,
        "event": notice.event,
        "subject": notice.subject,
        "team": notice.team,
        "user": notice.user,
        "at": rfc3339(notice.at),
        "receiver": delivery.receiver,
        "state": delivery.state,
        "tries": delivery.attempts,
        "next_at": time_of(delivery.next_at),
        "ended_at": time_of(delivery.ended_at),
        "last_status": delivery.last_status,
        "last_why": delivery.last_why,
    }


def _whole(told: verbs.Told) -> Shape:
    notice = told.notice
    return {
        "notice": notice.id,
        "event": notice.event,
        "subject": notice.subject,
        "team": notice.team,
        "user": notice.user,
        "at": rfc3339(notice.at),
        "facts": dict(notice.facts),
        "deliveries": [
            {**_shape(delivery), "attempts": [_attempt(each) for each in attempts]}
            for delivery, attempts in told.deliveries
        ],
    }


def _attempt(attempt: Attempt) -> Shape:
    return {
        "at": rfc3339(attempt.at),
        "took_ms": attempt.took_ms,
        "status": attempt.status,
        "why": attempt.why,
    }
