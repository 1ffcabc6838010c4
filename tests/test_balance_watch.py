"""The organization's balance: what it cannot pay is refused, and nothing for any other reason."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, cast

import pytest

from gateway.balance_watch import (
    FRESH_SECONDS,
    HURRY_SECONDS,
    IDLE_SECONDS,
    REFUSED_SECONDS,
    USABLE_SECONDS,
    BalanceWatch,
)
from gateway.core.errors import OrganizationBroke
from gateway.core.job import Holding, State
from gateway.core.money import ZERO, Money
from gateway.core.retry import Endpoint, Outcome
from gateway.metrics import Metrics
from gateway.ports import Reply, Upstream
from gateway.records import Job
from tests.upstream.still_clock import StillClock

PRICE = Money(60_000)
REFUSED = Reply(Outcome.REFUSED, 401)


def billing(usd: str | None, currency: str | None = "USD", diem: str | None = None) -> Reply:
    amounts = {"usd": usd, "diem": diem}
    balances = {name: None if text is None else Decimal(text) for name, text in amounts.items()}
    document = {"canConsume": True, "consumptionCurrency": currency, "balances": balances}
    return Reply(Outcome.OK, 200, b"", document)


def rate_limits(usd: str, diem: str = "0") -> Reply:
    balances = {"USD": Decimal(usd), "DIEM": Decimal(diem)}
    return Reply(Outcome.OK, 200, b"", {"data": {"balances": balances}})


@dataclass
class Account:
    """Venice's side, and a watch on it."""

    answers: dict[Endpoint, Reply]
    clock: StillClock = field(default_factory=StillClock)
    metrics: Metrics = field(default_factory=Metrics)
    asked: list[Endpoint] = field(default_factory=list)
    spent: Money = ZERO
    has_key: bool = True

    def __post_init__(self) -> None:
        self.watch = BalanceWatch(
            cast(Upstream, self),
            self.clock,
            self.metrics,
            has_billing_key=lambda: self.has_key,
            spent_since=self._spent_since,
        )

    async def _spent_since(self, _at: int) -> Money:
        return self.spent

    async def get(self, endpoint: Endpoint, _deadline: float) -> Reply:
        self.asked.append(endpoint)
        return self.answers.get(endpoint, REFUSED)

    async def look(self, seconds: float = 0) -> int:
        """Let time pass, make a round; how often Venice was asked in all."""
        await self.clock.advance(seconds)
        await self.watch.run_once()
        return len(self.asked)

    def job(self, name: str, state: State = State.RESERVED, **changes: Any) -> Job:
        """A job as the watch learns of it."""
        job = Job(
            name, "ann", "k", "m", state, Holding.RESERVED, self.clock.now(), quote=PRICE, **changes
        )
        self.watch.follow(job)
        return job

    def moved(self, job: Job, state: State, **changes: Any) -> Job:
        """The same job, moved on."""
        job = replace(job, state=state, **changes)
        self.watch.follow(job)
        return job


def account(usd: str) -> Account:
    return Account({Endpoint.BALANCE: billing(usd)})


async def test_as_many_orders_are_let_through_as_the_balance_pays() -> None:
    home = account("0.19")
    await home.look()
    with ExitStack() as orders:
        for _ in range(3):
            orders.enter_context(home.watch.claim(PRICE))
        with pytest.raises(OrganizationBroke) as refused, home.watch.claim(PRICE):
            pass
        # Neither how much is there nor how much is missing is for users to know.
        assert "0.1" not in str(refused.value)
        assert "administrator must top up" in str(refused.value)
    # None of them was reserved after all.
    assert home.watch.covers(Money(190_000))
    assert not home.watch.covers(Money(190_001))


async def test_a_job_that_venice_has_billed_already_is_not_counted_twice() -> None:
    home = account("0.12")
    await home.look()
    job = home.job("a")
    assert not home.watch.covers(Money(60_001))
    job = home.moved(job, State.SENDING, sent_at=home.clock.now())
    await home.clock.advance(1)
    job = home.moved(job, State.PROCESSING, accepted_at=home.clock.now())
    assert not home.watch.covers(Money(60_001))
    # Venice took it before it was asked again: what it says now is without that price.
    home.answers[Endpoint.BALANCE] = billing("0.06")
    await home.look(FRESH_SECONDS)
    assert home.watch.covers(PRICE)
    assert not home.watch.covers(Money(60_001))
    home.moved(job, State.STORED)
    assert home.watch.covers(PRICE)


async def test_a_job_that_was_taken_since_the_balance_was_asked_for_counts_however_it_went_on() -> (
    None
):
    home = account("0.12")
    await home.look()
    await home.clock.advance(1)
    job = home.job("a", State.SENDING, sent_at=home.clock.now())
    job = home.moved(job, State.PROCESSING, accepted_at=home.clock.now())
    job = home.moved(job, State.FETCHING)
    job = home.moved(job, State.STORED)
    assert not home.watch.covers(Money(60_001))
    doubt = home.job("b", State.SENDING, sent_at=home.clock.now())
    home.moved(doubt, State.IN_DOUBT)
    assert not home.watch.covers(Money(1))


