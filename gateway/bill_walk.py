"""A walk over Venice's bill, page by page, from a moment to its end or to what is read at most.

It keeps the rows in US dollars and those of video models in other currencies, and only counts the
rest. It decides nothing: a page that fails or makes no sense ends the walk with what is to be told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal

from gateway.core.charges import BillRow, model_of
from gateway.core.errors import UpstreamBusy, UpstreamInvalid
from gateway.core.usage import USD, NotABill, UsagePage, UsageRow, read_page
from gateway.moments import rfc3339
from gateway.ports import Clock, NoPlace, Reply, Upstream

PAGES_MAX = 2_000
"""Two million rows: years of an account's use; the next run goes on from where this one ended."""
PAGE_SECONDS = 90.0
"""For one page, retries and the wait at the gate included."""


@dataclass(slots=True)
class Walk:
    """What a walk brought back."""

    walked_at: int = 0
    """When the last page was asked for: later charges cannot be on it."""
    is_complete: bool = False
    rows: int = 0
    last_row_at: int = 0
    dollars: list[BillRow] = field(default_factory=list)
    others: list[BillRow] = field(default_factory=list)
    """Of video models, in other currencies."""
    otherwise: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """What the whole account was charged in other currencies."""


async def walk_bill(upstream: Upstream, clock: Clock, since: int, models: Collection[str]) -> Walk:
    """All that was billed from a moment on. `UpstreamBusy` or `UpstreamInvalid` where Venice does
    not tell: half a bill proves nothing."""
    walk = Walk()
    query = {"startTimestamp": rfc3339(since), "pageSize": "1000"}
    seen: set[str] = set()
    for _ in range(PAGES_MAX):
        walk.walked_at = clock.now()
        page = await _page(upstream, clock, query)
        for row in page.rows:
            _take(walk, row, models)
        if page.cursor is None:
            walk.is_complete = True
            return walk
        if page.cursor in seen:
            raise UpstreamInvalid("Venice's bill goes round in circles. Nothing was changed.")
        seen.add(page.cursor)
        query = {"cursor": page.cursor}
    return walk


async def _page(upstream: Upstream, clock: Clock, query: dict[str, str]) -> UsagePage:
    try:
        reply = await upstream.usage(query, clock.monotonic() + PAGE_SECONDS)
    except NoPlace as error:
        raise UpstreamBusy(f"Venice's bill could not be asked for: {error}.") from error
    if not reply.is_ok:
        raise _refusal(reply)
    try:
        return read_page(reply.document)
    except NotABill as error:
        raise UpstreamInvalid(
            f"Venice's bill cannot be read: {error}. Nothing was changed."
        ) from error


def _refusal(reply: Reply) -> UpstreamBusy | UpstreamInvalid:
    if reply.status in (401, 403):
        return UpstreamInvalid(
            "Venice refuses VENICE_BILLING_KEY for its bill: it must be an admin key of the "
            "organization's account. Nothing was changed."
        )
    what = f"status {reply.status}" if reply.status else str(reply.outcome)
    return UpstreamBusy(f"Venice does not tell its bill ({what}). Nothing was changed; try later.")


def _take(walk: Walk, row: UsageRow, models: Collection[str]) -> None:
    walk.rows += 1
    walk.last_row_at = max(walk.last_row_at, row.at)
    is_video = model_of(row.sku, models) is not None
    if row.currency != USD:
        walk.otherwise[row.currency] -= row.amount
    if is_video:
        kept = walk.dollars if row.currency == USD else walk.others
        kept.append(BillRow(row.at, row.sku, row.charged, row.request_id))
