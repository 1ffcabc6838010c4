"""The breaker: eight failures in a row, ten seconds of peace, one probe."""

from __future__ import annotations

import pytest

from gateway.core.retry import Outcome
from gateway.upstream.breaker import (
    BROKEN_OUTCOMES,
    FAILURES_IN_A_ROW,
    OPEN_SECONDS,
    Breaker,
    Permission,
)


def call(breaker: Breaker, outcome: Outcome | None, now: float) -> None:
    permission = breaker.enter(now)
    assert permission is not None
    breaker.leave(permission, outcome, now)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW):
        call(breaker, Outcome.LOST, now)
    return breaker


@pytest.mark.parametrize("outcome", sorted(BROKEN_OUTCOMES))
def test_the_eighth_failure_in_a_row_opens_it_for_ten_seconds(outcome: Outcome) -> None:
    breaker = Breaker()
    for _ in range(8):
        assert not breaker.is_open
        call(breaker, outcome, 0.0)
    assert breaker.is_open
    assert breaker.enter(9.99) is None
    assert breaker.enter(10.0) == Permission(is_probe=True)


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - BROKEN_OUTCOMES))
def test_an_answer_of_a_working_endpoint_ends_the_row(outcome: Outcome) -> None:
    breaker = Breaker()
    for _ in range(5):
        for _ in range(FAILURES_IN_A_ROW - 1):
            call(breaker, Outcome.UNAVAILABLE, 0.0)
        call(breaker, outcome, 0.0)
    assert not breaker.is_open


def test_only_one_probe_goes_at_a_time_and_a_good_one_closes() -> None:
    breaker = opened()
    probe = breaker.enter(OPEN_SECONDS)
    assert probe is not None
    assert breaker.enter(OPEN_SECONDS) is None
    breaker.leave(probe, Outcome.OK, OPEN_SECONDS + 1)
    assert not breaker.is_open
    assert breaker.enter(OPEN_SECONDS + 1) == Permission(is_probe=False)


def test_a_bad_probe_keeps_it_open_for_another_ten_seconds() -> None:
    breaker = opened()
    call(breaker, Outcome.NEVER_ARRIVED, OPEN_SECONDS + 5)
    assert breaker.enter(2 * OPEN_SECONDS + 4.9) is None
    assert breaker.enter(2 * OPEN_SECONDS + 5) is not None


def test_a_probe_that_was_never_sent_lets_another_try() -> None:
    breaker = opened()
    call(breaker, None, OPEN_SECONDS)
    assert breaker.is_open
    assert breaker.enter(OPEN_SECONDS) == Permission(is_probe=True)


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.OK, None])
def test_news_of_calls_from_before_it_opened_changes_nothing(outcome: Outcome | None) -> None:
    breaker = Breaker()
    old = breaker.enter(0.0)
    assert old is not None
    for _ in range(FAILURES_IN_A_ROW):
        call(breaker, Outcome.LOST, 0.0)
    breaker.leave(old, outcome, 5.0)
    assert breaker.enter(9.9) is None
    assert breaker.enter(10.0) is not None


def test_it_says_how_it_stands() -> None:
    assert repr(opened(2.0)) == "<Breaker open until 12.0, 8 failures in a row>"
    assert repr(Breaker()) == "<Breaker closed, 0 failures in a row>"
