"""What follows from what the bill shows of a job: the event or the correction it calls for, or that
it has to wait. Silence of a bill is believed only where the bill surely covers the job's time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.bill import Comparison, Finding, Match
from gateway.core.charges import NEAR_MS
from gateway.core.job import Event, State
from gateway.core.money import ZERO

LAG_MS_MAX = 24 * 3_600_000
"""A sure purchase that is not on the bill for longer is a difference; before, the bill is late."""


class Act(StrEnum):
    """What is to be done about one job."""

    NOTHING = "nothing"
    WAIT = "wait"
    """It is not certain yet; a later run looks again."""
    REPORT = "report"
    """It differs, and no evidence says that our ledger is wrong."""
    MOVE = "move"
    """By an event of the job's table."""
    CORRECT = "correct"
    """The settlement becomes what was billed."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a bill is to be believed; moments in Unix milliseconds."""

    walked_at: int
    """When its last page was asked for."""
    last_row_at: int
    """The newest row of the whole account, whatever it is for; 0 where there is none."""
    is_late: bool
    """Purchases that Venice surely took are not on it yet."""
    release_after: int
    settle_after: int
    """As the policy's `in_doubt` has them, in milliseconds."""

    def shows(self, moment: int) -> bool:
        """Whether what was accepted at a moment would surely be on it: rows ascend in time."""
        return moment <= self.last_row_at or self._age(moment) >= self.release_after

    def proves_unbilled(self, sent_at: int) -> bool:
        """Whether nothing on it means that nothing was bought."""
        if self._age(sent_at) < self.release_after:
            return False
        return not self.is_late or sent_at + NEAR_MS <= self.last_row_at

    def is_long_ago(self, sent_at: int) -> bool:
        """Whether a doubt has waited long enough for something clear."""
        return self._age(sent_at) >= self.settle_after

    def _age(self, moment: int) -> int:
        return self.walked_at - moment


def covered(
    comparison: Comparison,
    *,
    walked_at: int,
    last_row_at: int,
    release_after: int,
    settle_after: int,
) -> Coverage:
    """How far this bill is to be believed, by what it lacks that Venice surely took."""
    return Coverage(
        walked_at=walked_at,
        last_row_at=last_row_at,
        is_late=_is_late(comparison.of(Finding.MISSING), walked_at, last_row_at),
        release_after=release_after,
        settle_after=settle_after,
    )


def _is_late(missing: Iterable[Match], walked_at: int, last_row_at: int) -> bool:
    taken = (match.job.accepted_at for match in missing if match.job.accepted_at is not None)
    return any(last_row_at < at and walked_at - at < LAG_MS_MAX for at in taken)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done about a job, and why, for people."""

    act: Act
    reason: str = ""
    event: Event | None = None


NOTHING = Verdict(Act.NOTHING)
IDENTIFIABLE = frozenset({State.IN_DOUBT, State.SETTLED_IN_DOUBT, State.RELEASED_IN_DOUBT})
BY_CHARGE = {
    State.RELEASED_IN_DOUBT: Event.DECIDE_BILLED,
    State.REFUSED: Event.FIND_BILLED,
    State.FAILED_REFUNDED: Event.FIND_BILLED,
}
"""What a charge means for jobs whose money is released."""
BY_REFUND = {
    State.SETTLED_IN_DOUBT: Event.DECIDE_UNBILLED,
    State.FAILED_BILLED: Event.FIND_UNBILLED,
}
"""What a whole refund means for jobs that have a state for it; of others the cost is corrected."""


def judge(match: Match, coverage: Coverage, *, ids_are_queue_ids: bool) -> Verdict:
    """What a match calls for."""
    job = match.job
    names_it = ids_are_queue_ids and match.is_certain and match.request_id is not None
    if names_it and job.queue_id is None and job.state in IDENTIFIABLE and match.billed > ZERO:
        return Verdict(Act.MOVE, "Venice's bill names it", Event.IDENTIFY)
    match match.finding:
        case Finding.BILLED:
            return _billed(match)
        case Finding.UNBILLED | Finding.UNCLEAR:
            return _silent(match, coverage)
        case Finding.DIFFERENT:
            return _different(match)
        case Finding.MISSING:
            if coverage.shows(job.accepted_at or job.sent_at):
                return Verdict(Act.REPORT, "Venice's bill does not show it")
            return Verdict(Act.WAIT, "Venice's bill may not show it yet")
        case Finding.PENDING:
            return Verdict(Act.WAIT, "it is still in the making")
        case _:
            return NOTHING


def _billed(match: Match) -> Verdict:
    if match.billed > ZERO:
        return Verdict(Act.MOVE, "Venice's bill shows it", Event.DECIDE_BILLED)
    return Verdict(Act.MOVE, "Venice's bill shows it refunded", Event.DECIDE_UNBILLED)


def _silent(match: Match, coverage: Coverage) -> Verdict:
    sent_at = match.job.sent_at
    if match.finding is Finding.UNBILLED and coverage.proves_unbilled(sent_at):
        return Verdict(Act.MOVE, "Venice's bill does not show it", Event.DECIDE_UNBILLED)
    if coverage.is_long_ago(sent_at):
        reason = "Venice's bill shows nothing clear, long after it was sent"
        return Verdict(Act.MOVE, reason, Event.DECIDE_BILLED)
    return Verdict(Act.WAIT, "Venice's bill shows nothing clear yet")


def _different(match: Match) -> Verdict:
    state, billed = match.job.state, match.billed
    if billed < ZERO:
        return Verdict(Act.REPORT, "Venice's bill refunds more than it charges")
    if billed > ZERO and state in BY_CHARGE:
        return Verdict(Act.MOVE, "Venice's bill shows it charged", BY_CHARGE[state])
    if billed == ZERO and state in BY_REFUND:
        return Verdict(Act.MOVE, "Venice's bill shows it refunded", BY_REFUND[state])
    word = "charged otherwise" if billed > ZERO else "refunded"
    return Verdict(Act.CORRECT, f"Venice's bill shows it {word}")
