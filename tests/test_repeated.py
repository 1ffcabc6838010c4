"""An order that is sent again long after its answer was lost: it is bought once as long as it is in
doubt, and its answer is there to be had once the doubt has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.core.answers import asked_anew
from gateway.core.errors import IdempotencyMismatch, OutcomeUnknown
from gateway.core.job import Event, State
from gateway.records import Job
from tests.promises.money_world import MoneyWorld

HOUR = 3_600_000
DAY = 24 * HOUR


Story = Callable[[MoneyWorld], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Story], None]:
    """Tells a story in a world and a loop of its own: a kill there ends every other task."""

    async def whole(story: Story) -> None:
        world = MoneyWorld(tmp_path)
        await world.begin()
        try:
            await story(world)
        finally:
            await world.end()

    return lambda story: asyncio.run(whole(story))


async def lose(world: MoneyWorld, key: str | None) -> None:
    """Order what Venice makes, and lose its answer."""
    world.venice.plans["fox"] = "lose made"
    assert isinstance(await world.order(world.request("anna", "fox", key=key)), OutcomeUnknown)


async def identify(world: MoneyWorld) -> Job:
    """Evidence gives the job its queue_id, as a reconciliation does."""
    (job,) = await world.ledger.jobs(states=[State.IN_DOUBT])
    at = world.clock.now()
    facts = {"queue_id": "found", "answer": '{"model":"m","queue_id":"found"}', **asked_anew(at)}
    return world.book.put(await world.ledger.advance(job.id, Event.IDENTIFY, at, facts=facts))


@pytest.mark.parametrize("key", [None, "mine"])
def test_a_doubt_of_last_month_is_still_not_bought_again(
    play: Callable[[Story], None], key: str | None
) -> None:
    """An Idempotency-Key stays bound to its doubt beyond the 24 hours of others."""

    async def story(world: MoneyWorld) -> None:
        await lose(world, key)
        world.clock.wall += 31 * DAY
        again = await world.order(world.request("anna", "fox", key=key))
        assert isinstance(again, OutcomeUnknown)
        assert world.venice.made["fox"] == 1
        if key is not None:
            other = await world.order(world.request("anna", "not a fox", key=key))
            assert isinstance(other, IdempotencyMismatch)

    play(story)


@pytest.mark.parametrize("key", [None, "mine"])
def test_what_ended_a_doubt_days_later_answers_its_repetition(
    play: Callable[[Story], None], key: str | None
) -> None:
    """The bill is read at night; the client comes again in the morning, to a restarted gateway."""

    async def story(world: MoneyWorld) -> None:
        await lose(world, key)
        world.clock.wall += 3 * DAY
        found = await identify(world)
        world.clock.wall += 10 * HOUR
        await world.kill()
        again = await world.order(world.request("anna", "fox", key=key))
        assert isinstance(again, Job), again
        assert (again.id, again.queue_id) == (found.id, "found")
        assert world.venice.made["fox"] == 1

    play(story)


@pytest.mark.parametrize("key", [None, "mine"])
def test_an_answer_known_for_a_day_is_no_answer_to_a_new_order(
    play: Callable[[Story], None], key: str | None
) -> None:

    async def story(world: MoneyWorld) -> None:
        await lose(world, key)
        world.clock.wall += HOUR
        await identify(world)
        world.clock.wall += DAY
        world.venice.plans["fox"] = "accept"
        again = await world.order(world.request("anna", "fox", key=key))
        assert isinstance(again, Job), again
        assert again.queue_id != "found"

    play(story)


def test_whoever_has_the_video_of_a_doubt_orders_a_new_one(play: Callable[[Story], None]) -> None:
    """The job was asked for by its id, as the 409 says; the next order is another intent."""

    async def story(world: MoneyWorld) -> None:
        await lose(world, None)
        world.clock.wall += HOUR
        found = await identify(world)
        world.book.put(await world.ledger.note(found.id, {"delivered_at": world.clock.now()}))
        world.venice.plans["fox"] = "accept"
        again = await world.order(world.request("anna", "fox"))
        assert isinstance(again, Job), again
        assert again.id != found.id

    play(story)
