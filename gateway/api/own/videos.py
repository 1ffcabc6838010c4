"""`/gateway/v1/videos/{id}`: the caller's own video, with ranges, for players and downloads."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp

from gateway.api.authenticate import caller_of
from gateway.api.own_jobs import own_job
from gateway.api.services import services_of
from gateway.api.videos import call_back, is_servable, raise_for_state, send_video


async def video(request: Request) -> ASGIApp:
    """Answer with the video; 404 until it is here."""
    services = services_of(request)
    caller = caller_of(request)
    job = await own_job(services, caller, request.path_params["id"])
    job = await call_back(services, job)
    if not is_servable(services, job):
        raise_for_state(job)
    response = await send_video(services, job, as_file="download" in request.query_params)
    if response is None:
        raise_for_state(services.book.known(job.id) or job)
    return response
