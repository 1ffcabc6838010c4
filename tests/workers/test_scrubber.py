"""The scrub: every video has its turn within its period, seldom enough, and damage is mended."""

from __future__ import annotations

from gateway.core.job import State
from gateway.core.scrub import DUE_MS, PERIOD_MS, REST_SECONDS_MIN, REST_SHARE, is_due, rest_after
from gateway.ports import StoreFailure
from gateway.workers.scrubber import IDLE_SECONDS, Scrubber
from tests.video_house import VideoHouse, video


def scrubber(house: VideoHouse) -> Scrubber:
    return Scrubber(house.deliveries, house.real, house.records, house.clock)


async def rounds(house: VideoHouse, scrub: Scrubber, count: int) -> None:
    for _ in range(count):
        await house.clock.advance(IDLE_SECONDS)
        await scrub.run_once()


async def test_each_video_is_proved_once_in_its_turn(house: VideoHouse) -> None:
    jobs = [await house.stored() for _ in range(3)]
    scrub = scrubber(house)
    await rounds(house, scrub, 5)
    assert house.store.proved == []
    await house.clock.advance(DUE_MS / 1000)
    await rounds(house, scrub, 6)
    assert sorted(house.store.proved) == sorted(job.id for job in jobs)


async def test_a_damaged_video_is_found_reported_and_fetched_again(house: VideoHouse) -> None:
    job = await house.stored()
    house.store.damaged.add(job.id)
    await house.clock.advance(DUE_MS / 1000)
    await rounds(house, scrubber(house), 1)
    assert house.now(job).state is State.PROCESSING
    assert "1 found missing or damaged" in house.deliveries.tell()
    house.venice.retrieves = lambda queue_id: video()
    await house.pass_time(10)
    assert house.now(job).state is State.STORED
    assert house.now(job).settled == job.quote


async def test_a_damaged_video_that_venice_no_longer_has_is_lost_and_said_so(
    house: VideoHouse,
) -> None:
    job = await house.stored()
    house.book.put(await house.real.note(job.id, {"copy_gone": True}))
    house.store.damaged.add(job.id)
    await house.clock.advance(DUE_MS / 1000)
    await rounds(house, scrubber(house), 1)
    assert house.now(job).state is State.LOST
    assert house.venice.count("retrieve") == 0


async def test_a_disk_that_cannot_be_read_proves_nothing_and_loses_nothing(
    house: VideoHouse,
) -> None:
    job = await house.stored()
    await house.clock.advance(DUE_MS / 1000)
    house.store.fault = StoreFailure("EIO")
    scrub = scrubber(house)
    await rounds(house, scrub, 2)
    assert house.now(job).state is State.STORED
    house.store.fault = None
    await rounds(house, scrub, 1)
    assert house.store.proved == [job.id]


def test_half_of_the_period_is_left_when_a_videos_turn_comes() -> None:
    assert not is_due(0, DUE_MS - 1)
    assert is_due(0, DUE_MS)
    assert 2 * DUE_MS <= PERIOD_MS


def test_reading_takes_a_tenth_of_the_time_at_most() -> None:
    assert rest_after(0.0) == REST_SECONDS_MIN
    assert rest_after(20.0) == 20.0 * REST_SHARE
