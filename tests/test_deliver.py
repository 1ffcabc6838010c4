"""A video on its way here and in the store: counted against it is only what Venice did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.api.services import Services
from gateway.api.videos import send_video
from gateway.core.job import State
from gateway.core.mp4 import BrokenVideo
from gateway.core.retry import Outcome
from gateway.ports import BodyCut, BodyLost, LinkRefused, StoreFailure, StoreFull
from tests.video_house import COMPLETED, DAY_MS, LINK, VideoHouse, failing, video, video_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[VideoHouse]:
    async with video_house(tmp_path) as found:
        yield found


@pytest.mark.parametrize("fault", [BrokenVideo("no moov"), BodyCut("too short")])
async def test_the_third_bad_body_makes_a_video_undeliverable(
    house: VideoHouse, fault: Exception
) -> None:
    job = await house.working()
    for state in (State.PROCESSING, State.PROCESSING, State.UNDELIVERABLE):
        tried = await house.deliveries.take(house.now(job), video(b"m", fault))
        assert tried.has_failed
        assert tried.job.state is state
    assert house.now(job).bad_bodies == 3


async def test_a_network_that_fails_uses_up_no_try(house: VideoHouse) -> None:
    job = await house.working()
    for _ in range(10):
        tried = await house.deliveries.take(house.now(job), video(b"m", BodyLost("reset")))
        assert tried.has_failed
    after = house.now(job)
    assert (after.state, after.bad_bodies) == (State.PROCESSING, 0)


@pytest.mark.parametrize("fault", [StoreFull("no room"), StoreFailure("EIO")])
async def test_our_own_disk_uses_up_no_try_and_is_not_venices_failure(
    house: VideoHouse, fault: Exception
) -> None:
    job = await house.working()
    house.store.fault = fault
    tried = await house.deliveries.take(job, video())
    assert (tried.job.state, tried.job.bad_bodies) == (State.PROCESSING, 0)
    assert not tried.has_failed


async def test_a_video_that_no_try_brought_in_a_day_is_stalled(house: VideoHouse) -> None:
    job = await house.working()
    tried = await house.deliveries.take(job, video(BodyLost("reset")))
    await house.clock.advance(DAY_MS / 1000 - 1)
    tried = await house.deliveries.take(tried.job, video(BodyLost("reset")))
    assert tried.job.state is State.PROCESSING
    await house.clock.advance(1)
    tried = await house.deliveries.take(tried.job, video(BodyLost("reset")))
    assert tried.job.state is State.STALLED


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 410])
async def test_a_link_that_is_dead_or_leads_elsewhere_stalls_the_job(
    house: VideoHouse, status: int
) -> None:
    job = await house.working(download_url=LINK, is_private=True)
    house.venice.retrieves = lambda _: pytest.fail("nobody is asked")
    kind = Outcome.NONSENSE if status < 400 else Outcome.REFUSED
    house.venice.downloads = lambda _: failing(status, kind)
    fetching = await house.tracking.learn(job, COMPLETED)
    assert (await house.deliveries.follow_link(fetching)).job.state is State.STALLED


async def test_a_link_that_may_not_be_followed_stalls_the_job(house: VideoHouse) -> None:
    def refuse(_: str) -> Any:
        raise LinkRefused("elsewhere")

    house.venice.downloads = refuse
    job = await house.working(download_url=LINK, is_private=True)
    fetching = await house.tracking.learn(job, COMPLETED)
    assert (await house.deliveries.follow_link(fetching)).job.state is State.STALLED


async def test_two_readers_of_a_damaged_file_have_it_fetched_again_once(house: VideoHouse) -> None:
    job = await house.stored()
    house.store.damaged.add(job.id)
    found = await asyncio.gather(*(house.deliveries.open(job) for _ in range(8)))
    assert found == [None] * 8
    assert house.now(job).state is State.PROCESSING


async def test_a_reader_beside_a_purge_finds_the_job_purged(house: VideoHouse) -> None:
    job = await house.stored()
    opened, _ = await asyncio.gather(
        house.deliveries.open(job), house.removal.complete(job, purge=True)
    )
    del opened  # whole, or gone: either is right
    assert await house.deliveries.open(job) is None
    assert house.now(job).state is State.PURGED


async def test_a_video_fetched_again_starts_afresh(house: VideoHouse) -> None:
    job = await house.working()
    for _ in range(2):
        await house.deliveries.take(house.now(job), video(BrokenVideo("bad")))
    await house.deliveries.take(house.now(job), video())
    assert (house.now(job).state, house.now(job).bad_bodies) == (State.STORED, 2)
    await house.clock.advance(2 * DAY_MS / 1000)
    house.store.damaged.add(job.id)
    await house.deliveries.open(house.now(job))
    again = house.now(job)
    assert (again.state, again.bad_bodies, again.ready_at) == (State.PROCESSING, 0, None)
    # Venice is asked for as long as the first time.
    tried = await house.tracking.look(again)
    assert tried.job.state is State.PROCESSING


async def test_a_store_that_cannot_be_read_is_said_so(house: VideoHouse) -> None:
    job = await house.stored()
    house.store.fault = StoreFailure("too many open files")
    services = cast(Services, SimpleNamespace(deliveries=house.deliveries, book=house.book))
    with pytest.raises(StoreFailure):
        await send_video(services, job)
    assert house.now(job).state is State.STORED
