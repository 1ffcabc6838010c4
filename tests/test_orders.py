"""An order between ledger and Venice: whatever fails in between, nothing is bought twice, lost, or
held for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import (
    GatewayError,
    OutcomeUnknown,
    RateLimited,
    StorageFull,
    UpstreamBusy,
)
from gateway.core.job import Event, State
from gateway.core.money import Money
from gateway.core.retry import Outcome
from gateway.orders import ClientGone, QueueAnswer, QueueRequest, new_job_id
from gateway.ports import LedgerFailure, LedgerFull, NoPlace, Reply
from gateway.submit import Waits
from tests.order_house import OrderHouse, order_house

SHORT = Waits(answer=0.3, hold=0.2)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[OrderHouse]:
    async with order_house(tmp_path) as found:
        yield found


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Return when it holds; fail where it does not in time."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.01)


def fails_once(event: Event) -> Callable[..., Awaitable[None]]:
    """A hook for `advance`: the disk is full at the first event of this kind."""
    failed: list[bool] = []

    async def hook(_job: str, happened: Event, *_rest: object) -> None:
        if happened is event and not failed:
            failed.append(True)
            raise LedgerFull("the disk is full")

    return hook


async def leaves(house: OrderHouse, request: QueueRequest, when: asyncio.Event) -> None:
    """Send a request whose client leaves as soon as `when` is set."""
    sent = asyncio.create_task(house.orders.submit(request))
    await when.wait()
    request.presence.leave()
    with pytest.raises(ClientGone):
        await sent


def test_jobs_ids_are_in_the_order_of_their_moments() -> None:
    ids = [new_job_id(at) for at in (0, 1_767_225_600_000, 1_767_225_600_001, 4_102_444_800_000)]
    assert ids == sorted(ids)
    assert len({new_job_id(1) for _ in range(100)}) == 100


async def test_an_acceptance_that_cannot_be_written_is_a_doubt_and_is_written_later(
    house: OrderHouse,
) -> None:
    house.ledger.before["advance"] = fails_once(Event.ACCEPT)
    with pytest.raises(OutcomeUnknown) as told:
        await house.orders.submit(house.request())
    with pytest.raises(OutcomeUnknown) as again:
        await house.orders.submit(house.request())
    assert again.value.job == told.value.job

    async def is_written() -> bool:
        return (await house.jobs())[0].state is State.PROCESSING

    await until(is_written)
    answer = await house.orders.submit(house.request())
    assert (answer.is_joined, answer.job.queue_id, house.venice.bought) == (True, "q1", 1)


async def test_a_doubt_that_cannot_be_written_at_the_deadline_loses_no_late_answer(
    tmp_path: Path,
) -> None:
    async with order_house(tmp_path, waits=SHORT) as house:
        answered = asyncio.Event()

        async def late() -> None:
            await answered.wait()

        house.venice.before_answer = late
        house.ledger.before["advance"] = fails_once(Event.LOSE_ANSWER)
        with pytest.raises(OutcomeUnknown):
            await house.orders.submit(house.request())
        answered.set()

        async def has_its_id() -> bool:
            return (await house.jobs())[0].queue_id == "q1"

        await until(has_its_id)
        assert (await house.orders.submit(house.request())).is_joined
        assert house.venice.bought == 1


async def test_a_hold_that_cannot_be_released_is_released_later(house: OrderHouse) -> None:
    async def no_place() -> None:
        raise NoPlace

    house.venice.before_gate = no_place
    house.ledger.before["advance"] = fails_once(Event.GIVE_UP)
    with pytest.raises(UpstreamBusy):
        await house.orders.submit(house.request())

    async def is_released() -> bool:
        return (await house.jobs())[0].state is State.RELEASED

    await until(is_released)
    assert house.book.active("ann") == 0


async def test_sending_that_cannot_be_written_sends_nothing(house: OrderHouse) -> None:
    house.ledger.before["advance"] = fails_once(Event.SEND)
    with pytest.raises(StorageFull):
        await house.orders.submit(house.request())
    assert house.venice.bought == 0
    (job,) = await house.jobs()
    assert job.state is State.RELEASED
    assert job.reason == "there was no room on the disk to write that it is sent"


async def test_a_failure_of_ours_after_sending_is_told_as_doubt(house: OrderHouse) -> None:
    async def breaks() -> None:
        raise LedgerFailure("the call could not be recorded")

    house.venice.before_answer = breaks
    with pytest.raises(OutcomeUnknown):
        await house.orders.submit(house.request())
    assert [job.state for job in await house.jobs()] == [State.IN_DOUBT]


async def test_a_client_that_leaves_while_its_money_is_given_back_is_counted_no_more(
    house: OrderHouse,
) -> None:
    for number in range(3):
        request = house.request(f"p{number}")
        giving_back = asyncio.Event()

        async def slow(
            _job: str,
            event: Event,
            *_rest: object,
            request: QueueRequest = request,
            giving_back: asyncio.Event = giving_back,
        ) -> None:
            if event is Event.GIVE_UP:
                giving_back.set()
                await asyncio.sleep(0.05)

        async def no_place() -> None:
            raise NoPlace

        house.ledger.before["advance"] = slow
        house.venice.before_gate = no_place
        await leaves(house, request, giving_back)

    async def is_over() -> bool:
        return not house.orders.in_flight and house.book.active("ann") == 0

    await until(is_over)
    assert {job.state for job in await house.jobs()} == {State.RELEASED}


async def test_one_who_waits_for_an_order_that_is_taken_back_orders_it(house: OrderHouse) -> None:
    first, second = house.request(key="K"), house.request(key="K")
    at_the_gate = asyncio.Event()

    async def gate() -> None:
        at_the_gate.set()
        if first.presence.is_here:
            await asyncio.sleep(0.1)

    house.venice.before_gate = gate
    leaving = asyncio.create_task(leaves(house, first, at_the_gate))
    await at_the_gate.wait()
    answer = await house.orders.submit(second)
    await leaving
    assert (answer.is_replayed, answer.job.queue_id, house.venice.bought) == (False, "q1", 1)


async def test_the_answer_of_a_client_that_is_there_goes_to_nobody_else(house: OrderHouse) -> None:
    is_reading, may_read = asyncio.Event(), asyncio.Event()

    async def slow_read(*_values: Any) -> None:
        if not is_reading.is_set():
            is_reading.set()
            await may_read.wait()

    house.ledger.before["twins"] = slow_read
    slow = asyncio.create_task(house.orders.submit(house.request()))
    await is_reading.wait()
    quick = await house.orders.submit(house.request())
    may_read.set()
    other = await slow
    assert (quick.is_joined, other.is_joined, house.venice.bought) == (False, False, 2)


async def test_a_client_that_leaves_while_its_money_is_being_held_has_it_back(
    house: OrderHouse,
) -> None:
    request, holding = house.request(), asyncio.Event()

    async def slow(*_values: Any) -> None:
        holding.set()
        # The client's leaving is known, and acted on, before the hold is.
        await request.presence.gone()
        await asyncio.sleep(0.02)

    house.ledger.before["reserve"] = slow
    await leaves(house, request, holding)

    async def is_released() -> bool:
        return [job.state for job in await house.jobs()] == [State.RELEASED]

    await until(is_released)
    assert house.venice.bought == 0
    assert (await house.jobs())[0].reason == "the client left before it was sent"


async def test_an_owed_answer_goes_to_one_of_two_copies_that_come_at_once(
    house: OrderHouse,
) -> None:
    request, sent = house.request(), asyncio.Event()

    async def slow() -> None:
        sent.set()
        await asyncio.sleep(0.05)

    house.venice.before_answer = slow
    await leaves(house, request, sent)

    async def is_accepted() -> bool:
        return (await house.jobs())[0].state is State.PROCESSING

    await until(is_accepted)
    answers = await asyncio.gather(*(house.orders.submit(house.request()) for _ in range(2)))
    assert sorted(answer.is_joined for answer in answers) == [False, True]
    assert {answer.job.queue_id for answer in answers} == {"q1", "q2"}


async def test_an_order_that_is_not_sent_by_its_deadline_is_not_sent(tmp_path: Path) -> None:
    async with order_house(tmp_path, waits=SHORT) as house:

        async def long() -> None:
            await asyncio.sleep(0.35)

        house.venice.before_gate = long
        with pytest.raises(UpstreamBusy):
            await house.orders.submit(house.request())
        assert house.venice.bought == 0
        assert [job.state for job in await house.jobs()] == [State.RELEASED]


async def test_a_delivered_replay_leaves_nothing_for_a_twin(house: OrderHouse) -> None:
    request, sent = house.request(key="K"), asyncio.Event()

    async def slow() -> None:
        sent.set()
        await asyncio.sleep(0.05)

    house.venice.before_answer = slow
    await leaves(house, request, sent)

    async def is_accepted() -> bool:
        return (await house.jobs())[0].state is State.PROCESSING

    await until(is_accepted)
    replay = await house.orders.submit(house.request(key="K"))
    assert replay.is_replayed
    await house.orders.delivered(replay, whole=True)
    assert not (await house.orders.submit(house.request())).is_joined
    assert house.venice.bought == 2


async def test_orders_that_come_at_once_count_against_active_jobs(tmp_path: Path) -> None:
    policy = {"rate": {"active_jobs": "2", "queue_per_minute": "1000"}}
    async with order_house(tmp_path, policy=policy) as house:
        orders = [house.orders.submit(house.request(f"p{n}")) for n in range(50)]
        results = await asyncio.gather(*orders, return_exceptions=True)
        assert sum(isinstance(result, QueueAnswer) for result in results) == 2
        assert sum(isinstance(result, RateLimited) for result in results) == 48


async def test_a_refusal_that_comes_after_an_administrator_settled_gives_the_money_back(
    tmp_path: Path,
) -> None:
    async with order_house(tmp_path, waits=SHORT) as house:
        answered = asyncio.Event()

        async def late() -> None:
            await answered.wait()

        house.venice.before_answer = late
        house.venice.answer = Reply(Outcome.REFUSED, 422, b'{"error":"no"}', {"error": "no"})
        with pytest.raises(OutcomeUnknown) as told:
            await house.orders.submit(house.request())
        job = await house.real.advance(told.value.job, Event.DECIDE_BILLED, 1, reason="billed")
        assert job.settled == Money(60_000)
        answered.set()

        async def is_released() -> bool:
            return (await house.jobs())[0].state is State.RELEASED_IN_DOUBT

        await until(is_released)
        assert (await house.jobs())[0].settled == Money(0)
        assert (await house.real.verify()).is_sound


async def test_a_refusal_that_cannot_be_kept_is_still_told(tmp_path: Path) -> None:
    async with order_house(tmp_path, policy={"each_user": {"day": "0.05"}}) as house:

        async def full(**_named: object) -> None:
            raise LedgerFull("the disk is full")

        house.ledger.before["refuse"] = full
        with pytest.raises(GatewayError, match="does not fit your own budget"):
            await house.orders.submit(house.request())


async def test_a_client_that_leaves_as_the_gate_opens_is_charged_nothing(house: OrderHouse) -> None:
    request = house.request()

    async def gate() -> None:
        request.presence.leave()

    house.venice.before_gate = gate
    with pytest.raises(ClientGone):
        await house.orders.submit(request)

    async def is_released() -> bool:
        return (await house.jobs())[0].state is State.RELEASED

    await until(is_released)
    assert house.venice.bought == 0
