"""`POST /video/complete`: the caller is done with a job of its own."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.authenticate import caller_of
from gateway.api.own_jobs import own_job
from gateway.api.reading import read_object
from gateway.api.services import services_of
from gateway.api.venice.retrieve import BODY_BYTES_MAX


async def complete(request: Request) -> Response:
    """Complete a job, as often as the caller likes."""
    services = services_of(request)
    caller = caller_of(request)
    body = await read_object(request, BODY_BYTES_MAX)
    job = await own_job(services, caller, body.get("queue_id"))
    purge = services.rulebook.videos.on_complete == "purge"
    await services.removal.complete(job, purge=purge)
    return Response('{"success":true}', media_type="application/json")
