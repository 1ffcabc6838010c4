"""`/gateway/v1/admin/jobs`: everybody's jobs, the decision about one in doubt, and jobs that were
bought elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt
from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import Office
from gateway.administer import jobs as verbs
from gateway.administer.adoption import Bought, adopt
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.admin.ordered import Ordered, jobs_of
from gateway.api.answers import JobAnswer
from gateway.api.forms import Form, Moment, Tags, Why, read_form, read_query
from gateway.api.listing import answer_list
from gateway.api.respond import json_response
from gateway.api.shapes import Shape, entry_shape, job_shape
from gateway.core.job import State
from gateway.core.notation import Amount
from gateway.core.validation import MODEL_CHARACTERS_MAX
from gateway.records import Job

COLUMNS = tuple(JobAnswer.__annotations__)
LINK_CHARACTERS_MAX = 4_096
"""A signed address is some hundreds of characters long."""


class Which(Ordered):
    """Which jobs."""

    state: State | None = None


class Decision(Form):
    """What became of a job in doubt, and how that is known."""

    decision: Literal["settle", "release"]
    why: Why


class Reason(Form):
    """Why something is done."""

    why: Why


def _link(value: str) -> str:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("it is no address")
    return value


class Elsewhere(Form):
    """A job that was bought elsewhere; with pricing inputs and no price, Venice is asked for it."""

    queue_id: str
    model: Annotated[str, Field(min_length=1, max_length=MODEL_CHARACTERS_MAX)]
    user: str
    key: str | None = None
    price_usd: Amount | None = None
    duration: str | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    audio: StrictBool | None = None
    upscale_factor: StrictInt | None = None
    tags: Tags = ()
    created_at: Moment | None = None
    download_url: Annotated[
        Annotated[str, Field(max_length=LINK_CHARACTERS_MAX), AfterValidator(_link)] | None,
        Field(repr=False),
    ] = None

    @property
    def inputs(self) -> dict[str, Any]:
        """What bears on the price, of what was said."""
        names = ("duration", "resolution", "aspect_ratio", "audio", "upscale_factor")
        return self.model_dump(include=set(names), exclude_none=True)


async def jobs(request: Request) -> Response:
    """Jobs, newest first, a page at a time."""
    office, which = office_of(request), read_query(request, Which)
    found, following = await jobs_of(office, which, [which.state] if which.state else [])
    rows = [job_shape(job) for job in found]
    return answer_list(request, which, "jobs", rows, columns=COLUMNS, following=following)


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


async def refetch(request: Request) -> Response:
    """Have a video fetched again that was paid for and did not come."""
    office, form = office_of(request), await read_form(request, Reason)
    reopened = await verbs.refetch_job(
        office, actor_of(request), request.path_params["id"], why=form.why
    )
    return json_response(await _whole(office, reopened))


async def adoption(request: Request) -> Response:
    """Take over a job that was bought elsewhere: 201, or 200 for one that is here already."""
    office, form = office_of(request), await read_form(request, Elsewhere)
    bought = Bought(
        queue_id=form.queue_id,
        model=form.model,
        user=form.user,
        key=form.key,
        price=form.price_usd,
        inputs=form.inputs,
        tags=form.tags,
        created_at=form.created_at,
        download_url=form.download_url,
    )
    adopted = await adopt(office, actor_of(request), bought)
    shape = {**await _whole(office, adopted.job), "adopted": adopted.is_new}
    return json_response(shape, 201 if adopted.is_new else 200)


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
