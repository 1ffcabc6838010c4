"""`/gateway/v1/jobs/{id}/events`: a job's life as server-sent events (WHATWG HTML, 9.2).

Each event is made when its reader can take it, from what is in memory: a slow reader misses some
and holds nothing up. Venice is never asked from here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.authenticate import caller_of
from gateway.api.own_jobs import own_job
from gateway.api.services import Services, services_of
from gateway.api.shapes import job_shape
from gateway.core.job import ACTIVE_STATES, State
from gateway.records import Caller, Job

PROGRESS_SECONDS = 5.0
"""Between two words about progress: as often as clients poll."""
KEEP_ALIVE_SECONDS = 15.0
"""Between two comments where there is nothing to tell: half of what common proxies allow."""
STREAM_SECONDS_MAX = 3_600.0
"""Then the client comes again by itself, and misses nothing: a key may have been revoked."""
WRITE_SECONDS_MAX = 30.0
"""A reader that takes nothing for so long is let go."""
RECONNECT_MS = 2_000
"""How long a client waits before it comes again, after a cut or a restart."""
PROGRESS_MAX = 0.99
"""Only a video that is here is finished."""
LASTING = ACTIVE_STATES | {State.IN_DOUBT}
"""States that something will follow."""
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # nginx would collect events before it passes them on.
    (b"x-accel-buffering", b"no"),
]


async def events(request: Request) -> ASGIApp:
    """Follow one of the caller's jobs."""
    services, caller = services_of(request), caller_of(request)
    job = await own_job(services, caller, request.path_params["id"])
    last_id = request.headers.get("last-event-id")
    if job.state not in LASTING and last_id == _id_of(job):
        # It has seen the end: 204 tells an EventSource to come no more.
        return Response(status_code=204)
    services.streams.take(caller)
    return _Stream(services, caller, job, last_id)


class _Stream:
    """One answer that lasts as long as the job, or as its reader."""

    def __init__(self, services: Services, caller: Caller, job: Job, last_id: str | None) -> None:
        self._services = services
        self._caller = caller
        self._job_id = job.id
        self._told = last_id
        self._progress = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gone = asyncio.create_task(_disconnect(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            if scope["method"] != "HEAD":
                await self._write(send, f"retry: {RECONNECT_MS}\n\n")
                await self._tell(send)
            await self._write(send, "", more=False)
        except TimeoutError:
            # Nothing is lost: it may come again with the last id it saw.
            return
        finally:
            self._gone.cancel()
            self._services.streams.give_back(self._caller)

    async def _tell(self, send: Send) -> None:
        """Tell what is new until nothing more can be."""
        clock, book = self._services.clock, self._services.book
        end = clock.monotonic() + STREAM_SECONDS_MAX
        while not self._gone.done():
            job = book.known(self._job_id) or await book.find(self._job_id)
            assert job is not None, "jobs are never deleted"
            await self._write(send, self._news(job))
            if job.state not in LASTING:
                await self._write(send, _event("end", {"state": job.state}))
                return
            if self._services.spending.is_draining:
                await self._write(send, _event("draining", {"reconnect_ms": RECONNECT_MS}))
                return
            if clock.monotonic() >= end:
                return
            if book.known(job.id) is not job:
                # It moved on while this was written.
                continue
            is_made = job.state is State.PROCESSING
            change = asyncio.ensure_future(
                book.changed(job.id, PROGRESS_SECONDS if is_made else KEEP_ALIVE_SECONDS)
            )
            await asyncio.wait({change, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()

    def _news(self, job: Job) -> str:
        """What its reader does not know yet; a comment where there is nothing."""
        text = ""
        if self._told != _id_of(job):
            self._told = _id_of(job)
            text = _event("state", job_shape(job), self._told)
        if job.state is State.PROCESSING:
            text += _event("progress", self._progress_of(job))
        return text or ": still here\n\n"

    def _progress_of(self, job: Job) -> Mapping[str, Any]:
        """How far a job probably is; it never goes back."""
        now = self._services.clock.now()
        elapsed = max(0, now - (job.accepted_at or job.created_at)) / 1000
        total = self._services.experience.total_seconds(job, elapsed)
        share = min(PROGRESS_MAX, elapsed / total) if total > 0 else 0.0
        self._progress = max(self._progress, share)
        return {
            "progress": round(self._progress, 3),
            "elapsed_seconds": round(elapsed, 1),
            "remaining_seconds": round(max(0.0, total - elapsed), 1),
        }

    async def _write(self, send: Send, text: str, *, more: bool = True) -> None:
        body = {"type": "http.response.body", "body": text.encode(), "more_body": more}
        await asyncio.wait_for(send(body), WRITE_SECONDS_MAX)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _id_of(job: Job) -> str:
    """The same for as long as a job stays as it is, and after a restart too."""
    return f"{job.state}-{job.ended_at or job.ready_at or job.accepted_at or job.created_at}"


def _event(name: str, data: Mapping[str, Any], event_id: str | None = None) -> str:
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
