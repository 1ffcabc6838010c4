"""`/gateway/v1/jobs`: the caller's own jobs, and links to their videos that end when told to."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.answers import JobAnswer
from gateway.api.authenticate import caller_of
from gateway.api.forms import Form, PageSize, read_form, read_query
from gateway.api.listing import Listing, answer_list
from gateway.api.own_jobs import own_job
from gateway.api.respond import json_response
from gateway.api.services import LINK_MS, services_of
from gateway.api.shapes import job_shape, receipt_shape, time_of
from gateway.core.job import State
from gateway.core.notation import Duration

COLUMNS = tuple(JobAnswer.__annotations__)


class JobsPage(Listing):
    """Which jobs, and from where on."""

    state: State | None = None
    before: str | None = None
    limit: PageSize = 100


def _in_seconds(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return f"{value}s" if is_number else value


class NewLink(Form):
    """How long the link works: a bare number is seconds, as in OAuth (RFC 6749 5.1)."""

    expires_in: Annotated[
        Duration,
        Field(ge=1_000, le=LINK_MS),
        BeforeValidator(_in_seconds),
        WithJsonSchema(
            {"type": ["string", "integer"], "description": "Like 90s, 1h or 7d, or seconds."}
        ),
    ] = 3_600_000


async def jobs(request: Request) -> Response:
    """The caller's jobs, newest first, a page at a time."""
    services = services_of(request)
    caller = caller_of(request)
    page = read_query(request, JobsPage)
    # A stranger's job as a cursor must look like one that does not exist.
    last = None if page.before is None else await own_job(services, caller, page.before)
    found = await services.ledger.jobs(
        states=[page.state] if page.state else [],
        user=caller.user.name,
        before=None if last is None else last.id,
        limit=page.limit,
    )
    following = found[-1].id if len(found) == page.limit else None
    rows = [job_shape(job) for job in found]
    return answer_list(request, page, "jobs", rows, columns=COLUMNS, following=following)


async def job(request: Request) -> Response:
    """One of the caller's jobs with every entry about its money, by its queue_id or its own id."""
    services = services_of(request)
    found = await own_job(services, caller_of(request), request.path_params["id"])
    return json_response(receipt_shape(found, await services.ledger.entries_of(found.id)))


async def links(request: Request) -> Response:
    """Make a link to the video that needs no key and ends at a moment."""
    services = services_of(request)
    found = await own_job(services, caller_of(request), request.path_params["id"])
    until = services.clock.now() + (await read_form(request, NewLink)).expires_in
    return json_response(
        {"url": services.links.until(found, until), "expires_at": time_of(until)}, 201
    )
