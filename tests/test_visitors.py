"""Wrong keys are counted by who sent them, and only guessing at administration shuts a door."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from gateway.core.errors import RateLimited
from gateway.visitors import ADDRESSES_MAX, FAILURES_PER_MINUTE, Visitors
from tests.upstream.still_clock import StillClock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def fail(visitors: Visitors, address: str, times: int = FAILURES_PER_MINUTE) -> None:
    for _ in range(times):
        visitors.note_failure(address)


async def test_an_address_may_fail_so_often_a_minute_and_is_told_of_once() -> None:
    clock = StillClock()
    visitors = Visitors(clock)
    with capture_logs() as told:
        fail(visitors, "203.0.113.7")
        with pytest.raises(RateLimited) as refused:
            visitors.note_failure("203.0.113.7")
        with pytest.raises(RateLimited):
            visitors.note_failure("203.0.113.7")
        fail(visitors, "203.0.113.8", 5)
    assert [(each["event"], each["client"]) for each in told] == [
        ("authentication.flood", "203.0.113.7")
    ]
    assert refused.value.standing.reset_seconds == 60
    await clock.advance(61.0)
    fail(visitors, "203.0.113.7", 5)


def test_administration_is_shut_to_whoever_guessed_and_to_nobody_else() -> None:
    visitors = Visitors(StillClock())
    visitors.refuse_guessing("203.0.113.7")
    fail(visitors, "203.0.113.7")
    with pytest.raises(RateLimited):
        visitors.refuse_guessing("203.0.113.7")
    visitors.refuse_guessing("203.0.113.8")


def test_all_addresses_of_one_ipv6_network_are_one_guesser() -> None:
    visitors = Visitors(StillClock())
    for number in range(FAILURES_PER_MINUTE):
        visitors.note_failure(f"2a00:1:2:3::{number:x}")
    with pytest.raises(RateLimited):
        visitors.refuse_guessing("2a00:1:2:3:ffff::1")
    visitors.refuse_guessing("2a00:1:2:4::1")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "unknown", "a socket"])
def test_nobody_on_this_machine_is_shut_out_by_another(address: str) -> None:
    visitors = Visitors(StillClock())
    fail(visitors, address, 2 * FAILURES_PER_MINUTE)
    visitors.refuse_guessing(address)


def test_no_number_of_addresses_fills_the_memory() -> None:
    visitors = Visitors(StillClock())
    for number in range(ADDRESSES_MAX + 50):
        visitors.note_failure(f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(visitors._failures) == ADDRESSES_MAX
