"""`/gateway/v1/admin/videos`: the stored videos, their proof, and their removal."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool
from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import Office
from gateway.administer import videos as verbs
from gateway.administer.videos import Choice
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.admin.ordered import Ordered, jobs_of
from gateway.api.answers import VideoAnswer
from gateway.api.details import VideoProofAnswer, VideoTotalsAnswer
from gateway.api.forms import Form, Length, Truth, read_form, read_query
from gateway.api.listing import answer_list
from gateway.api.respond import json_response
from gateway.api.shapes import time_of
from gateway.core.errors import InvalidRequest, Issue
from gateway.core.eviction import auto_quota
from gateway.core.job import State
from gateway.core.retention import KeepRules, Kept, expiring_before, purge_at
from gateway.records import Job

IDS_MAX = 1_000
COLUMNS = tuple(VideoAnswer.__annotations__)


class Which(Ordered):
    """Which videos."""

    delivered: Truth | None = None
    """Whether anybody ever got it."""
    suspicious: Truth | None = None
    """Whether it is too small to be real."""


class Purge(Form):
    """What is to go: by id, by owner, by age. A dry run only tells."""

    ids: Annotated[tuple[str, ...], Field(max_length=IDS_MAX)] = ()
    user: str | None = None
    older_than: Length | None = None
    """Since it was stored, like `30d`."""
    dry_run: StrictBool = False


async def videos(request: Request) -> Response:
    """Stored videos, of the newest job first, a page at a time."""
    office, which = office_of(request), read_query(request, Which)
    found, following = await jobs_of(
        office,
        which,
        [State.STORED],
        delivered=which.delivered,
        suspicious=which.suspicious,
    )
    rules = office.rulebook.videos.keep_rules
    rows = [_shape(job, rules) for job in found]
    return answer_list(request, which, "videos", rows, columns=COLUMNS, following=following)


async def totals(request: Request) -> Response:
    """The store in numbers."""
    office = office_of(request)
    found = await office.ledger.video_totals()
    free, rules = office.store.free_bytes(), office.rulebook.videos
    before = expiring_before(rules.keep_rules, office.clock.now())
    jobs = (await office.ledger.totals()).jobs
    kept = (State.STORED, State.EVICTED, State.PURGED)
    answer: VideoTotalsAnswer = {
        "videos": found.count,
        "bytes": found.bytes,
        "undelivered": found.undelivered,
        "undelivered_bytes": found.undelivered_bytes,
        "by_state": {state: jobs[state] for state in kept},
        "expiring": await office.video_records.count_expiring(before),
        "max_bytes": auto_quota(free, found.bytes)
        if rules.max_bytes == "auto"
        else rules.max_bytes,
        "free_bytes": free,
    }
    return json_response(answer)


async def verification(request: Request) -> Response:
    """Read every video and compare; nothing is changed."""
    found = await verbs.verify(office_of(request))
    answer: VideoProofAnswer = {
        "ok": found.is_sound,
        "checked": found.checked,
        "damaged": list(found.damaged),
        "missing": list(found.missing),
        "orphans": list(found.orphans),
    }
    return json_response(answer)


async def purge(request: Request) -> Response:
    """Remove videos, or tell which would go."""
    office, form = office_of(request), await read_form(request, Purge)
    choice = _choice(office, form)
    if form.dry_run:
        jobs = await verbs.chosen(office, choice)
    else:
        jobs = await verbs.purge(office, actor_of(request), choice)
    shape = {"videos": len(jobs), "bytes": verbs.total_bytes(jobs), "dry_run": form.dry_run}
    return json_response({**shape, "jobs": [job.id for job in jobs]})


def _choice(office: Office, form: Purge) -> Choice:
    if not form.ids and form.user is None and form.older_than is None:
        raise InvalidRequest([Issue(("ids",), "Say which: ids, user or older_than.")])
    if form.user is not None:
        office.user(form.user)
    before = None if form.older_than is None else office.clock.now() - form.older_than
    return Choice(form.ids, form.user, before)


def _shape(job: Job, rules: KeepRules) -> VideoAnswer:
    assert job.stored_at is not None, "a stored job knows since when"
    kept = Kept(job.stored_at, job.delivered_at, job.completed_at, job.delete_wanted)
    return {
        "job": job.id,
        "queue_id": job.queue_id,
        "user": job.user,
        "bytes": job.video_bytes,
        "stored_at": time_of(job.stored_at),
        "delivered_at": time_of(job.delivered_at),
        "expires_at": time_of(purge_at(kept, rules)),
    }
