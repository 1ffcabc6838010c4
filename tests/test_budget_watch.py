"""Budgets that fill up are told of once per window, and once where they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.budget_watch import SAID_MAX, BudgetWatch
from gateway.core.budget import Calendar, Limit, Passed, Scope, Span, Standing
from gateway.core.errors import BudgetExceeded
from gateway.core.money import ZERO, Money
from gateway.records import Caller, Key, Order, Reserved, User
from tests.handed_in import HandedIn
from tests.order_house import order_house
from tests.upstream.still_clock import NOON_MS, StillClock

DAY = Limit(Scope.USER, "ann", "ann", "day", Money(100))
POOL = Limit(Scope.ORGANIZATION, "organization", "organization", "month", Money(100))
ANN = Caller(User("ann", team="film"), Key("k", "ann", digest=""))
ORDER = Order("j", ANN, "m", "digest", None, ZERO, (), Calendar())
SPAN = Span(NOON_MS - 1_000, NOON_MS + 60_000)


def reached(limit: Limit = DAY, percent: int = 50) -> Reserved:
    """A reservation that lifted a window to a share."""
    share = Passed(limit, percent, Money(50), Money(100), SPAN.end)
    return Reserved(ORDER, NOON_MS, passed=[share])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_a_share_is_told_once_until_its_window_is_over() -> None:
    clock = StillClock()
    handed_in = HandedIn()
    watch = BudgetWatch(clock, handed_in)
    with capture_logs() as told:
        watch.reserved(reached())
        watch.reserved(reached())
        watch.reserved(reached(percent=80))
        watch.reserved(reached(replace(DAY, id="bob", name="bob")))
        clock.wall_ms = SPAN.end
        watch.reserved(reached())
    names = [(each["name"], each["percent"]) for each in told]
    assert names == [("ann", 50), ("ann", 80), ("bob", 50), ("ann", 50)]
    assert told[0] == {
        "event": "budget.threshold",
        "log_level": "warning",
        "scope": "user",
        "name": "ann",
        "window": "day",
        "models": "*",
        "team": "film",
        "percent": 50,
        "used_usd": "0.000050",
        "limit_usd": "0.000100",
    }
    first = handed_in.news[0]
    assert (first.event, first.subject, first.team, first.user) == (
        "budget.threshold",
        "ann",
        "film",
        "ann",
    )
    assert first.facts["percent"] == 50
    # Told anew after a restart within the window, it is known by its key.
    BudgetWatch(clock, handed_in).reserved(reached())
    assert [news.key == first.key for news in handed_in.news] == [True, False, False, True, True]


def test_what_fills_the_organizations_pool_is_no_teams_business() -> None:
    with capture_logs() as told:
        BudgetWatch(StillClock(), HandedIn()).reserved(reached(POOL))
    assert (told[0]["name"], told[0]["team"]) == ("organization", None)


def test_a_window_without_room_is_told_once_however_many_are_refused() -> None:
    clock = StillClock()
    watch = BudgetWatch(clock, HandedIn())
    full = Standing(DAY, SPAN, Money(90), ZERO, ZERO)
    with capture_logs() as told:
        for _ in range(3):
            watch.refused(full, None)
        clock.wall_ms = SPAN.end
        watch.refused(full, None)
    assert [(each["event"], each["used_usd"]) for each in told] == [
        ("budget.exceeded", "0.000090")
    ] * 2


def test_memory_stays_bounded_and_then_tells_twice_rather_than_never() -> None:
    watch = BudgetWatch(StillClock(), HandedIn())
    with capture_logs() as told:
        for number in range(SAID_MAX + 5):
            watch.reserved(reached(replace(DAY, id=str(number))))
        watch.reserved(reached(replace(DAY, id=str(SAID_MAX + 1))))
    assert len(told) == SAID_MAX + 6


async def test_orders_tell_of_the_budgets_they_fill(tmp_path: Path) -> None:
    policy = {"each_user": {"day": "0.12"}, "warn_at": ["50%", "100%"]}
    async with order_house(tmp_path, policy=policy) as house:
        with capture_logs() as told:
            for number in range(2):
                await house.orders.submit(house.request(f"p{number}"))
            with pytest.raises(BudgetExceeded):
                await house.orders.submit(house.request("one too many"))
    events = [(e["event"], e.get("percent")) for e in told if e["event"].startswith("budget.")]
    assert events == [
        ("budget.threshold", 50),
        ("budget.threshold", 100),
        ("budget.exceeded", None),
    ]
