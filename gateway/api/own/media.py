"""`/gateway/v1/media/{token}`: a signed link to one video, for clients that send no key with it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gateway.api.services import Services, services_of
from gateway.api.videos import call_back, is_servable, send_video
from gateway.core.errors import MediaNotFound, MethodNotAllowed
from gateway.logs import note_job
from gateway.records import Job


async def _job_of(services: Services, request: Request) -> Job:
    """The job of a link; `MediaNotFound` alike for forged, ended and unknown ones."""
    job_id = services.links.job_id(request.path_params["token"])
    job = await services.book.find(job_id) if job_id is not None else None
    if job is None:
        raise MediaNotFound
    note_job(job)
    return job


async def media(request: Request) -> ASGIApp:
    """Answer with the video; 404 until it is here. `DELETE` completes the job.

    But not by a link that was made to be shared: whoever was let see a video must not remove it.
    """
    services = services_of(request)
    job = await _job_of(services, request)
    if request.method == "DELETE":
        if not services.links.is_the_one(request.path_params["token"], job):
            raise MethodNotAllowed(["GET", "HEAD"])
        purge = services.rulebook.videos.on_complete == "purge"
        await services.removal.complete(job, purge=purge)
        return Response(status_code=204)
    job = await call_back(services, job)
    if not is_servable(services, job):
        raise MediaNotFound
    response = await send_video(services, job)
    if response is None:
        raise MediaNotFound
    return response
