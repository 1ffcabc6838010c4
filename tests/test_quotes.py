"""Prices: asked once for equal inputs, few at a time, never old, and their drift is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from gateway.core.errors import QuoteUnavailable, UpstreamAuth, UpstreamBusy
from gateway.core.money import Money
from gateway.core.policy import QuoteRules
from gateway.core.pricing import has_drifted
from gateway.core.retry import Outcome
from gateway.metrics import Metrics
from gateway.ports import ModelClosed, NoPlace, Reply, Upstream
from gateway.quotes import AGE_SECONDS_MAX, QuoteBook, Quoted
from tests.order_house import order_house
from tests.upstream.still_clock import StillClock, settle


class Seller:
    """Venice, asked for prices only; what is asked waits for `answer` where it is held."""

    def __init__(self) -> None:
        self.price = Decimal("0.06")
        self.asked = 0
        self.open = self.most_open = 0
        self.answer = asyncio.Event()
        self.answer.set()
        self.fault: Exception | None = None

    async def quote(self, _body: Mapping[str, Any], _user: str, _deadline: float) -> Reply:
        self.asked += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self.answer.wait()
        finally:
            self.open -= 1
        if self.fault is not None:
            raise self.fault
        return Reply(Outcome.OK, 200, b"", {"quote": self.price})


class House:
    """A book of quotes over a seller."""

    def __init__(self, **rules: Any) -> None:
        self.clock = StillClock()
        self.seller = Seller()
        self.metrics = Metrics()
        self.rules = QuoteRules.model_validate(rules)
        upstream = cast(Upstream, self.seller)
        self.book = QuoteBook(upstream, self.clock, self.metrics, lambda: self.rules)

    async def price(self, inputs: str = "wan 5s") -> Money:
        return (await self.ask(inputs)).price

    async def ask(self, inputs: str = "wan 5s") -> Quoted:
        return await self.book.quote({"model": "wan"}, inputs, "ann", 1e9)

    def drifts(self, direction: str) -> float:
        name = "venice_gateway_quote_drifts_total"
        return self.metrics.registry.get_sample_value(name, {"direction": direction}) or 0.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_equal_inputs_are_asked_once_at_a_time_and_then_not_until_they_are_old() -> None:
    house = House(fresh="60s")
    house.seller.answer.clear()
    asking = [asyncio.ensure_future(house.price()) for _ in range(50)]
    await settle()
    assert house.seller.asked == 1
    house.seller.answer.set()
    assert set(await asyncio.gather(*asking)) == {Money(60_000)}
    await house.clock.advance(59.9)
    assert (await house.ask()).is_cached
    await house.clock.advance(0.1)
    assert not (await house.ask()).is_cached
    assert house.seller.asked == 2


async def test_no_more_than_four_questions_are_open() -> None:
    house = House()
    house.seller.answer.clear()
    asking = [asyncio.ensure_future(house.price(f"inputs {n}")) for n in range(20)]
    await settle()
    house.seller.answer.set()
    await asyncio.gather(*asking)
    assert (house.seller.asked, house.seller.most_open) == (20, 4)


async def test_no_policy_makes_a_price_last_longer_than_five_minutes() -> None:
    house = House(fresh="7d")
    await house.price()
    await house.clock.advance(AGE_SECONDS_MAX - 0.1)
    assert (await house.ask()).is_cached
    await house.clock.advance(0.1)
    assert not (await house.ask()).is_cached


async def test_whoever_leaves_takes_no_answer_from_the_others() -> None:
    house = House()
    house.seller.answer.clear()
    first, second = (asyncio.ensure_future(house.price()) for _ in range(2))
    await settle()
    first.cancel()
    house.seller.answer.set()
    assert await second == Money(60_000)


@pytest.mark.parametrize(
    ("before", "now", "drifted"),
    [
        (100, 110, False),
        (100, 111, True),
        (100, 90, False),
        (100, 89, True),
        (0, 0, False),
        (0, 1, True),
        (1, 0, True),
    ],
)
def test_a_price_has_drifted_when_it_differs_by_more_than_the_share(
    before: int, now: int, drifted: bool
) -> None:
    assert has_drifted(Money(before), Money(now), 10) is drifted


async def test_a_price_that_drifts_is_counted_and_both_numbers_are_kept() -> None:
    house = House(drift="10%")
    await house.price()
    house.seller.price = Decimal("0.066")
    await house.clock.advance(61)
    assert (await house.ask()).before is None
    house.seller.price = Decimal("0.12")
    await house.clock.advance(61)
    with capture_logs() as told:
        found = await house.ask()
    assert (found.before, found.price) == (Money(66_000), Money(120_000))
    assert told == [
        {
            "event": "quote.drifted",
            "log_level": "warning",
            "model": "wan",
            "before_usd": "0.066000",
            "now_usd": "0.120000",
        }
    ]
    assert (house.drifts("up"), house.drifts("down")) == (1, 0)
    house.seller.price = Decimal("0.01")
    await house.clock.advance(61)
    await house.price()
    assert house.drifts("down") == 1


async def test_the_reservation_of_a_drifted_price_says_what_it_was_before(tmp_path: Path) -> None:
    async with order_house(tmp_path, quotes={"fresh": "0s"}) as house:
        await house.orders.submit(house.request("one"))
        house.venice.price = Decimal("0.09")
        await house.orders.submit(house.request("two"))
        second, first = await house.jobs()
        told = [(await house.real.entries_of(job.id))[0].reason for job in (first, second)]
    assert told == [None, "Venice quoted 0.060000 before and 0.090000 now"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [(NoPlace("full"), UpstreamBusy), (ModelClosed("no"), UpstreamAuth)],
)
async def test_what_was_not_asked_is_told_as_what_it_is(
    fault: Exception, told: type[Exception]
) -> None:
    house = House()
    house.seller.fault = fault
    with pytest.raises(told):
        await house.price()


async def test_nothing_is_a_price_only_where_the_policy_names_the_model() -> None:
    house = House()
    house.seller.price = Decimal(0)
    with pytest.raises(QuoteUnavailable):
        await house.price()
    free = House(free_models=["wan*"])
    free.seller.price = Decimal(0)
    assert await free.price() == Money(0)
    free.rules = QuoteRules()
    with pytest.raises(QuoteUnavailable):
        await free.price()
