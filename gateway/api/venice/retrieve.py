"""`POST /video/retrieve`: what is known of a job, from memory, or its video from the store.

Venice is never asked from here: the tracker has its own schedule, however many poll.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp

from gateway.api.authenticate import polling_caller_of
from gateway.api.own_jobs import own_job
from gateway.api.reading import header, read_object, read_wait
from gateway.api.respond import JsonText, passed_on
from gateway.api.services import Services, services_of
from gateway.api.videos import call_back, is_servable, is_working, raise_for_state, send_video
from gateway.core.errors import InvalidRequest, Issue
from gateway.core.job import State
from gateway.records import Caller, Job

BODY_BYTES_MAX = 64 * 1024
"""Two ids and a flag: more is a mistake."""
WAIT_SECONDS_MAX = 25
AVERAGE_MS_UNKNOWN = 120_000
"""Said until Venice has said something: its text-to-video models are near it."""
JSON_CLIENTS = ("venice-cli/",)
"""User-Agents of clients that can only read JSON here."""


async def retrieve(request: Request) -> ASGIApp:
    """Answer a poll."""
    services = services_of(request)
    caller = polling_caller_of(request)
    services.allowances.take_poll(caller)
    body = await read_object(request, BODY_BYTES_MAX)
    job = await own_job(services, caller, body.get("queue_id"))
    wants_deletion = _wants_deletion(body)
    if is_working(job):
        services.rhythm.note(job.id)
    if job.state is State.EVICTED:
        job = await call_back(services, job)
    if is_working(job) and (seconds := read_wait(request, WAIT_SECONDS_MAX)):
        job = await _held(services, job, seconds)
    if wants_deletion and is_servable(services, job):
        await services.deliveries.want_deleted(job)
    answer = await _answer(services, request, caller, job)
    if answer is None:
        # Ours was damaged or went while it was opened: what the job is now says which.
        job = services.book.known(job.id) or job
        answer = await _answer(services, request, caller, job)
    return answer or _in_progress(services, job)


async def _held(services: Services, job: Job, seconds: float) -> Job:
    """The job once there is something else to say of it than that it is in the making, or after
    so many seconds, or when the gateway is about to stop."""
    end = services.clock.monotonic() + seconds
    while is_working(job) and (left := end - services.clock.monotonic()) > 0:
        await services.book.changed(job.id, left)
        job = services.book.known(job.id) or job
        if services.spending.is_draining:
            break
    return job


def _wants_deletion(body: dict[str, Any]) -> bool:
    wanted = body.get("delete_media_on_completion")
    if wanted is not None and not isinstance(wanted, bool):
        issue = Issue(("delete_media_on_completion",), "Expected boolean", "invalid_type")
        raise InvalidRequest([issue])
    return bool(wanted)


async def _answer(services: Services, request: Request, caller: Caller, job: Job) -> ASGIApp | None:
    """What a job in this state is answered with; None where its video is not what it was."""
    if is_working(job):
        return _in_progress(services, job)
    if job.is_final_failure:
        return passed_on(job.failure_status or 500, (job.failure_body or "").encode())
    if not is_servable(services, job):
        raise_for_state(job)
    if _delivers_json(request, caller):
        return JsonText(_completed(services, job))
    return await send_video(services, job)


def _delivers_json(request: Request, caller: Caller) -> bool:
    """Whether this client gets a link instead of bytes."""
    wanted = header(request, b"x-gateway-delivery")
    if wanted is None:
        wanted = caller.key.delivery
    if wanted == "auto":
        return (header(request, b"user-agent") or "").startswith(JSON_CLIENTS)
    return wanted == "json"


def _times(services: Services, job: Job) -> str:
    average = job.average_ms or AVERAGE_MS_UNKNOWN
    until = job.stored_at or services.clock.now()
    duration = max(0, until - (job.accepted_at or job.created_at))
    return f'"average_execution_time":{average},"execution_duration":{duration}'


def _in_progress(services: Services, job: Job) -> JsonText:
    text = f'{{"status":"PROCESSING",{_times(services, job)}}}'
    return JsonText(text)


def _completed(services: Services, job: Job) -> str:
    link = services.links.of(job)
    links = f'"video_url":"{link}","url":"{link}","download_url":"{link}"'
    return f'{{"status":"COMPLETED",{_times(services, job)},{links}}}'
