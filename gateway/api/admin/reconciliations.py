"""`/gateway/v1/admin/reconciliations`: comparisons with Venice's bill, and one more on demand."""

from __future__ import annotations

from typing import TypedDict

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import reconciling as verbs
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.forms import Form, Moment, Number, PageSize, read_form, read_query
from gateway.api.listing import Listing, answer_list
from gateway.api.respond import json_response
from gateway.core.errors import NotFound
from gateway.moments import rfc3339
from gateway.reconciled import SHOWN
from gateway.records import Disagreement, Reconciliation


class RunsPage(Listing):
    """Which runs."""

    before: Number | None = None
    limit: PageSize = 100


class NewRun(Form):
    """From when on; without it from a week before the last whole run."""

    since: Moment | None = None


class FindingAnswer(TypedDict):
    """One thing that a run found, and what was done about it."""

    job: str | None
    queue_id: str | None
    request_id: str | None
    user: str | None
    model: str | None
    at: str
    ours_usd: str | None
    billed_usd: str | None
    act: str
    reason: str


class RunHead(TypedDict):
    """A run without each of its findings."""

    run: int
    started_at: str
    ended_at: str
    by: str
    since: str
    until: str
    complete: bool
    rows: int
    jobs: int
    drift_usd: str
    corrected_usd: str
    counts: dict[str, int]
    other_currencies: dict[str, str]


COLUMNS = tuple(RunHead.__annotations__)


class RunsAnswer(TypedDict):
    """A page of runs, and in words how reconciliation stands."""

    reconciliation: str
    runs: list[RunHead]
    next: int | None


class RunAnswer(RunHead):
    """A run with its findings by kind; `left_off` says how many more are only counted."""

    different: list[FindingAnswer]
    ours_only: list[FindingAnswer]
    theirs_only: list[FindingAnswer]
    resolved: list[FindingAnswer]
    waiting: list[FindingAnswer]
    left_off: int


class MadeRunAnswer(RunAnswer):
    """A run that was just made, and what it meant for spending that waited after a restore."""

    spending: str | None


async def reconciliations(request: Request) -> Response:
    """Runs, newest first, a page at a time; POST makes one and answers with what it found."""
    office = office_of(request)
    if request.method == "POST":
        form = await read_form(request, NewRun)
        ran = await verbs.run(office, actor_of(request), form.since)
        return json_response({**run_shape(ran.run), "spending": ran.spending}, 201)
    page = read_query(request, RunsPage)
    runs, following = await verbs.page(office, page.before, page.limit)
    return answer_list(
        request,
        page,
        "runs",
        [head_shape(run) for run in runs],
        columns=COLUMNS,
        following=following,
        beside={"reconciliation": office.reconciler.state},
    )


async def reconciliation(request: Request) -> Response:
    """One run, with all that is kept of it."""
    given = request.path_params["id"]
    if not (given.isascii() and given.isdecimal() and len(given) < 18):
        raise NotFound(f"There is no reconciliation {given}.")
    return json_response(run_shape(await verbs.find(office_of(request), int(given))))


def head_shape(run: Reconciliation) -> RunHead:
    """A run without each of its findings."""
    return {
        "run": run.number,
        "started_at": rfc3339(run.started_at),
        "ended_at": rfc3339(run.ended_at),
        "by": run.actor,
        "since": rfc3339(run.since),
        "until": rfc3339(run.until),
        "complete": run.is_complete,
        "rows": run.rows,
        "jobs": run.jobs,
        "drift_usd": str(run.drift),
        "corrected_usd": str(run.corrected),
        "counts": dict(run.counts),
        "other_currencies": dict(run.otherwise),
    }


def run_shape(run: Reconciliation) -> RunAnswer:
    """A run with its findings by kind."""
    total = sum(run.counts.get(kind, 0) for kind in SHOWN)
    return RunAnswer(
        **head_shape(run),
        different=_of(run, "different"),
        ours_only=_of(run, "ours_only"),
        theirs_only=_of(run, "theirs_only"),
        resolved=_of(run, "resolved"),
        waiting=_of(run, "waiting"),
        left_off=max(0, total - len(run.findings)),
    )


def _of(run: Reconciliation, kind: str) -> list[FindingAnswer]:
    return [_finding(found) for found in run.findings if found.kind == kind]


def _finding(found: Disagreement) -> FindingAnswer:
    return {
        "job": found.job,
        "queue_id": found.queue_id,
        "request_id": found.request_id,
        "user": found.user,
        "model": found.model,
        "at": rfc3339(found.at),
        "ours_usd": None if found.ours is None else str(found.ours),
        "billed_usd": None if found.billed is None else str(found.billed),
        "act": found.act,
        "reason": found.reason,
    }
