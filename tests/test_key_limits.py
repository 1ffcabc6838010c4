"""The gate stays below the limits that are known: the policy's, else Venice's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from gateway.core.pacing import GateLimits
from gateway.core.policy import VeniceRules
from gateway.core.retry import Endpoint, Outcome
from gateway.key_limits import STATED_SECONDS, KeyLimits
from gateway.ports import NoPlace, Reply, Upstream
from gateway.workers.limits_reader import FRESH_SECONDS, RETRY_SECONDS, LimitsReader
from tests.upstream.still_clock import StillClock

AUTO = VeniceRules()
SET_HERE = VeniceRules(queue_per_minute=20, retrieve_per_minute=60)


def told(orders: int) -> Reply:
    """What Venice publishes."""
    limits = [{"apiModelId": "video", "rateLimits": [{"amount": orders, "type": "RPM"}]}]
    return Reply(Outcome.OK, 200, b"", {"data": {"rateLimits": limits}})


@dataclass
class Told:
    """Venice, asked for limits only: answers in turn, the last one for ever."""

    replies: list[Reply | Exception]
    asked: list[Endpoint] = field(default_factory=list)

    async def get(self, endpoint: Endpoint, _deadline: float) -> Reply:
        self.asked.append(endpoint)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply


class House:
    """Limits with a reader, and what the gate was told."""

    def __init__(self, rules: VeniceRules, *replies: Reply | Exception) -> None:
        self.clock = StillClock()
        self.rules = rules
        self.venice = Told(list(replies) or [told(40)])
        self.limits = KeyLimits(self.clock, lambda: self.rules)
        self.gate: list[GateLimits] = []
        self.limits.follow(self.gate.append)
        upstream = cast(Upstream, self.venice)
        self.reader = LimitsReader(upstream, self.limits, self.clock, lambda m: m == "video")

    def state(self, endpoint: Endpoint, limit: int, **more: str) -> None:
        """An answer comes with these headers."""
        headers: Mapping[str, Any] = {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-reset-requests": str(self.clock.now() + 30_000),
            **more,
        }
        self.limits.heed(endpoint, headers)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_venice_publishes_moves_the_gate() -> None:
    house = House(AUTO, told(60))
    assert str(house.limits) == (
        "queue 38 of 40 a minute (documented), retrieve 114 of 120 a minute (documented)"
    )
    await house.reader.run_once()
    assert house.limits.current == GateLimits(57, 114, 15, 5)
    assert house.gate == [house.limits.current]
    assert "queue 57 of 60 a minute (published)" in str(house.limits)


async def test_a_policys_number_stands_whatever_venice_says_and_asks_nobody() -> None:
    house = House(SET_HERE, told(60))
    house.state(Endpoint.QUEUE, 60)
    await house.reader.run_once()
    assert house.venice.asked == []
    assert house.gate == []
    assert house.limits.current == GateLimits(19, 57, 15, 5)
    house.rules = AUTO
    house.limits.refresh()
    assert house.gate == [GateLimits(57, 114, 15, 5)]


async def test_limits_are_read_again_when_they_are_old() -> None:
    house = House(AUTO, told(40), told(20))
    await house.reader.run_once()
    await house.clock.advance(FRESH_SECONDS - 1)
    await house.reader.run_once()
    assert len(house.venice.asked) == 1
    await house.clock.advance(1)
    await house.reader.run_once()
    assert (len(house.venice.asked), house.limits.current.queue) == (2, 19)


@pytest.mark.parametrize(
    ("reply", "again"),
    [
        (NoPlace("no"), RETRY_SECONDS),
        (Reply(Outcome.NEVER_ARRIVED), RETRY_SECONDS),
        (Reply(Outcome.REFUSED, 401), FRESH_SECONDS),
        (Reply(Outcome.OK, 200, b"", {"data": []}), FRESH_SECONDS),
    ],
)
async def test_where_venice_says_nothing_the_documented_limits_hold(
    reply: Reply | Exception, again: float
) -> None:
    house = House(AUTO, reply, told(60))
    await house.reader.run_once()
    assert (house.limits.current, house.gate) == (GateLimits(), [])
    await house.clock.advance(again - 1)
    await house.reader.run_once()
    assert len(house.venice.asked) == 1
    await house.clock.advance(1)
    await house.reader.run_once()
    assert house.limits.current.queue == 57


def test_the_headers_of_answers_state_limits_too_and_the_lower_one_counts() -> None:
    house = House(AUTO)
    house.limits.publish(60)
    house.state(Endpoint.QUEUE, 50)
    house.state(Endpoint.RETRIEVE, 100)
    assert house.limits.current == GateLimits(47, 95, 15, 5)
    house.state(Endpoint.QUEUE, 80)
    assert house.limits.current.queue == 47, "of two models the stricter one"
    house.state(Endpoint.QUOTE, 1)
    assert "queue 47 of 50 a minute (stated)" in str(house.limits)


async def test_a_higher_number_counts_when_the_lower_one_was_not_heard_again() -> None:
    house = House(AUTO)
    house.state(Endpoint.QUEUE, 20)
    await house.clock.advance(STATED_SECONDS)
    house.state(Endpoint.QUEUE, 60)
    assert house.limits.current.queue == 57


async def test_another_key_is_another_matter() -> None:
    house = House(AUTO, told(60))
    await house.reader.run_once()
    house.state(Endpoint.RETRIEVE, 20)
    house.limits.forget()
    house.reader.hurry()
    assert house.limits.current == GateLimits()
    await house.reader.run_once()
    assert house.limits.current.queue == 57
