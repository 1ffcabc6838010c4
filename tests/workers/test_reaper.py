"""The reaper: one video that cannot go holds up no other, and Venice is not asked in vain."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gateway.core.job import Event, State
from gateway.core.policy import VideoRules
from gateway.core.retention import KeepRules, Kept, purge_at
from gateway.core.retry import Outcome
from gateway.ports import LedgerFull, NoPlace, Reply
from gateway.storage import ledger_sqlite
from gateway.workers.reaper import (
    COPY_RETRY_SECONDS,
    FAILURES_A_ROUND,
    SWEEP_SECONDS,
)
from tests.video_house import DONE, VideoHouse, failing

RULES = VideoRules()
KEPT = VideoRules(on_complete="keep")
DAY = 86_400.0
BUSY = failing(503, Outcome.UNAVAILABLE)


async def test_a_round_goes_on_after_a_job_that_somebody_else_moved(house: VideoHouse) -> None:
    jobs = [await house.stored() for _ in range(3)]
    for job in jobs:
        house.book.put(await house.real.note(job.id, {"completed_at": house.clock.now()}))
    seen: list[str] = []

    async def trouble(job_id: str, event: Event, *_rest: object) -> None:
        if event is not Event.PURGE or job_id in seen:
            return
        seen.append(job_id)
        if len(seen) == 1:
            # Its caller completes it at this very moment.
            await house.real.advance(job_id, Event.PURGE, house.clock.now())
        if len(seen) == 2:
            raise LedgerFull("the disk is full")

    house.ledger.before["advance"] = trouble
    reaper = house.reaper(RULES)
    await reaper.run_once()
    states = [house.now(job).state for job in jobs]
    assert sorted(states) == [State.PURGED, State.PURGED, State.STORED]
    await reaper.run_once()
    assert {house.now(job).state for job in jobs} == {State.PURGED}


async def test_copies_that_cannot_be_deleted_hold_up_no_other(house: VideoHouse) -> None:
    stubborn = [await house.stored() for _ in range(ledger_sqlite.CHORES_PAGE + 1)]
    await house.clock.advance(1)
    easy = await house.stored()
    fine = f"q-{easy.id}"
    house.venice.completes = lambda queue_id: DONE if queue_id == fine else BUSY
    reaper = house.reaper(KEPT)
    rounds = 0
    while not house.now(easy).copy_gone:
        await reaper.run_once()
        rounds += 1
        assert rounds <= len(stubborn) / FAILURES_A_ROUND + 1
    # Every one was tried before any was tried again.
    assert len(house.venice.calls) == len(set(house.venice.calls))


async def test_venice_is_not_asked_on_and_on_while_it_fails(house: VideoHouse) -> None:
    for _ in range(10):
        await house.stored()
    house.venice.completes = lambda _: BUSY
    reaper = house.reaper(KEPT)
    await reaper.run_once()
    assert house.venice.count("complete") == FAILURES_A_ROUND


async def test_a_copy_is_tried_again_later_and_later(house: VideoHouse) -> None:
    job = await house.stored()
    house.venice.completes = lambda _: BUSY
    reaper, tried_at = house.reaper(KEPT), []
    began = house.clock.monotonic()
    for _ in range(800):
        before = house.venice.count("complete")
        await reaper.run_once()
        if house.venice.count("complete") > before:
            tried_at.append(house.clock.monotonic() - began)
        await house.clock.advance(1)
    assert tried_at == [0, COPY_RETRY_SECONDS, 3 * COPY_RETRY_SECONDS, 210, 450, 750]
    house.venice.completes = lambda _: DONE
    await house.clock.advance(300)
    await reaper.run_once()
    assert house.now(job).copy_gone


async def test_the_only_copy_is_never_deleted_at_venice(house: VideoHouse) -> None:
    """R18: in the making, on its way here, given up for now, or called back: Venice's is all there
    is, even where its user has completed the job."""
    ways: list[list[Event]] = [
        [],
        [Event.FINISH],
        [Event.FINISH, Event.REJECT_BODY],
        [Event.STALL],
    ]
    for events in ways:
        job = await house.working(completed_at=house.clock.now())
        for event in events:
            job = await house.real.advance(job.id, event, house.clock.now())
        house.book.put(job)
    evicted = await house.stored()
    await house.real.advance(evicted.id, Event.EVICT, house.clock.now())
    reaper = house.reaper(RULES)
    await reaper.run_once()
    assert house.venice.calls == []
    await house.real.note(evicted.id, {"completed_at": house.clock.now()})
    await reaper.run_once()
    assert house.venice.calls == [("complete", f"q-{evicted.id}")]


async def test_without_a_place_at_the_gate_the_rest_waits_and_nothing_is_held_against_it(
    house: VideoHouse,
) -> None:
    jobs = [await house.stored() for _ in range(3)]
    asked: list[str] = []

    def no_place(queue_id: str) -> Reply:
        asked.append(queue_id)
        raise NoPlace("the breaker is open")

    house.venice.completes = no_place
    reaper = house.reaper(KEPT)
    await reaper.run_once()
    assert len(asked) == 1
    house.venice.completes = lambda _: DONE
    await reaper.run_once()
    assert all(house.now(job).copy_gone for job in jobs)


async def test_once_a_day_files_of_no_job_are_swept(house: VideoHouse) -> None:
    reaper = house.reaper(KEPT)
    house.store.names.add("of nobody")
    await house.clock.advance(SWEEP_SECONDS - 1)
    await reaper.run_once()
    assert house.store.names == {"of nobody"}
    await house.clock.advance(1)
    await reaper.run_once()
    assert house.store.names == set()


@pytest.mark.parametrize("had_before", [False, True])
async def test_a_delivery_that_completes_leaves_its_grace_however_long_ago_others_were(
    house: VideoHouse, had_before: bool
) -> None:
    job = await house.stored()
    if had_before:
        await house.deliveries.note_delivered(job)
        await house.clock.advance(3 * DAY)
    await house.deliveries.want_deleted(house.now(job))
    await house.deliveries.note_delivered(house.now(job))
    reaper = house.reaper(RULES)
    await house.clock.advance(DAY - 1)
    await reaper.run_once()
    assert house.now(job).state is State.STORED
    await house.clock.advance(2)
    await reaper.run_once()
    assert house.now(job).state is State.PURGED


async def test_what_is_purged_is_what_the_rules_say(
    house: VideoHouse, chance: random.Random
) -> None:
    """The ledger finds them by its own words, and so does whoever shows when a video goes."""
    times, jobs = range(0, 100_000, 1_000), []
    now = house.clock.now()
    for _ in range(150):
        job = await house.stored()
        facts: dict[str, Any] = {"stored_at": now - chance.choice(times)}
        for name in ("delivered_at", "completed_at"):
            facts[name] = chance.choice((None, now - chance.choice(times)))
        facts["delete_wanted"] = chance.random() < 0.5
        jobs.append(await house.real.note(job.id, facts))
    for _ in range(40):
        keep, keep_undelivered, grace = (chance.choice(times) for _ in range(3))
        rules = KeepRules(keep, keep_undelivered, grace, chance.random() < 0.5)
        due = {
            job.id
            for job in jobs
            if purge_at(
                Kept(job.stored_at or 0, job.delivered_at, job.completed_at, job.delete_wanted),
                rules,
            )
            <= now
        }
        found = {job.id for job in await house.real.purgeable(rules, now)}
        assert found <= due
        assert len(found) == min(len(due), ledger_sqlite.CHORES_PAGE)
