"""The gate: who waits, for how long, and whose turn it is."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from gateway.core.errors import Draining
from gateway.core.pacing import CallClass, GateLimits
from gateway.core.retry import Outcome
from gateway.ports import NoPlace
from gateway.upstream.gate import LINE_MAX, Turn
from tests.upstream.house import QUEUE, QUOTE, RETRIEVE, House
from tests.upstream.still_clock import StillClock, settle


async def test_a_burst_within_the_limit_passes_at_once_and_the_next_waits_for_the_window(
    house: House,
) -> None:
    house.send(times=39)
    await settle()
    assert len(house.through) == 38
    assert house.gate.waiting(CallClass.QUEUE) == 1
    assert house.gate.tokens(CallClass.QUEUE) == 0
    await house.clock.advance(60.0)
    assert len(house.through) == 38
    await house.clock.advance(1.1)
    assert len(house.through) == 39


async def test_a_deadline_ends_the_waiting_and_frees_the_place(house: House) -> None:
    house.send(times=38)
    (late,) = house.send(hold=25.0)
    house.send(hold=100.0)
    await house.clock.advance(24.9)
    assert not late.done()
    await house.clock.advance(0.1)
    assert isinstance(late.exception(), NoPlace)
    assert house.gate.waiting(CallClass.QUEUE) == 1


async def test_a_deadline_that_has_passed_gets_no_place_even_if_there_is_one(house: House) -> None:
    with pytest.raises(NoPlace):
        await house.pass_through(hold=0.0)


async def test_a_line_has_an_end(house: House) -> None:
    house.send(times=38 + LINE_MAX)
    await settle()
    with pytest.raises(NoPlace, match="in line already"):
        await house.pass_through()
    (other,) = house.send("bob")
    await settle()
    assert not other.done()


async def test_a_cancelled_caller_leaves_its_place(house: House) -> None:
    house.send(times=38)
    tasks = house.send("bob", times=2)
    await settle()
    tasks[0].cancel()
    await settle()
    assert house.gate.waiting(CallClass.QUEUE) == 1
    await house.clock.advance(62.0)
    assert house.through.count("bob") == 1


async def test_a_caller_cancelled_the_moment_it_is_let_through_gives_its_place_back(
    house: House,
) -> None:
    house.send("ann", times=38)
    tasks = house.send("bob", times=40)
    await settle()
    await house.clock.advance(60.999)
    for cancelled_first in (True, False):
        task = tasks[0 if cancelled_first else 1]
        if cancelled_first:
            task.cancel()  # the gate opens before the task has run again
        house.gate.set_limits(GateLimits(40, 114, 1_000, 1_000))
        if not cancelled_first:
            task.cancel()
    await settle()
    assert house.through.count("bob") == 2
    await house.clock.advance(0.1)
    assert house.through.count("bob") == 38
    assert not any(task.done() and task.exception() for task in tasks[2:] if task.done())


async def test_users_take_turns_however_many_jobs_one_of_them_has(house: House) -> None:
    house.send("zoe", times=38)
    await house.clock.advance(30.0)
    house.gate.set_limits(GateLimits(39, 114, 1_000, 1_000))
    house.through.clear()
    house.send("ann", times=500)
    house.send("bob", times=3)
    house.send("cid", times=1)
    await house.clock.advance(31.1)
    assert house.through[:8] == ["ann", "ann", "bob", "cid", "ann", "bob", "ann", "bob"]


async def test_a_heavier_user_has_more_calls_in_a_turn(clock: StillClock) -> None:
    house = House(clock, weight_of={"ann": 3, "bob": 1}.__getitem__)
    house.gate.set_limits(GateLimits(1, 114, 1_000, 1_000))
    house.send("bob")
    await settle()
    house.send("ann", times=20)
    house.send("bob", times=20)
    await settle()
    house.through.clear()
    house.gate.set_limits(GateLimits(9, 114, 1_000, 1_000))
    await settle()
    assert house.through == ["ann", "ann", "ann", "bob"] * 2


async def test_one_users_calls_in_flight_and_failures_stay_within_a_quarter(
    clock: StillClock,
) -> None:
    house = House(clock, GateLimits())
    house.send("eve", times=50, outcome=Outcome.REFUSED, lasting=1.0)
    await settle()
    assert house.through.count("eve") == 5
    house.send("ann", times=3)
    await house.clock.advance(5.0)
    assert house.through.count("eve") == 5
    assert house.through.count("ann") == 3
    assert house.gate.failure_budget() == 10
    await house.clock.advance(26.1)
    assert house.through.count("eve") == 10


async def test_calls_that_never_arrived_cost_no_failure(clock: StillClock) -> None:
    house = House(clock, GateLimits())
    house.send(times=30, outcome=Outcome.NEVER_ARRIVED)
    await settle()
    assert len(house.through) == 30
    assert house.gate.failure_budget() == 15


async def test_a_block_means_silence_then_one_probe_then_on(clock: StillClock) -> None:
    house = House(clock, GateLimits())
    async with house.gate.turn(QUEUE, "eve", clock.monotonic() + 1) as turn:
        turn.depart()
        await turn.finish(Outcome.BLOCKED, 30.0)
    house.send("ann", times=3, lasting=0.5)
    house.send("bob", times=3, endpoint=QUOTE, lasting=0.5)
    await clock.advance(29.9)
    assert house.through == []
    await clock.advance(0.2)
    assert house.through == ["bob"], "one probe, and not an order"
    await clock.advance(0.5)
    assert sorted(house.through) == ["ann"] * 3 + ["bob"] * 3


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.NEVER_ARRIVED, Outcome.NONSENSE])
async def test_a_probe_that_proves_nothing_is_followed_by_another_one(
    clock: StillClock, outcome: Outcome
) -> None:
    house = House(clock, GateLimits())
    async with house.gate.turn(QUEUE, "eve", clock.monotonic() + 1) as turn:
        turn.depart()
        await turn.finish(Outcome.BLOCKED)
    house.send("ann", outcome=outcome, lasting=1.0)
    house.send("bob", times=2, lasting=1.0)
    await clock.advance(30.5)
    assert house.through == ["ann"]
    await clock.advance(1.0)
    assert house.through == ["ann", "bob"]
    await clock.advance(1.0)
    assert house.through == ["ann", "bob", "bob"]


async def test_a_refusal_shows_that_the_block_is_over(clock: StillClock) -> None:
    house = House(clock, GateLimits())
    async with house.gate.turn(QUEUE, "eve", clock.monotonic() + 1) as turn:
        turn.depart()
        await turn.finish(Outcome.BLOCKED, 30.0)
    house.send("ann", outcome=Outcome.REFUSED)
    house.send("bob", times=2)
    await clock.advance(30.5)
    assert house.through == ["ann", "bob", "bob"]


async def test_a_closing_gate_frees_everybody_and_lets_nobody_in(house: House) -> None:
    under_way = house.send("ann", times=38, lasting=5.0)
    waiting = house.send("bob", times=3)
    await settle()
    house.gate.close()
    await settle()
    assert all(isinstance(task.exception(), Draining) for task in waiting)
    with pytest.raises(Draining):
        await house.pass_through()
    await house.clock.advance(5.0)
    assert all(task.done() and not task.exception() for task in under_way)


async def test_a_rest_ends_with_its_time_or_with_the_gate(house: House) -> None:
    resting = asyncio.ensure_future(house.gate.rest(20.0))
    await house.clock.advance(19.9)
    assert not resting.done()
    await house.clock.advance(0.1)
    assert await resting is True
    resting = asyncio.ensure_future(house.gate.rest(20.0))
    await settle()
    house.gate.close()
    await settle()
    assert await resting is False
    assert await house.gate.rest(20.0) is False


async def test_raised_limits_let_the_waiting_through_at_once(house: House) -> None:
    house.send(times=45)
    await settle()
    house.gate.set_limits(GateLimits(45, 114, 1_000, 1_000))
    await settle()
    assert len(house.through) == 45


async def test_waiting_wakes_nobody_without_a_reason(house: House) -> None:
    house.send(times=38, lasting=1_000.0)
    house.send(times=50, hold=10_000.0)
    await house.clock.advance(55.0)
    assert house.clock.sleeps < 38 + 5
    assert len(house.through) == 38


async def test_no_class_starves_the_others_where_failures_are_short(clock: StillClock) -> None:
    house = House(clock, GateLimits(38, 114, 3, 3))
    house.send(times=3, lasting=1.0)
    await settle()
    for endpoint in (QUEUE, RETRIEVE, QUOTE):
        for user in ("ann", "bob", "cid"):
            house.send(f"{user} {endpoint}", times=9, endpoint=endpoint, lasting=1.0)
    await clock.advance(3.5)
    for endpoint in (QUEUE, RETRIEVE, QUOTE):
        assert sum(str(endpoint) in name for name in house.through) == 3


async def test_permissions_are_held_one_by_one(house: House) -> None:
    async with AsyncExitStack() as stack:
        turns: list[Turn] = []
        for _ in range(3):
            turn = house.gate.turn(QUOTE, "ann", house.clock.monotonic() + 1)
            turns.append(await stack.enter_async_context(turn))
        assert house.gate.failure_budget() == 997
        turns[1].depart()
        await turns[1].finish(Outcome.OK)
        assert house.gate.failure_budget() == 998
    assert house.gate.failure_budget() == 1_000


async def test_the_gate_says_how_it_stands(house: House) -> None:
    assert repr(house.gate) == (
        "<Gate open <Pacing queue 0 of 38, 0 wait, retrieve 0 of 114, 0 wait, "
        "other 0 of any, 0 wait; 0 failures, 0 in flight>>"
    )
