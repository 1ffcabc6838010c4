"""Videos going: completing never fails, what cannot be deleted is noted or tried again, and no file
stays for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.job import Event, State
from gateway.core.retry import Outcome
from gateway.ports import LinkRefused, Reply, StoreFailure
from gateway.records import SPENDING_WAITS, Job
from tests.video_house import DAY_MS, LINK, VideoHouse, failing, video, video_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[VideoHouse]:
    async with video_house(tmp_path) as found:
        yield found


async def test_completing_twice_at_once_completes_once(house: VideoHouse) -> None:
    job = await house.stored()
    await asyncio.gather(*(house.removal.complete(job, purge=True) for _ in range(8)))
    await house.removal.complete(house.now(job), purge=True)
    assert house.now(job).state is State.PURGED
    assert house.store.names == set()


async def test_completing_beside_a_reader_of_a_damaged_file_is_no_error(house: VideoHouse) -> None:
    job = await house.stored()
    house.store.damaged.add(job.id)
    for _ in range(2):
        await asyncio.gather(
            house.deliveries.open(job),
            house.removal.complete(job, purge=True),
            house.deliveries.open(job),
        )
    assert house.now(job).state in (State.PURGED, State.PROCESSING)
    assert house.now(job).completed_at is not None


async def test_completing_what_memory_is_wrong_about_learns_what_it_is(house: VideoHouse) -> None:
    job = await house.stored()
    await house.real.advance(job.id, Event.PURGE, house.clock.now())
    assert house.now(job).state is State.STORED
    await house.removal.complete(replace(job, completed_at=1), purge=True)
    assert house.now(job).state is State.PURGED


async def test_a_file_that_could_not_be_deleted_goes_with_the_next_sweep(house: VideoHouse) -> None:
    job = await house.stored()
    house.store.fault = StoreFailure("EIO")
    await house.removal.complete(job, purge=True)
    assert house.now(job).state is State.PURGED
    assert house.store.names == {job.id}
    house.store.fault = None
    await house.inventory.sweep()
    assert house.store.names == set()


async def test_a_sweep_leaves_what_is_stored_or_arriving(house: VideoHouse) -> None:
    stored, arriving, go_on = await house.stored(), await house.working(), asyncio.Event()
    fetch = asyncio.create_task(house.deliveries.take(arriving, video(go_on)))
    await house.idle()
    house.store.names |= {arriving.id, "of nobody"}
    await house.inventory.sweep()
    assert house.store.names == {stored.id, arriving.id}
    go_on.set()
    await fetch


async def test_a_sweep_waits_while_a_restored_database_may_lack_jobs(house: VideoHouse) -> None:
    house.store.names.add("bought after the backup")
    await house.real.set_mark(SPENDING_WAITS, "restored")
    await house.inventory.sweep()
    assert house.store.names == {"bought after the backup"}


def _refused(_: str) -> Any:
    raise LinkRefused("its host is no longer among download_hosts")


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 410])
async def test_a_link_that_has_ended_is_noted_as_gone(house: VideoHouse, status: int) -> None:
    job = await _private(house)
    house.venice.revokes = lambda _: failing(status, _outcome(status))
    assert await house.removal.let_go(job)
    assert (house.now(job).copy_gone, house.now(job).download_url) == (True, None)


def _outcome(status: int) -> Outcome:
    return Outcome.OK if status == 200 else Outcome.REFUSED


async def _private(house: VideoHouse) -> Job:
    return await house.stored(download_url=LINK, is_private=True)


async def test_a_link_that_may_not_be_followed_any_more_is_noted_as_gone(house: VideoHouse) -> None:
    job = await _private(house)
    house.venice.revokes = _refused
    assert await house.removal.let_go(job)
    assert (house.now(job).copy_gone, house.now(job).download_url) == (True, None)


@pytest.mark.parametrize(
    "events",
    [
        [Event.FAIL_BILLED],
        [Event.FAIL_REFUNDED],
        [Event.VANISH],
        [Event.STALL],
        [Event.FINISH, Event.REJECT_BODY],
    ],
    ids=lambda events: str(events[-1]),
)
async def test_a_link_is_kept_only_while_its_job_is_open(
    house: VideoHouse, events: list[Event]
) -> None:
    job = await house.working(download_url=LINK, is_private=True)
    for event in events:
        job = await house.real.advance(job.id, event, house.clock.now())
    assert job.download_url is None


async def test_a_link_older_than_any_lives_is_noted_without_asking(house: VideoHouse) -> None:
    job = await _private(house)
    house.venice.revokes = lambda _: failing(503, Outcome.UNAVAILABLE)
    assert not await house.removal.let_go(job)
    await house.clock.advance(DAY_MS / 1000)
    assert await house.removal.let_go(job)
    assert house.venice.count("revoke") == 1


@pytest.mark.parametrize(
    "answer",
    [failing(503, Outcome.UNAVAILABLE), failing(401), failing(None, Outcome.NEVER_ARRIVED)],
)
async def test_a_copy_that_may_still_be_there_is_not_noted_as_gone(
    house: VideoHouse, answer: Reply
) -> None:
    job = await house.stored()
    house.venice.completes = lambda _: answer
    assert not await house.removal.let_go(job)
    assert not house.now(job).copy_gone
