"""Whose charge a row of Venice's bill is: by request id, else by model, amount and time.

Every charge is given to one job at most, and every job gets at most one; what that means is not
known here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from gateway.core.job import ACTIVE_STATES, State
from gateway.core.money import ZERO, Money
from gateway.core.pairing import pairs

NEAR_MS = 2 * 60_000
"""How far from sending a row without a known request id may be made."""
DOUBTS = frozenset({State.IN_DOUBT, State.SETTLED_IN_DOUBT})
"""Perhaps billed: nobody knows the queue_id."""


@dataclass(frozen=True, slots=True)
class BillRow:
    """One charge or refund on the bill; `amount` is positive for what was charged."""

    at: int
    sku: str
    amount: Money
    request_id: str | None = None


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
    accepted_at: int | None = None
    lost_at: int | None = None
    """When it was known that the answer of one in doubt is lost."""
    user: str = ""

    @property
    def span(self) -> tuple[int, int]:
        """Between sending it and knowing its outcome: where Venice, in all likelihood, billed."""
        known_at = self.accepted_at or self.lost_at or self.sent_at
        return self.sent_at, max(self.sent_at, known_at)

    @property
    def is_open(self) -> bool:
        """Whether what it costs is not decided yet."""
        return self.state in ACTIVE_STATES


@dataclass(slots=True, eq=False)
class Charge:
    """All rows of one request, or one row without an id."""

    model: str
    rows: list[BillRow] = field(default_factory=list)

    @property
    def net(self) -> Money:
        return sum((row.amount for row in self.rows), ZERO)

    @property
    def gross(self) -> Money:
        """What was charged, whatever was given back."""
        return sum((row.amount for row in self.rows if row.amount > ZERO), ZERO)

    @property
    def at(self) -> int:
        return self.rows[0].at

    @property
    def request_id(self) -> str | None:
        return self.rows[0].request_id


Found = dict[str, Charge]
"""The charge of each job, by the job's id."""


def model_of(sku: str, models: Iterable[str]) -> str | None:
    """The model whose product a sku is; None where it is none of these.

    Venice's skus begin with the model's id (`zai-org-glm-5-1-llm-output-mtoken`). Of several that
    fit the longest is meant; a dot in an id may be a dash in the sku.
    """
    plain = _plain(sku)
    fitting = [m for m in models if plain == _plain(m) or plain.startswith(f"{_plain(m)}-")]
    return max(fitting, key=len, default=None)


def _plain(name: str) -> str:
    return name.lower().replace(".", "-")


def by_request(rows: Iterable[BillRow], models: Collection[str]) -> Found:
    """Charges by request id; a row without one is a charge of its own."""
    product: dict[str, str | None] = {}
    charges: Found = {}
    for number, row in enumerate(sorted(rows, key=lambda row: row.at)):
        if row.sku not in product:
            product[row.sku] = model_of(row.sku, models)
        model = product[row.sku]
        if model is not None:
            key = row.request_id or f"\x00{number}"
            charges.setdefault(key, Charge(model)).rows.append(row)
    return charges


def proved_by_id(ours: Sequence[BilledJob], charges: Mapping[str, Charge]) -> Found:
    named = ((job.id, charges.get(job.queue_id or "")) for job in ours)
    return {job_id: charge for job_id, charge in named if charge is not None}


def clocks_apart(ours: Sequence[BilledJob], found: Found) -> int:
    """By how much Venice's clock is ahead of ours, as far as jobs with a known row tell.

    A row is made between sending and answer, so each such job bounds it. It is what most of these
    bounds allow; nothing where that allows nothing.
    """
    steps: list[tuple[int, int]] = []
    for job in ours:
        if job.id in found:
            begin, end = job.span
            at = found[job.id].at
            steps += [(at - end, 1), (at - begin + 1, -1)]
    best, allowed, many = 0, 0, 0
    for (apart, step), (then, _) in pairwise([*sorted(steps), (NEAR_MS, 0)]):
        many += step
        # Of all that as many allow, the one nearest to none.
        nearest = min(max(0, apart), then - 1) if then > apart else apart
        if (many, -abs(nearest)) > (allowed, -abs(best)):
            best, allowed = nearest, many
    return max(-NEAR_MS, min(NEAR_MS, best))


