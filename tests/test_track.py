"""Looks at jobs: what comes of them, and that no number of ready videos can use up anything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.job import Event, State
from gateway.core.mp4 import BrokenVideo
from gateway.core.retry import Outcome
from gateway.places import IMPATIENT_MAX
from gateway.ports import BodyLost, LedgerFull, Reply
from gateway.track import OPEN_SECONDS
from tests.video_house import COMPLETED, DAY_MS, LINK, VideoHouse, failing, video, video_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[VideoHouse]:
    async with video_house(tmp_path) as found:
        yield found


async def test_ready_videos_beyond_the_places_hold_nothing_open(house: VideoHouse) -> None:
    count, go_on = 64, asyncio.Event()
    jobs = [await house.working() for _ in range(count)]
    house.venice.retrieves = lambda _: video(b"m", go_on, b"p4")
    looks = [asyncio.create_task(house.tracking.look(job)) for job in jobs]
    await house.idle()
    assert house.venice.videos_open <= house.fetches[0] + IMPATIENT_MAX
    await house.clock.advance(OPEN_SECONDS)
    await house.idle()
    assert house.venice.videos_open == house.fetches[0]
    assert all(house.now(job).ready_at for job in jobs)
    go_on.set()
    async with asyncio.timeout(20):
        await asyncio.gather(*looks)
    assert {house.now(job).state for job in jobs} == {State.STORED}
    # The answers that were let go of were asked for once more, with a place in hand.
    assert max(Counter(queue_id for _, queue_id in house.venice.calls).values()) == 2


async def test_a_body_that_was_let_go_of_unread_is_one_of_the_three_tries(
    house: VideoHouse,
) -> None:
    go_on = asyncio.Event()
    jobs = [await house.working() for _ in range(house.fetches[0] + IMPATIENT_MAX + 1)]
    house.venice.retrieves = lambda _: video(b"m", go_on, BrokenVideo("no moov"))
    looks = [asyncio.create_task(house.tracking.look(job)) for job in jobs]
    await house.idle()
    go_on.set()
    await asyncio.gather(*looks)
    for _ in range(2):
        await asyncio.gather(*(house.tracking.look(house.now(job)) for job in jobs))
    assert {house.now(job).state for job in jobs} == {State.UNDELIVERABLE}
    assert set(Counter(queue_id for _, queue_id in house.venice.calls).values()) == {3}


async def test_a_body_that_finds_a_place_in_time_is_asked_for_once(house: VideoHouse) -> None:
    jobs = [await house.working() for _ in range(IMPATIENT_MAX)]
    house.venice.retrieves = lambda _: video()
    await asyncio.gather(*(house.tracking.look(job) for job in jobs))
    assert house.venice.count("retrieve") == len(jobs)


async def test_private_videos_wait_for_a_place_without_a_connection(house: VideoHouse) -> None:
    go_on = asyncio.Event()
    jobs = [await house.working(download_url=LINK, is_private=True) for _ in range(10)]
    house.venice.retrieves = lambda _: COMPLETED
    house.venice.downloads = lambda _: video(b"m", go_on)
    looks = [asyncio.create_task(house.tracking.look(job)) for job in jobs]
    await house.idle()
    assert house.venice.count("download") == house.fetches[0]
    go_on.set()
    await asyncio.gather(*looks)
    assert {house.now(job).state for job in jobs} == {State.STORED}


async def test_a_changed_policy_changes_how_many_are_fetched_at_once(house: VideoHouse) -> None:
    house.fetches[0] = 5
    go_on = asyncio.Event()
    jobs = [await house.working(download_url=LINK, is_private=True) for _ in range(10)]
    house.venice.retrieves = lambda _: COMPLETED
    house.venice.downloads = lambda _: video(b"m", go_on)
    looks = [asyncio.create_task(house.tracking.look(job)) for job in jobs]
    await house.idle()
    assert house.venice.count("download") == 5
    go_on.set()
    await asyncio.gather(*looks)


async def test_a_link_that_only_the_answer_gave_is_revoked_in_the_end(house: VideoHouse) -> None:
    job = await house.working()
    house.venice.retrieves = lambda _: COMPLETED
    house.venice.downloads = lambda _: video()
    stored = (await house.tracking.look(job)).job
    assert (stored.state, stored.is_private, stored.download_url) == (State.STORED, True, LINK)
    assert await house.removal.let_go(stored)
    assert (house.venice.count("revoke"), house.venice.count("complete")) == (1, 0)


@pytest.mark.parametrize(
    "answer",
    [
        failing(503, Outcome.UNAVAILABLE),
        failing(429, Outcome.RATE_LIMITED),
        failing(None, Outcome.NEVER_ARRIVED),
    ],
)
async def test_a_link_that_does_not_answer_is_tried_less_often_and_stalls_after_a_day(
    house: VideoHouse, answer: Reply
) -> None:
    job = await house.working(average_ms=2_000)
    house.venice.retrieves = lambda _: COMPLETED
    house.venice.downloads = lambda _: answer
    await house.pass_time(600)
    assert house.now(job).state is State.PROCESSING
    first_ready = house.now(job).ready_at
    assert house.venice.count("download") <= 12
    await house.clock.advance(DAY_MS / 1000)
    await house.pass_time(2)
    assert house.now(job).state is State.STALLED
    assert house.now(job).ready_at == first_ready


async def test_a_broken_job_does_not_eat_the_budget_of_failures(house: VideoHouse) -> None:
    """Venice counts twenty failures in thirty seconds against the whole key."""
    job = await house.working()
    house.venice.retrieves = lambda _: failing(400)
    await house.pass_time(60)
    assert house.venice.count("retrieve") <= 6
    await house.pass_time(3_600, step=5)
    assert house.venice.count("retrieve") <= 25
    assert house.now(job).state is State.PROCESSING
    # As soon as Venice knows it, all is as it was.
    house.venice.retrieves = lambda _: video()
    await house.pass_time(301, step=1)
    assert house.now(job).state is State.STORED


async def test_a_short_network_failure_leaves_a_video_deliverable(house: VideoHouse) -> None:
    job = await house.working(average_ms=2_000)
    house.venice.retrieves = lambda _: video(BodyLost("reset"))
    await house.pass_time(120)
    house.venice.retrieves = lambda _: video()
    await house.pass_time(120)
    assert house.now(job).state is State.STORED


async def test_a_look_that_somebody_overtook_learns_what_the_ledger_says(
    house: VideoHouse,
) -> None:
    job = await house.working()
    house.venice.retrieves = lambda _: video()
    facts = {"failure_status": 422}
    await house.real.advance(job.id, Event.FAIL_BILLED, house.clock.now(), facts=facts)
    tried = await house.tracking.look(job)
    assert tried.job.state is State.FAILED_BILLED
    assert house.now(job).state is State.FAILED_BILLED


async def test_a_failed_write_does_not_end_the_looks(house: VideoHouse) -> None:
    job = await house.working(average_ms=2_000)
    house.venice.retrieves = lambda _: video()

    async def full(_job: str, event: Event, *_rest: object) -> None:
        if event is Event.FINISH:
            raise LedgerFull("the disk is full")

    house.ledger.before["advance"] = full
    await house.pass_time(10)
    assert house.now(job).state is State.PROCESSING
    house.ledger.before.clear()
    await house.pass_time(10)
    assert house.now(job).state is State.STORED
