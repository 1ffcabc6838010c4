"""The mender: what a failed write left half done ends by itself, and nothing else is touched."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.job import Event, Holding, State
from gateway.ports import LedgerFull
from gateway.records import Job
from gateway.workers.mender import COMPARE_SECONDS, IDLE_SECONDS, Mender
from tests.video_house import VideoHouse, video

UNFORESEEN = OSError("something nobody thought of")


async def mend(house: VideoHouse, mender: Mender, seconds: float) -> None:
    """Rounds of a second each."""
    for _ in range(round(seconds)):
        await mender.run_once()
        await house.clock.advance(1)


async def sent(house: VideoHouse) -> Job:
    job = await house.reserved()
    return house.book.put(await house.real.advance(job.id, Event.SEND, house.clock.now()))


async def test_money_held_for_no_order_is_released(house: VideoHouse) -> None:
    job = await house.reserved()
    await mend(house, house.mender(), IDLE_SECONDS + 1)
    assert (house.now(job).state, house.now(job).holding) == (State.RELEASED, Holding.RELEASED)


async def test_an_answer_that_nobody_waits_for_is_in_doubt(house: VideoHouse) -> None:
    job = await sent(house)
    await mend(house, house.mender(), IDLE_SECONDS + 1)
    assert (house.now(job).state, house.now(job).holding) == (State.IN_DOUBT, Holding.IN_DOUBT)


@pytest.mark.parametrize("event", [Event.STORE, Event.INTERRUPT])
async def test_a_fetch_whose_end_could_not_be_written_is_made_again(
    house: VideoHouse, event: Event
) -> None:
    job = await house.working(average_ms=2_000)
    bodies = [video(UNFORESEEN) if event is Event.INTERRUPT else video(), video()]
    house.venice.retrieves = lambda _: bodies.pop(0)
    failed: list[Event] = []

    async def full_once(_job: str, happened: Event, *_rest: object) -> None:
        if happened is event and not failed:
            failed.append(event)
            raise LedgerFull("the disk is full")

    house.ledger.before["advance"] = full_once
    await house.pass_time(5)
    assert (failed, house.now(job).state) == ([event], State.FETCHING)
    await mend(house, house.mender(), IDLE_SECONDS + 1)
    assert house.now(job).state is State.PROCESSING
    await house.pass_time(10)
    assert house.now(job).state is State.STORED


async def test_what_is_being_worked_on_is_left_alone(house: VideoHouse) -> None:
    ordered, waiting = await house.reserved(), await sent(house)
    house.in_flight |= {ordered.id, waiting.id}
    fetched, go_on = await house.working(average_ms=2_000), asyncio.Event()
    house.venice.retrieves = lambda _: video(go_on)
    await house.pass_time(5)
    assert house.now(fetched).state is State.FETCHING
    await mend(house, house.mender(), 10 * IDLE_SECONDS)
    assert house.now(ordered).state is State.RESERVED
    assert house.now(waiting).state is State.SENDING
    assert house.now(fetched).state is State.FETCHING
    go_on.set()
    await house.pass_time(1)
    assert house.now(fetched).state is State.STORED


async def test_a_job_between_two_steps_has_some_seconds(house: VideoHouse) -> None:
    job, mender = await house.reserved(), house.mender()
    await mend(house, mender, IDLE_SECONDS)
    assert house.now(job).state is State.RESERVED
    # It moved on by itself: its time begins anew.
    house.book.put(await house.real.advance(job.id, Event.SEND, house.clock.now()))
    await mend(house, mender, IDLE_SECONDS)
    assert house.now(job).state is State.SENDING


async def test_what_moved_on_meanwhile_is_learned(house: VideoHouse) -> None:
    job = await house.reserved()
    await house.real.advance(job.id, Event.GIVE_UP, house.clock.now())
    await mend(house, house.mender(), IDLE_SECONDS + 1)
    assert house.now(job).state is State.RELEASED


async def test_a_job_that_only_the_ledger_knows_is_found_within_a_minute(
    house: VideoHouse,
) -> None:
    known = await house.working()
    await house.real.advance(known.id, Event.FINISH, house.clock.now())
    assert house.now(known).state is State.PROCESSING
    await mend(house, house.mender(), COMPARE_SECONDS + IDLE_SECONDS + 2)
    found = await house.real.job(known.id)
    assert found is not None
    assert found.state is State.PROCESSING
    assert found.reason == "nobody fetches it any more"


async def test_a_ledger_that_is_still_full_is_asked_again(house: VideoHouse) -> None:
    jobs = [await house.reserved() for _ in range(3)]

    async def full(*_values: object) -> None:
        raise LedgerFull("the disk is full")

    house.ledger.before["advance"] = full
    mender = house.mender()
    await mend(house, mender, 3 * IDLE_SECONDS)
    assert {house.now(job).state for job in jobs} == {State.RESERVED}
    house.ledger.before.clear()
    await mend(house, mender, 1)
    assert {house.now(job).state for job in jobs} == {State.RELEASED}
