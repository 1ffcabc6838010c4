"""The retry table, cell by cell, and the properties of its waits and its share."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.retry import (
    FAILED_OUTCOMES,
    NOT_ACCEPTED,
    Endpoint,
    GiveUp,
    Outcome,
    RetryRules,
    RetryShare,
    SendAgain,
    decide,
    may_send_again,
    stated_wait,
)

NOW = 1_790_000_000.0
RULES = RetryRules()
FREE = (
    Endpoint.MODELS,
    Endpoint.RETRIEVE,
    Endpoint.COMPLETE,
    Endpoint.BALANCE,
    Endpoint.RATE_LIMITS,
    Endpoint.USAGE,
    Endpoint.DOWNLOAD,
)
YES, NO, ONCE, STATED = "yes", "no", "once", "stated"
TABLE = {
    # outcome: (models, retrieve, complete and their like; quote; queue), as in the design
    Outcome.OK: (NO, NO, NO),
    Outcome.REFUSED: (NO, NO, NO),
    Outcome.NEVER_ARRIVED: (YES, YES, YES),
    Outcome.RATE_LIMITED: (YES, YES, YES),
    Outcome.BLOCKED: (YES, YES, YES),
    Outcome.SERVER_ERROR: (YES, YES, ONCE),
    Outcome.UNAVAILABLE: (YES, YES, STATED),
    Outcome.LOST: (YES, YES, NO),
    Outcome.NONSENSE: (YES, NO, NO),
}
CELLS = [
    (endpoint, outcome, cell)
    for outcome, (free, quote, queue) in TABLE.items()
    for endpoint, cell in [
        *((endpoint, free) for endpoint in FREE),
        (Endpoint.QUOTE, quote),
        (Endpoint.QUEUE, queue),
    ]
]

endpoints = st.sampled_from(Endpoint)
outcomes = st.sampled_from(Outcome)
seconds = st.floats(0, 120, allow_nan=False)


def test_the_table_covers_every_endpoint_and_outcome() -> None:
    assert len(CELLS) == len(Endpoint) * len(Outcome)


@pytest.mark.parametrize(("endpoint", "outcome", "cell"), CELLS)
def test_only_what_the_table_allows_is_sent_again(
    endpoint: Endpoint, outcome: Outcome, cell: str
) -> None:
    for attempt, stated in product((1, 2), (True, False)):
        expected = {YES: True, NO: False, ONCE: attempt == 1, STATED: stated}[cell]
        assert may_send_again(endpoint, outcome, attempt=attempt, stated=stated) is expected
        decision = decide(
            endpoint,
            outcome,
            attempt=attempt,
            stated_wait=1.0 if stated else None,
            time_left=1_000.0,
            jitter=0.5,
            rules=RULES,
        )
        assert isinstance(decision, SendAgain) is expected
        assert decision.reason is outcome


@settings(deadline=None)
@given(
    outcomes,
    st.integers(1, 10),
    st.none() | st.floats(1, 60),
    seconds,
    st.floats(0, 1, exclude_max=True),
)
def test_an_order_that_may_have_arrived_is_never_sent_again(
    outcome: Outcome, attempt: int, wait: float | None, left: float, jitter: float
) -> None:
    decision = decide(
        Endpoint.QUEUE,
        outcome,
        attempt=attempt,
        stated_wait=wait,
        time_left=left,
        jitter=jitter,
        rules=RetryRules(attempts=11),
    )
    if outcome not in NOT_ACCEPTED:
        assert decision == GiveUp(outcome)


@settings(deadline=None)
@given(endpoints, outcomes, st.integers(1, 10), st.none() | st.floats(1, 60), seconds)
def test_a_retry_waits_at_least_as_told_and_fits_the_deadline(
    endpoint: Endpoint, outcome: Outcome, attempt: int, wait: float | None, left: float
) -> None:
    for jitter in (0.0, 0.5, 0.999):
        decision = decide(
            endpoint,
            outcome,
            attempt=attempt,
            stated_wait=wait,
            time_left=left,
            jitter=jitter,
            rules=RULES,
        )
        if isinstance(decision, SendAgain):
            assert attempt < RULES.attempts
            assert (wait or 0.0) <= decision.after < left
            assert decision.after <= (wait or 0.0) + RULES.cap


@pytest.mark.parametrize(("attempt", "most"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 20.0), (9, 20.0)])
def test_the_backoff_doubles_up_to_its_cap_with_full_jitter(attempt: int, most: float) -> None:
    def after(jitter: float) -> float:
        decision = decide(
            Endpoint.QUOTE,
            Outcome.LOST,
            attempt=attempt,
            stated_wait=None,
            time_left=100.0,
            jitter=jitter,
            rules=RetryRules(attempts=10),
        )
        assert isinstance(decision, SendAgain)
        return decision.after

    assert after(0.0) == 0.0
    assert after(0.999) == pytest.approx(most, rel=0.01)


def test_the_policy_may_forbid_the_second_order_after_a_500() -> None:
    decision = decide(
        Endpoint.QUEUE,
        Outcome.SERVER_ERROR,
        attempt=1,
        stated_wait=None,
        time_left=100.0,
        jitter=0.0,
        rules=RetryRules(queue_on_500=False),
    )
    assert decision == GiveUp(Outcome.SERVER_ERROR)


def test_what_venice_counts_as_failed_is_all_but_a_success_and_what_it_never_saw() -> None:
    assert set(Outcome) - FAILED_OUTCOMES == {Outcome.OK, Outcome.NEVER_ARRIVED}


def test_an_order_bought_nothing_only_where_that_is_certain() -> None:
    assert set(Outcome) - NOT_ACCEPTED == {Outcome.OK, Outcome.LOST, Outcome.NONSENSE}


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 1.0),
        ({"retry-after": "-5"}, 1.0),
        ({"retry-after": "3600"}, 60.0),
        ({"retry-after": "soon"}, 60.0),
        ({"retry-after": ""}, 60.0),
        ({"retry-after": "nan"}, 60.0),
        ({"retry-after": "inf"}, 60.0),
        ({"retry-after": "1e999"}, 60.0),
        ({"retry-after": "-inf"}, 1.0),
        ({"retry-after": format_datetime(datetime.fromtimestamp(NOW + 9, UTC), usegmt=True)}, 9.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 60.0),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}, 1.0),
        ({"retry-after": "Mon, 99 Jan 2026 00:00:00 GMT"}, 60.0),
        ({"x-ratelimit-resets": "30"}, 30.0),
        ({"x-ratelimit-reset-requests": str(int(NOW) + 12)}, 12.0),
        ({"x-ratelimit-reset-requests": str(int(NOW + 12) * 1000)}, 12.0),
        ({"x-ratelimit-reset-requests": str(int(NOW) - 500)}, 1.0),
        ({"x-ratelimit-reset-requests": "253402300799"}, 60.0),
        ({"x-ratelimit-reset-requests": "20"}, 20.0),
        ({"retry-after": "2", "x-ratelimit-resets": "30"}, 2.0),
        ({"x-ratelimit-resets": "30", "x-ratelimit-reset-requests": "5"}, 30.0),
    ],
)
def test_a_stated_wait_is_read_in_every_form_and_clamped(
    headers: dict[str, str], wait: float | None
) -> None:
    assert stated_wait(headers, NOW) == wait


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "x-ratelimit-resets", "x-ratelimit-reset-requests"]),
        st.text(max_size=40) | st.floats().map(str) | st.datetimes().map(format_datetime),
        min_size=1,
    )
)
def test_no_text_makes_the_wait_shorter_than_a_second_or_longer_than_a_minute(
    headers: dict[str, str],
) -> None:
    wait = stated_wait(headers, NOW)
    assert wait is not None
    assert 1.0 <= wait <= 60.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=300))
def test_retries_stay_within_their_share_of_any_minute(steps: list[tuple[float, bool]]) -> None:
    share = RetryShare()
    now = 0.0
    calls: list[float] = []
    retries: list[float] = []
    for pause, is_retry in steps:
        now += pause
        if not is_retry:
            share.count_call(now)
            calls.append(now)
        elif share.take(now):
            retries.append(now)
            recent = [at for at in retries if at > now - 60]
            allowed = max(3, len([at for at in calls if at > now - 60]) // 10)
            assert len(recent) <= allowed


def test_a_dead_upstream_costs_at_most_a_tenth_more_calls() -> None:
    share = RetryShare()
    sent = 0
    for request in range(300):
        now = request * 0.2
        share.count_call(now)
        sent += 1
        for _ in range(2):
            sent += share.take(now)
    assert sent <= 330


def test_a_quiet_gateway_may_retry_three_times_a_minute() -> None:
    share = RetryShare()
    share.count_call(0.0)
    assert [share.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not share.take(59.9)
    assert share.take(60.0)


def test_the_share_remembers_no_more_than_a_minute() -> None:
    share = RetryShare()
    for second in range(10_000):
        share.count_call(float(second))
    assert len(share._calls) == 60
