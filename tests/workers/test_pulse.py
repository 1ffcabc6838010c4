"""The pulse measures how late the loop wakes, and nothing else."""

from __future__ import annotations

import asyncio

from gateway.workers.pulse import BEAT_SECONDS, Pulse
from tests.upstream.still_clock import StillClock


async def test_a_loop_that_wakes_in_time_has_no_lag_and_a_late_one_has_just_that() -> None:
    clock = StillClock()
    seen: list[float] = []
    pulse = Pulse(clock, seen.append)
    beat = asyncio.create_task(pulse.run_once())
    await clock.advance(BEAT_SECONDS)
    await beat
    clock._move_to(clock.monotonic() + 1.0)
    late = asyncio.create_task(pulse.run_once())
    await asyncio.sleep(0)
    # The loop was held up: the moment had long passed when the sleeper was woken.
    clock._move_to(clock.monotonic() + BEAT_SECONDS + 0.25)
    await clock.advance(0)
    await late
    assert [round(lag, 6) for lag in seen] == [0.0, 0.25]
