"""`/gateway/v1/admin/audit`: what administration did, to be read only."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from gateway.administer import audit as verbs
from gateway.api.admin.guard import office_of
from gateway.api.answers import AuditAnswer
from gateway.api.forms import Moment, Number, PageSize, Until, read_query
from gateway.api.listing import Listing, answer_list
from gateway.moments import rfc3339
from gateway.records import Acts, AuditRow

COLUMNS = tuple(AuditAnswer.__annotations__)


class Page(Listing):
    """Which acts, and from where on; `next` of one page is `before` of the following."""

    by: str | None = None
    act: str | None = None
    target: str | None = None
    since: Moment | None = None
    until: Until | None = None
    before: Number | None = None
    limit: PageSize = 100


async def audit(request: Request) -> Response:
    """Acts, newest first, a page at a time."""
    page = read_query(request, Page)
    which = Acts(page.by, page.act, page.target, page.since, page.until)
    rows, following = await verbs.page(office_of(request), which, page.before, page.limit)
    shapes = [_shape(row) for row in rows]
    return answer_list(request, page, "audit", shapes, columns=COLUMNS, following=following)


def _shape(row: AuditRow) -> AuditAnswer:
    return {
        "number": row.number,
        "at": rfc3339(row.at),
        "by": row.actor,
        "act": row.act,
        "target": row.target,
        "detail": json.loads(row.detail),
    }
