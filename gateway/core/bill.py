"""Our jobs beside Venice's bill: which row is whose, what differs, and what it proves.

A request id that is a job's queue_id is proof; else a row of the same model and amount, made
within two minutes of sending, is. It decides nothing: `Finding`s say what the bill shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.core.charges import (
    BilledJob,
    BillRow,
    Charge,
    Found,
    Moments,
    by_request,
    by_time,
    clocks_apart,
    paired,
    proved_by_id,
    without,
)
from gateway.core.job import State
from gateway.core.money import ZERO, Money


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
    PENDING = "pending"
    """Still in the making: compared once it has ended."""
    OTHERWISE = "otherwise"
    """Paid, as it seems, in another currency than US dollars."""


@dataclass(frozen=True, slots=True)
class Match:
    """A job and what the bill shows of it."""

    job: BilledJob
    finding: Finding
    billed: Money = ZERO
    request_id: str | None = None
    is_certain: bool = False
    """No other job could be meant by these rows, and no other rows by this job."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that one run finds."""

    matches: Sequence[Match]
    theirs_only: Sequence[BillRow]
    """Charges that no job of ours explains, each with all that was refunded of it."""
    ids_are_queue_ids: bool
    """Whether this bill's request ids were seen to be queue_ids."""

    def of(self, finding: Finding) -> list[Match]:
        """The matches with one finding."""
        return [match for match in self.matches if match.finding is finding]


def compare(
    jobs: Iterable[BilledJob],
    rows: Iterable[BillRow],
    *,
    models: Collection[str] = (),
    otherwise: Iterable[BillRow] = (),
) -> Comparison:
    """Match every job that was sent with the bill's rows in US dollars, each row at most once.

    Rows of products other than these models and those of the jobs are not looked at. `otherwise`
    are rows in other currencies: what they may have paid for is neither missing nor unbilled.
    """
    ours = sorted(jobs, key=lambda job: job.sent_at)
    known = {*models, *(job.model for job in ours)}
    charges = by_request(rows, known)
    proved = proved_by_id(ours, charges)
    left = without(list(charges.values()), proved)
    guessed, certain = by_time(ours, proved, left)
    left = without(left, guessed)
    taken = proved | guessed
    others = list(by_request(otherwise, known).values())
    near = Moments((charge.model, charge.at) for charge in (*left, *others))
    paid_otherwise = _paid_otherwise(ours, taken, others)
    certain |= proved.keys()
    matches = [
        Match(job, Finding.OTHERWISE)
        if job.id in paid_otherwise
        else _finding(job, taken.get(job.id), near, is_certain=job.id in certain)
        for job in ours
    ]
    theirs = [replace(charge.rows[0], amount=charge.net) for charge in left if charge.net != ZERO]
    return Comparison(matches, theirs, bool(proved))


def _paid_otherwise(ours: Sequence[BilledJob], taken: Found, others: Sequence[Charge]) -> set[str]:
    """The jobs that rows in another currency name, or are near to for the same amount.

    Venice's other currencies are worth a dollar each (its documentation of DIEM).
    """
    by_id = {charge.request_id: charge for charge in others if charge.request_id}
    named = {job.id: by_id[job.queue_id] for job in ours if job.queue_id in by_id}
    missing = [job for job in ours if job.queue_id and job.id not in taken and job.id not in named]
    shift = clocks_apart(ours, taken)
    return named.keys() | paired(missing, without(others, named), shift).keys()


def _finding(job: BilledJob, charge: Charge | None, near: Moments, *, is_certain: bool) -> Match:
    """`near` are charges that are no job's, in whatever currency, by their model."""
    if charge is not None:
        return Match(job, _shown(job, charge.net), charge.net, charge.request_id, is_certain)
    if job.state is State.IN_DOUBT:
        has_alike = near.near(job.model, job.sent_at)
        return Match(job, Finding.UNCLEAR if has_alike else Finding.UNBILLED)
    if job.is_open:
        return Match(job, Finding.PENDING)
    if job.paid == ZERO:
        return Match(job, Finding.SAME)
    return Match(job, Finding.MISSING)


def _shown(job: BilledJob, billed: Money) -> Finding:
    if job.state is State.IN_DOUBT:
        return Finding.BILLED
    if job.paid == billed:
        return Finding.SAME
    return Finding.PENDING if job.is_open else Finding.DIFFERENT


def tally(matches: Iterable[Match]) -> Counter[Finding]:
    """How many jobs have which finding."""
    return Counter(match.finding for match in matches)
