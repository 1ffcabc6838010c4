"""`/gateway/v1/me/webhook`: where the caller is told of their own jobs, if their policy allows it.

The answer that sets it is the only place where its signing secret appears.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.authenticate import caller_of
from gateway.api.forms import Form, read_form
from gateway.api.respond import json_response
from gateway.api.services import services_of
from gateway.api.shapes import Shape
from gateway.core.errors import InvalidRequest, Issue, NotFound, PolicyRefused
from gateway.core.notices import OWN_EVENTS, Webhook
from gateway.moments import rfc3339
from gateway.receivers import HostNotAllowed, Receivers
from gateway.records import User


class NewWebhook(Form):
    """Where to be told."""

    url: str


async def webhook(request: Request) -> Response:
    """The caller's webhook; PUT sets it and shows its secret this once, DELETE ends it."""
    receivers, user = services_of(request).receivers, caller_of(request).user
    if request.method == "PUT":
        form = await read_form(request, NewWebhook)
        made, secret = await _set(receivers, user, form.url)
        return json_response({**_shape(made), "secret": secret})
    if request.method == "DELETE":
        if not await receivers.remove_webhook(user):
            raise NotFound("There is no webhook of yours.")
        return Response(status_code=204)
    found = receivers.webhook(user)
    if found is None:
        raise NotFound('There is no webhook of yours. PUT {"url": "https://…"} here sets one.')
    return json_response(_shape(found))


async def _set(receivers: Receivers, user: User, url: str) -> tuple[Webhook, str]:
    try:
        return await receivers.set_webhook(user, url)
    except HostNotAllowed as error:
        raise _refused(error) from error
    except ValueError as error:
        raise InvalidRequest([Issue(("url",), str(error))]) from error


def _refused(error: HostNotAllowed) -> PolicyRefused:
    allowed = list(error.hosts)
    where = f"https:// and one of {', '.join(allowed)}" if allowed else "no host"
    return PolicyRefused(
        "webhook_hosts", allowed, f"Your policy allows {where} for a webhook. Ask an administrator."
    )


def _shape(webhook: Webhook) -> Shape:
    return {
        "url": webhook.url,
        "events": sorted(OWN_EVENTS),
        "created_at": rfc3339(webhook.created_at),
    }