@pytest.mark.parametrize("state", [State.RELEASED, State.REFUSED, State.FAILED_REFUNDED])
async def test_what_venice_took_nothing_for_is_free_again(state: State) -> None:
    home = account("0.06")
    await home.look()
    await home.clock.advance(1)
    job = home.job("a", State.SENDING, sent_at=home.clock.now())
    assert not home.watch.covers(Money(1))
    home.moved(job, state)
    assert home.watch.covers(PRICE)


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {Endpoint.BALANCE: billing("0", "DIEM", "90.5")},
        {Endpoint.BALANCE: billing("0", "USD", "1")},
        {Endpoint.BALANCE: billing("0", "BUNDLED_CREDITS")},
        {Endpoint.BALANCE: billing("0", None)},
        {Endpoint.BALANCE: billing(None)},
        {Endpoint.RATE_LIMITS: rate_limits("0", diem="3")},
        {Endpoint.BALANCE: Reply(Outcome.OK, 200, b"", {"balances": "none"})},
        {Endpoint.BALANCE: Reply(Outcome.LOST)},
    ],
)
async def test_who_pays_otherwise_or_is_not_known_is_not_locked_out(
    answers: dict[Endpoint, Reply],
) -> None:
    home = Account(answers)
    await home.look()
    with home.watch.claim(Money(10**12)):
        assert home.watch.low is None


async def test_a_balance_of_nothing_is_low_though_nothing_was_spent_yet() -> None:
    home = Account({Endpoint.BALANCE: billing("0", "USD")})
    await home.look()
    assert home.watch.low is not None
    assert home.metrics.org_balance_limits._value.get() == 1
    other = Account({Endpoint.BALANCE: billing("0", "DIEM", "90.5")})
    await other.look()
    assert other.watch.low is None
    assert other.metrics.org_balance_limits._value.get() == 0


async def test_without_a_billing_key_the_balance_is_that_of_the_key() -> None:
    home = Account({Endpoint.RATE_LIMITS: rate_limits("0.06")}, has_key=False)
    await home.look()
    assert home.asked == [Endpoint.RATE_LIMITS]
    assert home.watch.covers(PRICE)
    assert not home.watch.covers(Money(60_001))
    assert home.metrics.org_balance._value.get() == pytest.approx(0.06)


async def test_a_billing_key_that_is_refused_leaves_the_balance_of_the_key() -> None:
    home = Account({Endpoint.RATE_LIMITS: rate_limits("0.06")})
    await home.look()
    assert home.asked == [Endpoint.BALANCE, Endpoint.RATE_LIMITS]
    assert not home.watch.covers(Money(60_001))


async def test_what_headers_tell_counts_where_nothing_else_is_told() -> None:
    home = Account({})
    await home.look()
    home.watch.heed({"x-venice-balance-usd": "0.05"})
    assert home.metrics.org_balance._value.get() == pytest.approx(0.05)
    assert home.watch.covers(PRICE), "whether DIEM pays is not told"
    await home.clock.advance(10 * FRESH_SECONDS)
    home.watch.heed({"x-venice-balance-usd": "0.05", "x-venice-balance-diem": "0"})
    assert not home.watch.covers(PRICE)


async def test_it_is_asked_by_age_while_orders_come_and_seldom_without() -> None:
    home = account("5")
    assert await home.look() == 1
    assert await home.look(FRESH_SECONDS) == 1
    home.job("a", State.SENDING, sent_at=home.clock.now())
    assert await home.look() == 2
    assert await home.look(FRESH_SECONDS) == 2
    assert await home.look(IDLE_SECONDS) == 3


async def test_a_refusal_makes_it_look_again_soon_and_a_top_up_lets_orders_in() -> None:
    home = account("0.01")
    await home.look()
    for _ in range(100):
        with pytest.raises(OrganizationBroke), home.watch.claim(PRICE):
            pass
        await home.look(HURRY_SECONDS / 100)
    assert len(home.asked) <= 2
    home.answers[Endpoint.BALANCE] = billing("5")
    assert not home.watch.covers(PRICE)
    await home.look(HURRY_SECONDS)
    with pytest.raises(OrganizationBroke), home.watch.claim(Money(6_000_000)):
        pass
    await home.look(HURRY_SECONDS)
    assert home.watch.covers(PRICE)


async def test_a_balance_that_is_too_old_refuses_nobody() -> None:
    home = account("0.01")
    await home.look()
    home.answers.clear()
    await home.look(USABLE_SECONDS)
    assert not home.watch.covers(PRICE)
    await home.look(1)
    assert home.watch.covers(PRICE)


async def test_fewer_than_three_days_at_the_last_ones_pace_are_low() -> None:
    home = account("2.99")
    home.spent = Money(1_000_000)
    await home.look()
    assert home.watch.low == "2.990000 USD are left at Venice, and 1.000000 USD were spent in a day"
    home.answers[Endpoint.BALANCE] = billing("3")
    await home.look(2 * IDLE_SECONDS)
    assert home.watch.low is None


async def test_an_order_that_was_refused_for_it_is_a_reason_to_look_for_a_while() -> None:
    """Not only until the next answer of Venice's, which may come before anybody has looked."""
    home = account("0.01")
    await home.look()
    with pytest.raises(OrganizationBroke), home.watch.claim(Money(10**9)):
        pytest.fail("it was let through")
    await home.look(HURRY_SECONDS)
    assert home.watch.low is not None
    assert "is not covered" in home.watch.low
    await home.look(REFUSED_SECONDS)
    assert home.watch.low is None
