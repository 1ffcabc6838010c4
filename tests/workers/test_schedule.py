"""The schedule of looks, measured: hours of simulated traffic through the real tracker."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from statistics import fmean

import pytest

from gateway.core.cadence import promised_gap
from gateway.core.completion import Kind, Sketch
from gateway.core.pacing import SLACK_SECONDS, WINDOW_SECONDS
from gateway.experience import KINDS_MAX, Experience
from gateway.ports import LedgerFull
from tests.bench.bound import best_schedule
from tests.scheduled_house import LOOKS_PER_MINUTE, FreeClock, KeptTimes, ScheduledHouse

FULL_RATE = 37.3
"""Orders a minute that the gate lets through: 38 in a window of 61 seconds."""
MIX = [115.0, 145.0, 120.0, 130.0, 140.0, 135.0, 330.0, 60.0, 125.0]
"""The published averages of the sample catalogue, in seconds."""


@pytest.mark.parametrize(
    ("p80s", "minutes"), [([145.0], 12), pytest.param(MIX, 75, marks=pytest.mark.torture)]
)
async def test_at_full_rate_videos_are_found_nearly_as_soon_as_any_schedule_could(
    p80s: list[float], minutes: int
) -> None:
    """Three looks a job, and the mean delay within 1.3 of the best that three can reach."""
    house = ScheduledHouse(seed=7)
    await house.run(p80s, FULL_RATE, minutes)
    counted = [each for each in house.found if each.at >= 1_000 + minutes * 60 / 3]
    looks, delay = fmean(f.looks for f in counted), fmean(f.delay for f in counted)
    best = best_schedule(p80s, 3.0)
    print(f"looks {looks:.2f}, delay {delay:.2f} s, best {best.delay:.2f} s")
    assert looks <= 3.06
    assert delay <= 1.3 * best.delay


async def test_while_there_are_looks_to_spare_every_video_is_found_within_its_promise() -> None:
    house = ScheduledHouse(seed=8)
    p80s = [150.0, 60.0, 330.0]
    await house.run(p80s, 5.0, 12)
    assert len(house.found) > 30
    for each in house.found:
        assert each.delay <= promised_gap(each.p80) + 1.0, each


async def test_a_burst_never_asks_more_than_the_key_allows_and_all_are_found() -> None:
    house = ScheduledHouse(seed=9)
    for _ in range(150):
        house.accept(145.0)
    await house.pass_time(400)
    assert house.open_jobs <= 2
    # They are more than a window holds: who is passed over in one has a look in the next.
    two_windows = 2 * (WINDOW_SECONDS + SLACK_SECONDS)
    assert all(each.delay <= two_windows + 1 for each in house.found)


async def test_a_job_that_takes_thirty_times_as_long_is_looked_at_to_its_end() -> None:
    """Nobody starves: neither behind a full key, nor for being unlikely."""
    house = ScheduledHouse(seed=10)
    slow = house.accept(20.0, seconds=600.0)
    await house.run([20.0], FULL_RATE, 10)
    await house.pass_time(150)
    found = next(each for each in house.found if each.job == slow)
    assert found.delay <= 130.0
    looks = [at for at, job in house.looks if job == slow]
    assert max(b - a for a, b in pairwise(looks)) <= 130.0


async def test_a_job_that_is_over_is_never_looked_at_again() -> None:
    house = ScheduledHouse(seed=11)
    await house.run([20.0], 10, 5)
    over = {each.job: each.at for each in house.found}
    assert all(at <= over[job] for at, job in house.looks if job in over)
    assert len(house.found) > 30


async def test_what_was_learned_comes_back_after_a_restart_and_costs_one_write_a_video() -> None:
    house = ScheduledHouse(seed=12)
    await house.run([20.0], 20, 3)
    await house.pass_time(1)
    assert house.kept.writes == Counter({Kind("model-20.0"): len(house.found)})
    again = Experience(house.kept, house.clock)
    await again.load()
    before, after = (e.expected(Kind("model-20.0")) for e in (house.experience, again))
    house.clock.elapsed += 20
    assert again.knows(Kind("model-20.0"))
    assert after.quantile(0.5) == pytest.approx(before.quantile(0.5), rel=0.1)


async def test_a_ledger_that_cannot_write_costs_no_look_and_the_next_video_tries_again() -> None:
    class Full(KeptTimes):
        async def keep(self, kind: Kind, sketch: Sketch, average_ms: int | None, at: int) -> None:
            raise LedgerFull("the disk is full")

    clock, kind = FreeClock(), Kind("m")
    experience = Experience(Full(), clock)
    experience.learn(kind, 1.0, 2.0)
    await experience.save(kind)
    experience._kept = kept = KeptTimes()
    await experience.save(kind)
    assert kept.writes == Counter({kind: 1})


async def test_however_many_kinds_are_ordered_no_more_than_some_are_remembered() -> None:
    house = ScheduledHouse(seed=13)
    for seconds in range(KINDS_MAX + 50):
        house.experience.hear(Kind("m", "720p", seconds), 1_000)
    house.accept(10.0, resolution="4k", seconds=0.0)
    assert house.experience.kind_of(next(iter(house._truths.values()))[0]) == Kind("model-10.0")


async def test_two_looks_at_one_job_are_never_under_way_at_once() -> None:
    house = ScheduledHouse(seed=14)
    go_on, asked = asyncio.Event(), Counter[str]()
    quick = house.look

    async def slow(job):  # type: ignore[no-untyped-def]
        asked[job.id] += 1
        await go_on.wait()
        return await quick(job)

    house.look = slow  # type: ignore[method-assign]
    job = house.accept(10.0)
    await house.pass_time(120)
    assert asked == {job: 1}
    go_on.set()
    await house.pass_time(1)
    assert house.looks


async def test_with_little_room_the_look_that_saves_most_goes_first() -> None:
    house = ScheduledHouse(seed=15, looks_per_minute=1)
    early = house.accept(100.0, seconds=500.0)
    await house.pass_time(60)
    house.accept(100.0, seconds=500.0)
    await house.pass_time(60)
    first = next(job for at, job in house.looks if at > 1_060.0)
    assert first == early


def test_the_figures_of_the_key_are_those_of_the_gate() -> None:
    assert LOOKS_PER_MINUTE == 114


async def test_at_full_rate_a_look_comes_just_before_its_clients_poll_and_costs_no_other() -> None:
    """Every client polls every five seconds; what is found waits a second for its poll, not two."""
    house = ScheduledHouse(seed=16)
    polls: dict[str, float] = {}

    def poll() -> None:
        for job_id in list(house._truths):
            if house.now >= polls.setdefault(job_id, house.now + house._chance.random() * 5):
                polls[job_id] += 5.0
                house.rhythm.note(job_id)

    for _ in range(round(FULL_RATE * 10)):
        house.accept(145.0)
        for _ in range(6):
            poll()
            await house.pass_time(60 / FULL_RATE / 6, step=60 / FULL_RATE / 6)
    late = [each for each in house.found if each.at > 1_240]
    waits = [(polls[each.job] - each.at) % 5.0 for each in late]
    assert fmean(waits) < 1.9
    assert fmean(each.looks for each in late) <= 3.06
