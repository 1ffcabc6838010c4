"""What follows from a bill: silence is believed late, evidence at once, and nothing else moves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.core.bill import Comparison, Finding, Match, compare
from gateway.core.charges import NEAR_MS, BilledJob, BillRow
from gateway.core.job import JOB_TABLE, Event, State
from gateway.core.money import ZERO, Money
from gateway.core.verdict import LAG_MS_MAX, Act, Coverage, Verdict, covered, judge

PRICE = Money(60_000)
SENT = 1_000_000_000
HOUR = 3_600_000
RELEASE, SETTLE = HOUR, 72 * HOUR


def a_job(name: str, state: State, **changes: object) -> BilledJob:
    held = state in (State.IN_DOUBT, State.RELEASED_IN_DOUBT, State.REFUSED)
    paid = ZERO if held or state is State.FAILED_REFUNDED else PRICE
    known = state not in (State.IN_DOUBT, State.SETTLED_IN_DOUBT, State.RELEASED_IN_DOUBT)
    known = known and state is not State.REFUSED
    fields = {"sent_at": SENT, "accepted_at": SENT + 900 if known else None, **changes}
    queue_id = f"q-{name}" if known else None
    return BilledJob(name, queue_id, "wan", state, quote=PRICE, paid=paid, **fields)  # type: ignore[arg-type]


def a_row(request_id: str | None, *, at: int = SENT + 500, amount: Money = PRICE) -> BillRow:
    return BillRow(at, "wan-video-unit", amount, request_id)


def verdict(
    job: BilledJob, rows: Sequence[BillRow], *, age: int, others: Sequence[BilledJob] = ()
) -> Verdict:
    """What one run, made so long after sending, says of a job."""
    comparison = compare([job, *others], rows)
    coverage = coverage_of(comparison, age, max((row.at for row in rows), default=0))
    (match,) = [match for match in comparison.matches if match.job.id == job.id]
    return judge(match, coverage, ids_are_queue_ids=comparison.ids_are_queue_ids)


def coverage_of(comparison: Comparison, age: int, last_row_at: int) -> Coverage:
    return covered(
        comparison,
        walked_at=SENT + age,
        last_row_at=last_row_at,
        release_after=RELEASE,
        settle_after=SETTLE,
    )


DOUBT = a_job("doubt", State.IN_DOUBT)
KNOWN = a_job("known", State.STORED, sent_at=SENT + 10 * NEAR_MS, accepted_at=SENT + 10 * NEAR_MS)


def test_a_doubt_that_the_bill_does_not_show_is_released_after_a_while_and_not_before() -> None:
    assert verdict(DOUBT, [], age=RELEASE - 1).act is Act.WAIT
    assert verdict(DOUBT, [], age=RELEASE).event is Event.DECIDE_UNBILLED


def test_a_bill_that_lacks_a_sure_purchase_is_late_and_its_silence_proves_nothing() -> None:
    waits = verdict(DOUBT, [], age=2 * HOUR, others=[KNOWN])
    assert waits.act is Act.WAIT
    # Any later row of the account shows that the bill has come so far.
    later = a_row("chat", at=SENT + 2 * NEAR_MS, amount=Money(1))
    assert verdict(DOUBT, [later], age=2 * HOUR, others=[KNOWN]).event is Event.DECIDE_UNBILLED
    # A day later it is no delay any more, but a difference.
    assert verdict(DOUBT, [], age=2 * LAG_MS_MAX, others=[KNOWN]).event is Event.DECIDE_UNBILLED


def test_a_doubt_that_the_bill_shows_is_settled_at_once_for_what_was_billed() -> None:
    found = verdict(DOUBT, [a_row("r")], age=1_000)
    assert found.event is Event.DECIDE_BILLED


def test_a_doubt_that_was_billed_and_refunded_is_released_at_once() -> None:
    rows = [a_row("r"), a_row("r", at=SENT + 9_000, amount=Money(-60_000))]
    assert verdict(DOUBT, rows, age=10_000).event is Event.DECIDE_UNBILLED


def test_something_like_it_keeps_a_doubt_until_it_is_settled_in_the_end() -> None:
    alike = [a_row("r", amount=Money(70_000))]
    assert verdict(DOUBT, alike, age=SETTLE - 1).act is Act.WAIT
    assert verdict(DOUBT, alike, age=SETTLE).event is Event.DECIDE_BILLED


def test_a_row_that_can_be_no_other_jobs_gives_a_doubt_its_queue_id() -> None:
    rows = [a_row("q-known", at=KNOWN.sent_at), a_row("q-doubt")]
    assert verdict(DOUBT, rows, age=HOUR, others=[KNOWN]).event is Event.IDENTIFY
    # Nobody may get another's video: with two that it could be, only the money is settled.
    twin = a_job("twin", State.IN_DOUBT, sent_at=SENT + 400)
    found = [verdict(job, rows, age=HOUR, others=[KNOWN, other]) for job, other in
             ((DOUBT, twin), (twin, DOUBT))]  # fmt: skip
    assert {each.event for each in found} <= {Event.DECIDE_BILLED, Event.DECIDE_UNBILLED}
    # Where no id was ever seen to be a queue_id, an id is only an id.
    assert verdict(DOUBT, rows[1:], age=HOUR).event is Event.DECIDE_BILLED


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (State.REFUSED, Event.FIND_BILLED),
        (State.RELEASED_IN_DOUBT, Event.DECIDE_BILLED),
        (State.FAILED_REFUNDED, Event.FIND_BILLED),
    ],
)
def test_what_was_released_and_is_on_the_bill_is_settled(state: State, event: Event) -> None:
    job = a_job("j", state)
    assert verdict(job, [a_row(job.queue_id or "r")], age=HOUR).event is event


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (State.FAILED_BILLED, Event.FIND_UNBILLED),
        (State.SETTLED_IN_DOUBT, Event.DECIDE_UNBILLED),
        (State.STORED, None),
        (State.LOST, None),
    ],
)
def test_what_was_settled_and_is_refunded_on_the_bill_is_given_back(
    state: State, event: Event | None
) -> None:
    job = a_job("j", state)
    name = job.queue_id or "r"
    found = verdict(job, [a_row(name), a_row(name, at=SENT + 9, amount=Money(-60_000))], age=HOUR)
    assert (found.act, found.event) == (Act.MOVE if event else Act.CORRECT, event)


def test_what_the_bill_does_not_show_is_reported_and_never_given_back() -> None:
    job = a_job("j", State.STORED)
    assert verdict(job, [], age=60_000).act is Act.WAIT
    assert verdict(job, [], age=RELEASE + 900).act is Act.REPORT
    later = a_row("chat", at=SENT + 5_000, amount=Money(1))
    assert verdict(job, [later], age=60_000).act is Act.REPORT


def test_a_refund_of_more_than_was_charged_is_only_reported() -> None:
    rows = [a_row("q-j"), a_row("q-j", amount=Money(-90_000))]
    assert verdict(a_job("j", State.STORED), rows, age=HOUR).act is Act.REPORT


@pytest.mark.parametrize("state", [State.SENDING, State.PROCESSING, State.FETCHING])
def test_a_job_in_the_making_is_left_alone(state: State) -> None:
    job = a_job("j", state)
    assert verdict(job, [], age=HOUR).act is Act.WAIT
    assert verdict(job, [a_row("q-j", amount=Money(70_000))], age=HOUR).act is Act.WAIT
    assert verdict(job, [a_row("q-j")], age=HOUR).act is Act.NOTHING


@pytest.mark.parametrize("state", [each for each in State if each is not State.RESERVED])
@pytest.mark.parametrize("finding", list(Finding))
@pytest.mark.parametrize("billed", [ZERO, PRICE, Money(1), Money(-1)])
def test_every_event_it_calls_for_is_in_the_jobs_table(
    state: State, finding: Finding, billed: Money
) -> None:
    if (finding in (Finding.BILLED, Finding.UNBILLED, Finding.UNCLEAR)) != (
        state is State.IN_DOUBT
    ):
        return
    match = Match(a_job("j", state), finding, billed, "r", is_certain=True)
    for ids_are_queue_ids in (False, True):
        coverage = coverage_of(Comparison([], [], ids_are_queue_ids), SETTLE, 0)
        found = judge(match, coverage, ids_are_queue_ids=ids_are_queue_ids)
        assert found.event is None or (state, found.event) in JOB_TABLE
        assert (found.act is Act.MOVE) == (found.event is not None)
