"""`/gateway/v1/admin/jobs`: everybody's jobs, and the decision about one in doubt."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import Office
from gateway.administer import jobs as verbs
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.forms import Form, PageSize, Why, read_form, read_query
from gateway.api.respond import json_response
from gateway.api.shapes import Shape, entry_shape, job_shape
from gateway.core.job import State
from gateway.records import Job


class Which(Form):
    """Which jobs, and from where on."""

    state: State | None = None
    user: str | None = None
    before: str | None = None
    limit: PageSize = 100


class Decision(Form):
    """What became of a job in doubt, and how that is known."""

    decision: Literal["settle", "release"]
    why: Why


async def jobs(request: Request) -> Response:
    """Jobs, newest first, a page at a time."""
    office, which = office_of(request), read_query(request, Which)
    if which.user is not None:
        office.user(which.user)
    found = await office.ledger.jobs(
        states=[which.state] if which.state else [],
        user=which.user,
        before=which.before,
        limit=which.limit,
    )
    following = found[-1].id if len(found) == which.limit else None
    return json_response({"jobs": [job_shape(job) for job in found], "next": following})


async def job(request: Request) -> Response:
    """One job, and every entry about its money."""
    office = office_of(request)
    return json_response(
        await _whole(office, await verbs.find_job(office, request.path_params["id"]))
    )


async def resolve(request: Request) -> Response:
    """Settle or release a job in doubt."""
    office, form = office_of(request), await read_form(request, Decision)
    decided = await verbs.resolve_job(
        office,
        actor_of(request),
        request.path_params["id"],
        billed=form.decision == "settle",
        why=form.why,
    )
    return json_response(await _whole(office, decided))


async def _whole(office: Office, job: Job) -> Shape:
    entries = await office.ledger.entries_of(job.id)
    return {
        **job_shape(job),
        "upstream_key": job.upstream_key,
        "looks": job.looks,
        "suspicious": job.is_suspicious,
        "video_sha256": job.video_sha256,
        "entries": [entry_shape(entry) for entry in entries],
    }
