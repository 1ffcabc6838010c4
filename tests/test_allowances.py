"""Callers have limits of their own: all keys of a user together, and each key where one is set."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.allowances import Allowances
from gateway.core.errors import RateLimited
from gateway.core.policy import Rulebook
from gateway.records import Caller, Key, User
from tests.upstream.still_clock import StillClock

ANN = User("ann")
ONE, TWO = (Caller(ANN, Key(name, "ann", name)) for name in ("one", "two"))


class House:
    """Allowances under one policy."""

    def __init__(self, rate: dict[str, Any], **policy: Any) -> None:
        self.clock = StillClock()
        policies = {"default": {"rate": rate, **policy}}
        rulebook = Rulebook.model_validate({"version": 1, "policies": policies})
        self.allowances = Allowances(self.clock, lambda: rulebook)

    def passes(self, caller: Caller, times: int) -> int:
        """How many of so many requests pass."""
        passed = 0
        for _ in range(times):
            try:
                self.allowances.take_request(caller)
            except RateLimited:
                continue
            passed += 1
        return passed

    def order(self, caller: Caller, active: int = 0, active_of_key: int = 0) -> None:
        self.allowances.take_order(caller, active=active, active_of_key=active_of_key)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_more_keys_are_no_more_requests() -> None:
    house = House({"requests_per_minute": 10})
    assert (house.passes(ONE, 8), house.passes(TWO, 8)) == (8, 2)


def test_one_key_cannot_use_up_what_all_of_them_may() -> None:
    house = House({"requests_per_minute": 10, "each_key": {"requests_per_minute": 6}})
    assert (house.passes(ONE, 9), house.passes(TWO, 9)) == (6, 4)


async def test_a_refused_call_counts_against_neither_user_nor_key() -> None:
    house = House({"requests_per_minute": 4, "each_key": {"requests_per_minute": 3}})
    assert (house.passes(ONE, 9), house.passes(TWO, 9)) == (3, 1)
    await house.clock.advance(61)
    assert (house.passes(TWO, 9), house.passes(ONE, 9)) == (3, 1)


@pytest.mark.parametrize(
    ("active", "of_key", "says"),
    [(5, 0, "You have 5 videos"), (3, 2, "This key has 2 videos"), (4, 1, None)],
)
def test_videos_in_the_making_are_limited_by_user_and_by_key(
    active: int, of_key: int, says: str | None
) -> None:
    house = House({"active_jobs": 5, "each_key": {"active_jobs": 2}})
    if says is None:
        house.order(ONE, active, of_key)
        return
    with pytest.raises(RateLimited, match=says) as refused:
        house.order(ONE, active, of_key)
    assert refused.value.rule == "active_jobs"


def test_a_key_that_has_ordered_enough_is_told_whose_limit_it_was() -> None:
    house = House({"each_key": {"queue_per_minute": 1}})
    house.order(ONE)
    with pytest.raises(RateLimited, match="1 queue for each key in a minute") as refused:
        house.order(ONE)
    assert (refused.value.standing.limit, refused.value.standing.remaining) == (1, 0)
    house.order(TWO)


def test_polls_count_among_polls_alone() -> None:
    house = House({"requests_per_minute": 1, "polls_per_minute": 3, "each_key": {}})
    for _ in range(3):
        house.allowances.take_poll(ONE)
    with pytest.raises(RateLimited):
        house.allowances.take_poll(ONE)
    assert house.passes(ONE, 2) == 1


def test_limits_that_are_only_observed_are_logged_and_refuse_nothing() -> None:
    rate = {"active_jobs": 1, "each_key": {"active_jobs": 1, "requests_per_minute": 1}}
    house = House(rate, observe=["rate"])
    with capture_logs() as told:
        assert house.passes(ONE, 3) == 3
        house.order(ONE, 1, 1)
    assert [each["rule"] for each in told] == ["requests"] * 2 + ["active_jobs"] * 2
