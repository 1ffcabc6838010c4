"""Our jobs beside Venice's bill: which row is whose, what differs, and what it proves.

A request id that is a job's queue_id is proof; else a row of the same model and amount, made
within two minutes of sending, is. It decides nothing: `Finding`s say what the bill shows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.job import State
from gateway.core.money import ZERO, Money

NEAR_MS = 2 * 60_000
"""How far from sending a row without a known request id may be made."""


@dataclass(frozen=True, slots=True)
class BillRow:
    """One charge or refund on the bill; `amount` is positive for what was charged."""

    at: int
    sku: str
    amount: Money
    request_id: str | None = None
    notes: str = ""

    def is_for(self, model: str) -> bool:
        """Whether the row's product is that model: Venice's names begin with the model's id."""
        return self.sku == model or self.sku.startswith(f"{model}-")


@dataclass(frozen=True, slots=True)
class BilledJob:
    """What the comparison needs to know of one of our jobs."""

    id: str
    queue_id: str | None
    model: str
    state: State
    sent_at: int
    quote: Money
    paid: Money
    """Settled by our ledger; what is still held counts as its quote."""


class Finding(StrEnum):
    """What the bill shows of a job."""

    SAME = "same"
    DIFFERENT = "different"
    MISSING = "missing"
    BILLED = "billed"
    """In doubt with us, and on the bill."""
    UNCLEAR = "unclear"
    """In doubt, and something like it is on the bill, but not for its amount."""
    UNBILLED = "unbilled"
    """In doubt, and nothing like it is on the bill."""


@dataclass(frozen=True, slots=True)
class Match:
    """A job and what the bill shows of it."""

    job: BilledJob
    finding: Finding
    billed: Money = ZERO
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that one run finds."""

    matches: Sequence[Match]
    theirs_only: Sequence[BillRow]
    """Charges that no job of ours explains."""
    ids_are_queue_ids: bool
    """Whether this bill's request ids were seen to be queue_ids."""

    def of(self, finding: Finding) -> list[Match]:
        """The matches with one finding."""
        return [match for match in self.matches if match.finding is finding]


@dataclass(slots=True)
class _Charge:
    """All rows of one request, or one row without an id."""

    rows: list[BillRow] = field(default_factory=list)

    @property
    def net(self) -> Money:
        return sum((row.amount for row in self.rows), ZERO)

    @property
    def first(self) -> BillRow:
        return self.rows[0]


def compare(jobs: Iterable[BilledJob], rows: Iterable[BillRow]) -> Comparison:
    """Match every job that was sent with the bill's video rows, each row at most once."""
    charges = _by_request(rows)
    ours = sorted(jobs, key=lambda job: job.sent_at)
    matched: dict[str, _Charge] = {}
    for job in ours:
        if job.queue_id is not None and job.queue_id in charges:
            matched[job.id] = charges.pop(job.queue_id)
    ids_are_queue_ids = bool(matched)
    left = sorted(charges.values(), key=lambda charge: charge.first.at)
    # Jobs that Venice surely took come first: a doubt must not take the row that proves another.
    for is_doubt in (False, True):
        waiting = [j for j in ours if j.id not in matched and _in_doubt(j) is is_doubt]
        _match_by_time(waiting, left, matched)
    matches = [_finding(job, matched.get(job.id), left) for job in ours]
    theirs = [charge.first for charge in left if charge.net != ZERO]
    return Comparison(matches, theirs, ids_are_queue_ids)


def _by_request(rows: Iterable[BillRow]) -> dict[str, _Charge]:
    charges: dict[str, _Charge] = defaultdict(_Charge)
    for number, row in enumerate(sorted(rows, key=lambda row: row.at)):
        charges[row.request_id or f"\x00{number}"].rows.append(row)
    return dict(charges)


def _in_doubt(job: BilledJob) -> bool:
    return job.state in (State.IN_DOUBT, State.SETTLED_IN_DOUBT, State.RELEASED_IN_DOUBT)


def _match_by_time(
    waiting: Sequence[BilledJob], left: list[_Charge], matched: dict[str, _Charge]
) -> None:
    """Give each waiting job, oldest first, the oldest row that fits it."""
    for job in waiting:
        for charge in left:
            if charge.net == job.quote and _is_near(job, charge):
                matched[job.id] = charge
                left.remove(charge)
                break


def _is_near(job: BilledJob, charge: _Charge) -> bool:
    return charge.first.is_for(job.model) and abs(charge.first.at - job.sent_at) <= NEAR_MS


def _finding(job: BilledJob, charge: _Charge | None, left: Sequence[_Charge]) -> Match:
    if charge is not None:
        finding = Finding.BILLED if job.state is State.IN_DOUBT else _same(job, charge.net)
        return Match(job, finding, charge.net, charge.first.request_id)
    if job.state is State.IN_DOUBT:
        is_unclear = any(_is_near(job, other) for other in left)
        return Match(job, Finding.UNCLEAR if is_unclear else Finding.UNBILLED)
    return Match(job, Finding.SAME if job.paid == ZERO else Finding.MISSING)


def _same(job: BilledJob, billed: Money) -> Finding:
    return Finding.SAME if job.paid == billed else Finding.DIFFERENT


def tally(matches: Iterable[Match]) -> Counter[Finding]:
    """How many jobs have which finding."""
    return Counter(match.finding for match in matches)