def by_time(
    ours: Sequence[BilledJob], proved: Found, left: Sequence[Charge]
) -> tuple[Found, set[str]]:
    """The jobs that no id proves: who surely was billed comes before who perhaps was, and that
    before who was not. Of the second and third also those for whom no other match is possible.

    Of the doubts, those settled already come first: what one run settled is not settled again for
    another's sake by the next.
    """
    waiting = [job for job in ours if job.id not in proved]
    accepted = [job for job in waiting if job.queue_id is not None]
    # Where ids are seen to be queue_ids, a row with another id is not that of a known queue_id.
    nameless = [charge for charge in left if not proved or charge.request_id is None]
    shift = clocks_apart(ours, proved)
    found = paired(accepted, nameless, shift, by_net=True)
    accepted = [job for job in accepted if job.id not in found]
    found |= paired(accepted, without(nameless, found), shift)
    left = without(left, found)
    unnamed = [job for job in waiting if job.queue_id is None]
    certain = _unmistakable(unnamed, left)
    shift = clocks_apart(ours, proved | found)
    for group in _by_likelihood(unnamed):
        found |= paired(group, without(left, found), shift)
    refused = [job for job in unnamed if not _is_doubtful(job)]
    charged = [charge for charge in without(left, found) if charge.net > ZERO]
    return found | paired(refused, charged, shift), certain


def _by_likelihood(unnamed: Sequence[BilledJob]) -> tuple[list[BilledJob], list[BilledJob]]:
    settled = [job for job in unnamed if job.state is State.SETTLED_IN_DOUBT]
    others = [
        job for job in unnamed if _is_doubtful(job) and job.state is not State.SETTLED_IN_DOUBT
    ]
    return settled, others


def _is_doubtful(job: BilledJob) -> bool:
    return job.state in DOUBTS or job.is_open


def without(charges: Sequence[Charge], found: Found) -> list[Charge]:
    taken = {id(charge) for charge in found.values()}
    return [charge for charge in charges if id(charge) not in taken]


_Kind = tuple[str, Money, Money | None]


def paired(
    jobs: Sequence[BilledJob], charges: Sequence[Charge], shift: int, *, by_net: bool = False
) -> Found:
    """Jobs with the charges of their model and price that are nearest to their sending.

    With `by_net` also what is left of a charge after refunds must be what we hold it for.
    """
    waiting: dict[_Kind, list[BilledJob]] = defaultdict(list)
    for job in jobs:
        waiting[job.model, job.quote, job.paid if by_net else None].append(job)
    offered: dict[_Kind, list[Charge]] = defaultdict(list)
    for charge in sorted(charges, key=lambda charge: charge.at):
        offered[charge.model, charge.gross, charge.net if by_net else None].append(charge)
    found: Found = {}
    for kind, group in waiting.items():
        fitting = offered[kind] if kind[1] > ZERO else []
        spans, made = [job.span for job in group], [charge.at for charge in fitting]
        for i, j in pairs(spans, made, NEAR_MS, shift):
            found[group[i].id] = fitting[j]
    return found


def _unmistakable(jobs: Sequence[BilledJob], charges: Sequence[Charge]) -> set[str]:
    """The jobs near which there is one charge of their kind, which has one such job near it."""
    sent = Moments(((job.model, job.quote), job.sent_at) for job in jobs)
    made = Moments(((charge.model, charge.gross), charge.at) for charge in charges)
    return {
        job.id
        for job in jobs
        for kind in [(job.model, job.quote)]
        if len(there := made.near(kind, job.sent_at)) == 1 and len(sent.near(kind, there[0])) == 1
    }


class Moments:
    """Moments by kind, to be asked which of them are near another."""

    def __init__(self, moments: Iterable[tuple[object, int]]) -> None:
        self._moments: dict[object, list[int]] = defaultdict(list)
        for kind, at in moments:
            self._moments[kind].append(at)
        for each in self._moments.values():
            each.sort()

    def near(self, kind: object, at: int) -> list[int]:
        """The moments of a kind within two minutes."""
        moments = self._moments.get(kind, [])
        return moments[bisect_left(moments, at - NEAR_MS) : bisect_right(moments, at + NEAR_MS)]
