"""Room for videos over a real ledger: who goes, who comes back, and what nobody may notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.job import Event, State
from gateway.core.policy import VideoRules
from gateway.ports import LedgerFull, StoreFailure
from gateway.records import Job
from gateway.room import DISK_SETTLES_SECONDS
from gateway.workers.evictor import PRUNE_SECONDS, WRITE_SECONDS, Evictor
from tests.video_house import LINK, VIDEO_BYTES, VideoHouse, video, video_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[VideoHouse]:
    async with video_house(tmp_path) as found:
        found.rules[0] = room_for(3)
        yield found


def room_for(videos: int, **more: Any) -> VideoRules:
    return VideoRules(max_bytes=videos * VIDEO_BYTES, free_disk=0, **more)


async def stored(house: VideoHouse, *, delivered: bool = False, **facts: Any) -> Job:
    """A video that came a second after the one before it."""
    await house.clock.advance(1)
    job = await house.stored(**facts)
    if delivered:
        await house.deliveries.note_delivered(job)
    return house.now(job)


async def test_the_store_stays_within_its_quota_whatever_comes(house: VideoHouse) -> None:
    jobs = [await stored(house, delivered=number % 2 == 0) for number in range(9)]
    assert (await house.records.stored())[0] <= 3 * VIDEO_BYTES
    here = {job.id for job in jobs if house.now(job).state is State.STORED}
    assert here == house.store.names
    assert (await house.real.verify()).is_sound


async def test_what_nobody_has_stays_while_something_that_somebody_has_can_go(
    house: VideoHouse,
) -> None:
    waiting = await stored(house)
    fetched = [await stored(house, delivered=True) for _ in range(3)]
    assert [house.now(job).state for job in fetched] == ["evicted", "stored", "stored"]
    assert house.now(waiting).state is State.STORED


async def test_the_least_recently_read_goes_first_and_what_was_read_survives_a_restart(
    house: VideoHouse,
) -> None:
    old, newer = [await stored(house, delivered=True) for _ in range(2)]
    await house.clock.advance(5)
    assert await house.deliveries.open(old) is not None
    await house.space.write_uses()
    await stored(house, delivered=True)
    await stored(house, delivered=True)
    assert (house.now(old).state, house.now(newer).state) == (State.STORED, State.EVICTED)


async def test_room_is_made_before_videos_come_and_for_all_that_come_at_once(
    house: VideoHouse,
) -> None:
    for _ in range(3):
        await stored(house, delivered=True)
    async with house.space.for_video("a", VIDEO_BYTES), house.space.for_video("b", VIDEO_BYTES):
        assert (await house.records.stored())[0] == VIDEO_BYTES


@pytest.mark.parametrize("quota", ["a number", "auto", "a full disk"])
async def test_a_video_that_has_just_come_counts_once_and_drives_nothing_out(
    house: VideoHouse, quota: str
) -> None:
    """Its row is there before whoever brought it goes on; others make room in between."""
    house.store.disk_bytes = 6 * VIDEO_BYTES
    house.rules[0] = {
        "a number": room_for(3),
        "auto": VideoRules(max_bytes="auto", free_disk=0),
        "a full disk": VideoRules(max_bytes=2**40, free_disk=3 * VIDEO_BYTES),
    }[quota]
    jobs = [await stored(house, delivered=number < 2) for number in range(3)]
    async with house.space.for_video(jobs[2].id, VIDEO_BYTES):
        await house.space.make()
        assert [house.now(job).state for job in jobs] == ["stored"] * 3
        async with house.space.for_video("another", VIDEO_BYTES):
            assert [house.now(job).state for job in jobs] == ["evicted", "stored", "stored"]
            assert house.space.stored_bytes == 2 * VIDEO_BYTES


async def test_space_that_a_video_has_taken_on_the_disk_is_not_wanted_again(
    house: VideoHouse,
) -> None:
    house.store.disk_bytes = 5 * VIDEO_BYTES
    house.rules[0] = VideoRules(max_bytes=2**40, free_disk=2 * VIDEO_BYTES)
    jobs = [await stored(house, delivered=True) for _ in range(2)]
    async with house.space.for_video("another", VIDEO_BYTES):
        # As the store does, before it takes the first byte.
        house.store.disk_bytes -= VIDEO_BYTES
        await house.space.make()
        assert [house.now(job).state for job in jobs] == ["stored"] * 2
        await house.clock.advance(DISK_SETTLES_SECONDS)
        async with house.space.for_video("one more", VIDEO_BYTES):
            assert [house.now(job).state for job in jobs] == ["evicted", "stored"]


async def test_what_came_and_went_makes_no_room_twice(house: VideoHouse) -> None:
    jobs = [await stored(house, delivered=True) for _ in range(3)]
    async with house.space.for_video(jobs[0].id, VIDEO_BYTES):
        house.rules[0] = room_for(2)
        await house.space.make()
    assert [house.now(job).state for job in jobs] == ["evicted", "stored", "stored"]


async def test_a_quota_smaller_than_a_video_keeps_the_one_that_came_last(house: VideoHouse) -> None:
    house.rules[0] = VideoRules(max_bytes=1, free_disk=0)
    first, second = await stored(house), await stored(house)
    await house.space.make()
    assert (house.now(first).state, house.now(second).state) == (State.EVICTED, State.STORED)


async def test_a_disk_that_others_fill_takes_delivered_videos_alone_and_not_all_at_once(
    house: VideoHouse,
) -> None:
    house.rules[0] = room_for(9, keep="7d")
    waiting = await stored(house)
    fetched = [await stored(house, delivered=True) for _ in range(3)]
    house.store.disk_bytes = 5 * VIDEO_BYTES
    house.rules[0] = VideoRules(max_bytes=9 * VIDEO_BYTES, free_disk=2 * VIDEO_BYTES)
    house.space.newest = None
    await house.space.make()
    assert [house.now(job).state for job in fetched] == ["evicted", "stored", "stored"]
    house.store.disk_bytes = 3 * VIDEO_BYTES
    await house.space.make()
    assert house.now(fetched[1]).state is State.STORED
    await house.clock.advance(DISK_SETTLES_SECONDS)
    await house.space.make()
    assert [house.now(job).state for job in fetched] == ["evicted"] * 3
    await house.clock.advance(DISK_SETTLES_SECONDS)
    await house.space.make()
    assert house.now(waiting).state is State.STORED


async def test_an_evicted_video_is_fetched_again_when_asked_for_if_venice_has_it(
    house: VideoHouse,
) -> None:
    job = await stored(house, delivered=True)
    for _ in range(3):
        await stored(house)
    assert house.now(job).state is State.EVICTED
    called = await asyncio.gather(*(house.deliveries.call_back(house.now(job)) for _ in range(5)))
    assert {each.state for each in called} <= {State.PROCESSING, State.FETCHING}
    house.venice.retrieves = lambda queue_id: video()
    await house.pass_time(10)
    back = house.now(job)
    assert (back.state, back.settled, house.venice.count("retrieve")) == ("stored", back.quote, 1)
    assert house.venice.count("complete") == 0
    await house.deliveries.note_delivered(back)
    await stored(house)
    assert house.now(job).state is State.EVICTED


@pytest.mark.parametrize("why", ["its copy is gone", "it is private"])
async def test_an_evicted_video_that_cannot_come_back_stays_away_and_venice_is_not_asked(
    house: VideoHouse, why: str
) -> None:
    private = {"download_url": LINK, "is_private": True} if why == "it is private" else {}
    job = await stored(house, delivered=True, **private)
    if not private:
        house.book.put(await house.real.note(job.id, {"copy_gone": True}))
    for _ in range(3):
        await stored(house)
    assert (await house.deliveries.call_back(house.now(job))).state is State.EVICTED
    await house.pass_time(5)
    assert house.venice.count("retrieve") == house.venice.count("download") == 0


async def test_a_reader_that_meets_an_eviction_raises_no_alarm(house: VideoHouse) -> None:
    job = await stored(house, delivered=True)
    await house.real.advance(job.id, Event.EVICT, house.clock.now())
    await house.book.refresh(job.id)
    house.store.names.clear()
    assert await house.deliveries.open(job) is None
    assert (house.now(job).state, house.deliveries.damaged) == (State.EVICTED, 0)


async def test_venices_copy_of_an_evicted_video_stays_until_ours_would_have_gone(
    house: VideoHouse,
) -> None:
    job = await stored(house, delivered=True)
    for _ in range(3):
        await stored(house, delivered=True)
    reaper = house.reaper(house.rules[0])
    await reaper.run_once()
    assert ("complete", job.queue_id) not in house.venice.calls
    await house.clock.advance(8 * 86_400)
    await reaper.run_once()
    assert house.now(job).state is State.PURGED
    assert ("complete", job.queue_id) in house.venice.calls


async def test_a_ledger_or_a_disk_that_fails_keeps_no_video_from_coming(house: VideoHouse) -> None:
    for _ in range(3):
        await stored(house, delivered=True)

    moves: list[Event] = []

    async def evict_fails(job_id: str, event: Event, *_: object) -> None:
        moves.append(event)
        if event is Event.EVICT:
            raise LedgerFull("the disk is full")

    house.ledger.before["advance"] = evict_fails
    late = await stored(house)
    assert Event.EVICT in moves
    assert house.now(late).state is State.STORED


async def test_uses_are_written_once_a_minute_and_forgotten_with_their_videos(
    house: VideoHouse,
) -> None:
    evictor = Evictor(house.space, house.records, house.clock, house.custody.metrics)
    job = await stored(house, delivered=True)
    await house.clock.advance(9)
    assert await house.deliveries.open(job) is not None
    await evictor.run_once()
    (before,) = await house.records.evictable(10)
    await house.clock.advance(WRITE_SECONDS)
    await evictor.run_once()
    (after,) = await house.records.evictable(10)
    assert (before.used_at, after.used_at - before.used_at) == (job.delivered_at, 9_000)
    await house.removal.purge(job, "completed")
    await house.clock.advance(PRUNE_SECONDS)
    await evictor.run_once()
    assert await house.real.access.rows("SELECT * FROM video_records") == []


async def test_a_store_that_cannot_be_asked_is_said_so_and_the_rounds_go_on(
    house: VideoHouse,
) -> None:
    await stored(house)
    house.store.fault = StoreFailure("EIO")
    await house.space.make()
    house.store.fault = None
    await house.space.make()
