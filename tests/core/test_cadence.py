"""Looks are rationed: enough while there are looks to spare, never more than the key allows."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.cadence import (
    FAILED_GAP_MAX,
    FIRST_LOOK_UNKNOWN,
    GAP_MAX,
    LOOKS_PER_MINUTE_MAX,
    POLL_LEAD,
    PRICE_STEPS_MAX,
    QUICK_GAP_MIN,
    STEADY_GAP,
    USED_SHARE,
    Demand,
    Plan,
    beat_after,
    before_a_poll,
    can_promise,
    next_look,
    next_step,
    plan,
    price_of,
    promised_gap,
    saving,
)
from gateway.core.completion import Sketch, expect
from tests.bench.bound import best_schedule, ready_by

USUALS = (0.5, 2.0, 20.0, 60.0, 150.0, 600.0)
usuals = st.none() | st.sampled_from(USUALS)
steps = st.integers(0, PRICE_STEPS_MAX)


@lru_cache(maxsize=512)
def seeded(usual: float | None, step: int = 0, *, is_promised: bool = False) -> Plan:
    """A plan for a model of which nothing but its P80 is known."""
    gap = promised_gap(usual or 0.0) if is_promised else None
    return plan(expect(Sketch(), usual), price_of(step), gap)


@lru_cache(maxsize=2)
def well_known(p80: float) -> Sketch:
    """What is learned of a model from a hundred videos that were each found soon."""
    sketch, by = Sketch(), ready_by(p80)
    bounds = [p80 * 1.02**n for n in range(-120, 80)]
    for share in range(100):
        after = max(age for age in bounds if by(age) <= (share + 0.5) / 100)
        sketch = sketch.seen(after, after * 1.02, p80)
    return sketch


def taught(p80: float, step: int, *, is_promised: bool = False) -> Plan:
    """A plan for a model that is known well."""
    gap = promised_gap(p80) if is_promised else None
    return plan(expect(well_known(p80), p80), price_of(step), gap)


def looks_until(ready: float, found: Plan | None) -> list[float]:
    """The ages of the looks at one job until the first that finds it ready."""
    looks: list[float] = []
    while not looks or looks[-1] < ready:
        looks.append(next_look(found, looks[-1] if looks else 0.0, looks))
    return looks


@given(st.floats(1, 900), usuals, steps, st.booleans())
@settings(max_examples=40, deadline=None)
def test_no_minute_holds_more_than_twelve_looks_at_one_job(
    ready: float, usual: float | None, step: int, is_promised: bool
) -> None:
    looks = looks_until(ready, seeded(usual, step, is_promised=is_promised))
    for first, thirteenth in zip(looks, looks[LOOKS_PER_MINUTE_MAX:], strict=False):
        assert thirteenth - first >= 60.0 - 1e-6


@given(st.floats(0.5, 900), st.sampled_from([30.0, 60.0, 150.0, 600.0]), steps)
@settings(max_examples=40, deadline=None)
def test_with_looks_to_spare_a_video_is_found_within_its_promised_time(
    ready: float, usual: float, step: int
) -> None:
    found = looks_until(ready, seeded(usual, step, is_promised=True))[-1]
    assert found - ready <= promised_gap(usual) + 1e-6


@given(st.integers(1, 500), st.integers(10, 2_000), st.sampled_from(USUALS))
@settings(max_examples=40, deadline=None)
def test_all_jobs_together_ask_no_more_than_the_key_allows(
    jobs: int, allowed: int, usual: float
) -> None:
    step, is_promised = 0, can_promise([(jobs, usual)], allowed)
    for _ in range(40):
        demand = Demand(jobs, seeded(usual, step, is_promised=is_promised))
        step = next_step(step, [demand], allowed)
    demand = Demand(jobs, seeded(usual, step, is_promised=is_promised))
    assert demand.looks_per_minute <= allowed * USED_SHARE * 1.06 or step == PRICE_STEPS_MAX


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from(USUALS)), max_size=5))
def test_what_is_promised_fits_the_limit(jobs: list[tuple[int, float]]) -> None:
    if can_promise(jobs, 114):
        assert sum(n * 60 / promised_gap(usual) for n, usual in jobs) <= 114


def test_the_promise_holds_while_less_than_half_of_the_limit_is_used() -> None:
    for usual in USUALS:
        jobs = int(0.5 * 114 * promised_gap(usual) / 60)
        assert can_promise([(jobs, usual)], 114)


@given(usuals, steps, st.floats(0, 80_000))
@settings(max_examples=40, deadline=None)
def test_the_next_look_comes_later_and_not_after_ages(
    usual: float | None, step: int, age: float
) -> None:
    due = next_look(seeded(usual, step), age, [age])
    assert age < due <= age + GAP_MAX + 1e-6


def test_a_model_that_is_known_is_not_looked_at_before_anybody_could_be_ready() -> None:
    for is_promised in (False, True):
        known = taught(150.0, 0, is_promised=is_promised)
        assert known.expected.earliest > 15.0
        assert next_look(known, 0.0, []) >= known.expected.earliest


def test_a_dear_look_is_made_only_when_it_may_save_much() -> None:
    cheap, dear = taught(150.0, 5), taught(150.0, 45)
    assert dear.looks < 2.0 < cheap.looks
    assert dear.seconds > cheap.seconds
    assert dear.after(0.0) > cheap.after(0.0)


@pytest.mark.parametrize("step", [8, 25, 45])
def test_a_plan_costs_little_more_than_the_best_schedule_there_is(step: int) -> None:
    """The bound knows the truth and every second; the plan has a sketch and bins."""
    found = taught(145.0, step)
    made = [(ready, looks_until(ready, found)) for ready in map(quantile, range(2, 200, 4))]
    best = best_schedule([145.0], fmean(len(looks) for _, looks in made))
    assert fmean(looks[-1] - ready for ready, looks in made) <= 1.12 * best.delay


@lru_cache(maxsize=256)
def quantile(n: int) -> float:
    """The n-th two-hundredth of the true completion times."""
    low, high, by = 0.0, 2_000.0, ready_by(145.0)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if by(middle) < n / 200 else (low, middle)
    return high


def test_an_unknown_model_is_looked_at_soon_because_the_answer_tells_its_time() -> None:
    assert next_look(None, 0.0, []) == FIRST_LOOK_UNKNOWN
    assert next_look(None, 2.0, [2.0]) >= 2.0 + QUICK_GAP_MIN


def test_a_fast_model_is_found_quickly() -> None:
    looks = looks_until(2.0, seeded(2.0))
    assert looks[-1] - 2.0 <= 0.5
    assert len(looks) <= 8


def test_a_job_seen_again_after_a_restart_is_looked_at_when_it_may_be_ready() -> None:
    assert next_look(seeded(150.0), 0.0, []) < 400.0


def test_a_job_whose_looks_fail_is_looked_at_less_and_less() -> None:
    gaps = [next_look(None, 0.0, [100.0], failed=n) - 100.0 for n in range(1, 9)]
    assert gaps == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, FAILED_GAP_MAX, FAILED_GAP_MAX]
    assert next_look(None, 0.0, [100.0], failed=10_000) == 100.0 + FAILED_GAP_MAX


def test_the_tries_of_a_usual_video_outlast_a_short_trouble() -> None:
    one, two = seeded(150.0), {"is_ready": True}
    second = next_look(one, 90.0, [100.0], failed=1, **two)
    third = next_look(one, 90.0, [100.0, second], failed=2, **two)
    assert (second - 100.0, third - second) == pytest.approx((15.0, 30.0))


def test_the_tries_of_a_fast_video_are_a_second_apart_at_least() -> None:
    assert next_look(seeded(2.0), 9.0, [10.0], failed=1, is_ready=True) == pytest.approx(11.0)
    assert next_look(seeded(2.0), 9.0, [10.0], failed=2, is_ready=True) == pytest.approx(12.0)


def test_a_video_that_waits_to_be_fetched_is_asked_for_at_once_but_not_all_the_time() -> None:
    looks = [100.0]
    for _ in range(8):
        looks.append(next_look(seeded(150.0), 90.0, looks, is_ready=True))
    gaps = [later - earlier for earlier, later in pairwise(looks)]
    assert gaps[0] == pytest.approx(QUICK_GAP_MIN)
    assert gaps[-1] >= STEADY_GAP


@given(usuals, steps, st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_a_failure_never_brings_the_next_look_forward(
    usual: float | None, step: int, failed: int
) -> None:
    found = seeded(usual, step)
    after = next_look(found, 40.0, [50.0], failed=failed + 1)
    assert after >= next_look(found, 40.0, [50.0], failed=failed)


@given(usuals, st.floats(0, 1_000), st.floats(0, 1_000), st.floats(1, 1_000))
@settings(max_examples=40, deadline=None)
def test_what_a_look_saves_grows_while_nobody_looks(
    usual: float | None, unready: float, waited: float, more: float
) -> None:
    expected = expect(Sketch(), usual)
    now = unready + waited
    assert saving(expected, unready, now + more) >= saving(expected, unready, now) - 1e-6


def test_where_looks_are_short_one_is_made_just_before_the_poll_it_is_nearest_to() -> None:
    beat = beat_after(beat_after(None, 100.0), 105.0)
    assert before_a_poll(beat, 111.0, 106.0) == pytest.approx(110.0 - POLL_LEAD)
    assert before_a_poll(beat, 112.5, 106.0) == pytest.approx(115.0 - POLL_LEAD)
    # Never in the past: the chance after the next poll is the one after.
    assert before_a_poll(beat, 106.0, 109.5) == pytest.approx(115.0 - POLL_LEAD)


@pytest.mark.parametrize(
    ("polls", "now"),
    [([], 110.0), ([105.0], 110.0), ([104.9, 105.0], 106.0), ([5.0, 105.0], 110.0)],
)
def test_polls_that_tell_no_rhythm_move_no_look(polls: list[float], now: float) -> None:
    beat = None
    for at in polls:
        beat = beat_after(beat, at)
    assert before_a_poll(beat, 111.0, now) == 111.0


def test_a_client_that_is_gone_moves_no_look() -> None:
    beat = beat_after(beat_after(None, 100.0), 105.0)
    assert before_a_poll(beat, 121.0, 120.0) == 121.0
