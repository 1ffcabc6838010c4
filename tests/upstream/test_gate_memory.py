"""What the gate remembers: calls before they leave, failures, and all of it across a restart."""

from __future__ import annotations

import pytest

from gateway.core.pacing import CallClass, GateLimits
from gateway.core.retry import Outcome
from gateway.ports import LedgerBroken, LedgerFull
from gateway.records import RecordedCall
from gateway.upstream.gate import RECALL_MS
from tests.upstream.house import QUEUE, RETRIEVE, House
from tests.upstream.still_clock import StillClock


async def test_a_call_is_recorded_before_it_may_leave(house: House) -> None:
    async with house.gate.turn(QUEUE, "ann", house.clock.monotonic() + 1):
        assert house.memory.calls == [
            RecordedCall(CallClass.QUEUE, "ann", house.clock.now(), failed_at=None)
        ]


async def test_what_cannot_be_recorded_is_not_sent_and_takes_no_place(house: House) -> None:
    house.memory.fault = LedgerFull("no room")
    with pytest.raises(LedgerFull):
        await house.pass_through()
    assert house.through == []
    assert house.gate.tokens(CallClass.QUEUE) == 38


async def test_a_failure_is_recorded_with_its_call(house: House) -> None:
    began = house.clock.now()
    house.send(outcome=Outcome.REFUSED, lasting=2.0)
    await house.clock.advance(2.0)
    assert house.memory.calls == [
        RecordedCall(CallClass.QUEUE, "ann", began),
        RecordedCall(CallClass.QUEUE, "ann", began, failed_at=began + 2_000),
    ]


@pytest.mark.parametrize("fault", [LedgerFull("no room"), LedgerBroken("wrong")])
async def test_an_answer_is_never_lost_for_a_failure_that_cannot_be_recorded(
    house: House, fault: Exception
) -> None:
    async with house.gate.turn(QUEUE, "ann", house.clock.monotonic() + 1) as turn:
        turn.depart()
        house.memory.fault = fault
        await turn.finish(Outcome.LOST)
    assert house.gate.failure_budget() == 999


async def test_leaving_before_anything_was_sent_gives_the_place_back(house: House) -> None:
    async with house.gate.turn(QUEUE, "ann", house.clock.monotonic() + 1):
        assert house.gate.tokens(CallClass.QUEUE) == 37
    assert house.gate.tokens(CallClass.QUEUE) == 38
    assert house.gate.failure_budget() == 1_000


async def test_a_call_nobody_waited_for_counts_as_a_failure(house: House) -> None:
    async with house.gate.turn(QUEUE, "ann", house.clock.monotonic() + 1) as turn:
        turn.depart()
    assert house.gate.tokens(CallClass.QUEUE) == 37
    assert house.gate.failure_budget() == 999


async def test_a_restart_reopens_no_window(clock: StillClock) -> None:
    before = House(clock, GateLimits())
    before.send("ann", times=3, outcome=Outcome.REFUSED)
    for user in ("bob", "cid", "dan"):
        before.send(user, times=5, lasting=0.1)
        await clock.advance(0.1)
    before.send("ann", times=10, endpoint=RETRIEVE, lasting=1.0)
    await clock.advance(10.0)
    after = House(clock, GateLimits())
    after.gate.recall(before.memory.calls, clock.now())
    for call_class in CallClass:
        assert after.gate.tokens(call_class) == before.gate.tokens(call_class)
    assert after.gate.tokens(CallClass.QUEUE) == 38 - 18
    assert after.gate.failure_budget() == 12
    await clock.advance(51.2)
    assert after.gate.tokens(CallClass.QUEUE) == 38
    assert after.gate.failure_budget() == 15


async def test_a_store_that_keeps_one_row_a_call_is_recalled_alike(clock: StillClock) -> None:
    at = clock.now()
    gate = House(clock, GateLimits()).gate
    gate.recall(
        [
            RecordedCall(CallClass.QUEUE, "ann", at - 5_000, failed_at=at - 4_000),
            RecordedCall(CallClass.QUEUE, "ann", at - 5_000),
            RecordedCall(CallClass.QUEUE, "ann", at - 5_000),
            RecordedCall(CallClass.QUEUE, "bob", at - 3_000, failed_at=at - 2_000),
        ],
        at,
    )
    assert gate.tokens(CallClass.QUEUE) == 38 - 3
    assert gate.failure_budget() == 15 - 2


async def test_a_clock_set_back_makes_old_calls_no_older(clock: StillClock) -> None:
    gate = House(clock, GateLimits()).gate
    gate.recall([RecordedCall(CallClass.QUEUE, "ann", clock.now() + 3_600_000)], clock.now())
    await clock.advance(60.9)
    assert gate.tokens(CallClass.QUEUE) == 37
    await clock.advance(0.2)
    assert gate.tokens(CallClass.QUEUE) == 38


async def test_a_long_call_that_failed_just_before_a_restart_counts(clock: StillClock) -> None:
    now = clock.now()
    late = RecordedCall(CallClass.QUEUE, "ann", now - 150_000, failed_at=now - 1_000)
    assert late.at > now - RECALL_MS
    gate = House(clock, GateLimits()).gate
    gate.recall([late], now)
    assert gate.failure_budget() == 14
    assert gate.tokens(CallClass.QUEUE) == 38
