"""`/gateway/v1/admin/ledger` and `usage`: the entries, their proof, and who spent what."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import spending
from gateway.administer.jobs import find_job
from gateway.api.admin.guard import actor_of, office_of
from gateway.api.answers import EntryAnswer
from gateway.api.details import LedgerAnswer
from gateway.api.forms import Form, Moment, Number, PageSize, Until, Why, read_form, read_query
from gateway.api.listing import Listing, answer_list
from gateway.api.respond import json_response
from gateway.api.shapes import Shape, entry_shape, spend_shape
from gateway.core.job import Entry
from gateway.core.money import ZERO
from gateway.records import Verification

COLUMNS = tuple(EntryAnswer.__annotations__)


class EntriesPage(Listing):
    """Which entries, and from where on."""

    job: str | None = None
    """By its queue_id or its own id."""
    kind: Entry | None = None
    after: Number = 0
    limit: PageSize = 1_000


class SpendingQuestion(Listing):
    """Of what, and when: `since` is in, `until` is out."""

    by: Literal["user", "team", "key", "model", "tag", "day"] = "user"
    since: Moment | None = None
    until: Until | None = None


class Repair(Form):
    """Why balances are derived anew."""

    why: Why


async def ledger(request: Request) -> Response:
    """What is settled, reserved and in doubt, and how many jobs are in each state."""
    totals = await office_of(request).ledger.totals()
    answer: LedgerAnswer = {
        "settled_usd": str(sum(totals.settled.values(), ZERO)),
        "reserved_usd": str(totals.reserved),
        "in_doubt_usd": str(totals.in_doubt),
        "jobs": {str(state): count for state, count in totals.jobs.items()},
    }
    return json_response(answer)


async def verification(request: Request) -> Response:
    """Re-derive every balance from the entries, and compare; a difference stops spending."""
    return json_response(_proof(await spending.verify_ledger(office_of(request))))


async def repair(request: Request) -> Response:
    """Derive the balances that differ anew; spending stays stopped."""
    form = await read_form(request, Repair)
    proof, repaired = await spending.repair_ledger(office_of(request), actor_of(request), form.why)
    return json_response({**_proof(proof), "repaired": repaired})


def _proof(found: Verification) -> Shape:
    return {
        "ok": found.is_sound,
        "entries": found.entries,
        "drift_usd": str(found.drift),
        "problems": list(found.problems),
    }


async def entries(request: Request) -> Response:
    """Entries, oldest first, a page at a time."""
    page = read_query(request, EntriesPage)
    office, shapes = office_of(request), []
    job = None if page.job is None else (await find_job(office, page.job)).id
    async for entry in office.ledger.entries(
        page.after, job=job, kind=page.kind, at_once=page.limit
    ):
        shapes.append(entry_shape(entry))
        if len(shapes) == page.limit:
            break
    following = shapes[-1]["id"] if len(shapes) == page.limit else None
    return answer_list(
        request, page, "entries", shapes, columns=COLUMNS, following=following, cursor="after"
    )


async def usage(request: Request) -> Response:
    """Who spent what; of all time where nothing else is asked."""
    asked = read_query(request, SpendingQuestion)
    office = office_of(request)
    timezone = office.rulebook.organization.calendar.timezone
    rows = await office.ledger.spend(asked.by, asked.since, asked.until, timezone=timezone)
    shapes = [spend_shape(row, asked.by) for row in rows]
    columns = (asked.by, "settled_usd", "reserved_usd", "in_doubt_usd", "jobs")
    return answer_list(request, asked, "usage", shapes, columns=columns)
