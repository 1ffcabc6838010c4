"""A finished comparison as it is kept and shown: what was found, of which kind, and what is left.

It sums and names; it changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from gateway.bill_walk import Walk
from gateway.core.bill import Finding
from gateway.core.charges import BillRow
from gateway.core.job import State
from gateway.core.money import ZERO, Money
from gateway.core.verdict import Act
from gateway.evidence import Acted
from gateway.records import Disagreement, Reconciliation

FINDINGS_KEPT_MAX = 2_000
"""Of one run: more than anybody reads, and the counts are of all."""
SHOWN = ("different", "ours_only", "theirs_only", "resolved", "waiting")
"""The kinds of which each is listed, in the order of what asks most for somebody's look."""


def summed(
    *,
    actor: str,
    started_at: int,
    ended_at: int,
    since: int,
    is_whole: bool,
    walk: Walk,
    acted: Sequence[Acted],
    theirs: Sequence[BillRow],
) -> Reconciliation:
    """One run's record, not kept yet."""
    found = [_disagreement(each) for each in acted if kind_of(each) in SHOWN]
    found += [_stranger(row) for row in theirs]
    found.sort(key=lambda each: (SHOWN.index(each.kind), each.at))
    counts = Counter(map(kind_of, acted)) + Counter(theirs_only=len(theirs))
    counts += Counter(_word(each) for each in acted if each.is_done)
    return Reconciliation(
        number=0,
        started_at=started_at,
        ended_at=ended_at,
        actor=actor,
        since=since,
        until=walk.walked_at if walk.is_complete else walk.last_row_at,
        is_complete=walk.is_complete,
        is_whole=is_whole,
        rows=walk.rows,
        jobs=len(acted),
        drift=_sum(_left(each) for each in acted) + _sum(row.amount for row in theirs),
        corrected=_sum(each.correction for each in acted),
        counts=dict(counts),
        otherwise={name: f"{amount:.6f}" for name, amount in sorted(walk.otherwise.items())},
        findings=found[:FINDINGS_KEPT_MAX],
    )


def kind_of(acted: Acted) -> str:
    """Under which word a match is counted."""
    match acted.match.finding:
        case Finding.DIFFERENT:
            return "different"
        case Finding.MISSING:
            return "ours_only" if acted.verdict.act is Act.REPORT else "waiting"
        case Finding.BILLED | Finding.UNBILLED | Finding.UNCLEAR:
            return "resolved" if acted.is_done else "waiting"
        case Finding.SAME if acted.is_done:
            return "resolved"
        case Finding.PENDING:
            return "in_the_making"
        case Finding.OTHERWISE:
            return "otherwise"
        case _:
            return "same"


def _left(acted: Acted) -> Money:
    """By how much the bill differs from the ledger, of a job that is reported and not put right."""
    if acted.is_done or acted.verdict.act is not Act.REPORT:
        return ZERO
    return acted.match.billed - acted.match.job.paid


def _word(acted: Acted) -> str:
    return str(acted.verdict.event or acted.verdict.act)


def _disagreement(acted: Acted) -> Disagreement:
    match, job = acted.match, acted.match.job
    return Disagreement(
        kind=kind_of(acted),
        act=_word(acted) if acted.is_done else "nothing",
        reason=acted.verdict.reason,
        at=job.sent_at,
        ours=job.quote if job.state is State.IN_DOUBT else job.paid,
        billed=match.billed,
        job=job.id,
        queue_id=job.queue_id,
        request_id=match.request_id,
        user=job.user,
        model=job.model,
    )


def _stranger(row: BillRow) -> Disagreement:
    return Disagreement(
        kind="theirs_only",
        act="nothing",
        reason="no job of this gateway explains it",
        at=row.at,
        billed=row.amount,
        request_id=row.request_id,
        model=row.sku,
    )


def _sum(amounts: Iterable[Money]) -> Money:
    return sum(amounts, ZERO)
