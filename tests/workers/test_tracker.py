"""The tracker: one look at a time per job, and it tells whether there is one."""

from __future__ import annotations

import asyncio

from gateway.core.job import State
from gateway.core.retry import Outcome
from tests.video_house import WORKING, VideoHouse, failing, video


async def test_a_look_is_under_way_until_its_fetch_has_ended(house: VideoHouse) -> None:
    job, go_on = await house.working(average_ms=2_000), asyncio.Event()
    assert not house.tracker.is_looking(job.id)
    house.venice.retrieves = lambda _: video(go_on)
    await house.pass_time(10)
    assert house.tracker.is_looking(job.id)
    assert house.venice.count("retrieve") == 1
    go_on.set()
    await house.pass_time(0.5)
    assert not house.tracker.is_looking(job.id)
    assert house.now(job).state is State.STORED


async def test_a_failure_slows_one_job_and_a_good_answer_forgives_it(house: VideoHouse) -> None:
    broken, whole = await house.working(), await house.working()
    queue_id = broken.queue_id
    house.venice.retrieves = lambda asked: failing(400) if asked == queue_id else WORKING
    await house.pass_time(120)
    looks = [name for _, name in house.venice.calls]
    assert looks.count(f"q-{broken.id}") <= 6
    assert looks.count(f"q-{whole.id}") >= 20
    house.venice.retrieves = lambda _: WORKING
    await house.pass_time(160)
    house.venice.calls.clear()
    await house.pass_time(60)
    assert house.venice.count("retrieve") >= 20


async def test_a_network_that_is_down_slows_nobody(house: VideoHouse) -> None:
    """What never arrived counts for nothing at Venice, and a video may be waiting."""
    await house.working()
    house.venice.retrieves = lambda _: failing(None, Outcome.NEVER_ARRIVED)
    await house.pass_time(60)
    assert house.venice.count("retrieve") >= 10
