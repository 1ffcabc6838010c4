"""Looks are rationed: enough while there are looks to spare, never more than the key allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cadence import (
    FAILED_GAP_MAX,
    LOOKS_PER_MINUTE_MAX,
    STEADY_GAP,
    Load,
    gap_under,
    next_look,
)

IDLE = Load(open_jobs=1, looks_per_minute=114)
usuals = st.none() | st.floats(0.5, 600)
loads = st.builds(Load, st.integers(1, 500), st.integers(1, 2_000))


def looks_until(
    ready: float, usual: float | None, load: Load, first_seen: float = 0.0
) -> list[float]:
    """The looks at one job until the first that finds it ready."""
    looks: list[float] = []
    while not looks or looks[-1] < ready:
        now = looks[-1] if looks else first_seen
        looks.append(next_look(0.0, looks, usual, load, now))
    return looks


@given(st.floats(1, 900), usuals, loads)
def test_no_minute_holds_more_than_twelve_looks_at_one_job(
    ready: float, usual: float | None, load: Load
) -> None:
    looks = looks_until(ready, usual, load)
    for first, thirteenth in zip(looks, looks[LOOKS_PER_MINUTE_MAX:], strict=False):
        assert thirteenth - first >= 60.0 - 1e-6


@given(st.floats(0.5, 900), st.floats(30, 600), st.integers(1, 4))
def test_with_looks_to_spare_a_video_is_found_within_its_promised_time(
    ready: float, usual: float, jobs: int
) -> None:
    load = Load(jobs, 114)  # at one look in 5 s each, four jobs use 48 of the 57 that are half
    promised = max(STEADY_GAP, 0.1 * usual)
    assert looks_until(ready, usual, load)[-1] - ready <= promised + 1e-6


@given(usuals, loads)
def test_all_jobs_together_stay_below_the_limit(usual: float | None, load: Load) -> None:
    looks_a_minute = load.open_jobs * 60 / gap_under(load, usual)
    assert looks_a_minute <= load.looks_per_minute


@given(usuals, loads)
def test_no_gap_is_shorter_than_twelve_looks_a_minute_allow(
    usual: float | None, load: Load
) -> None:
    assert gap_under(load, usual) >= STEADY_GAP


@given(st.lists(st.floats(0, 500), max_size=20), usuals, loads, st.floats(500, 1_000))
def test_the_next_look_is_never_in_the_past(
    looks: list[float], usual: float | None, load: Load, now: float
) -> None:
    assert next_look(0.0, sorted(looks), usual, load, now) >= now


def test_under_load_nobody_is_looked_at_before_it_could_be_ready() -> None:
    assert next_look(0.0, [], 150.0, Load(200, 114), 0.0) == pytest.approx(45.0)


def test_an_unknown_model_is_looked_at_soon_because_the_answer_tells_its_time() -> None:
    assert next_look(100.0, [], None, IDLE, 100.0) == pytest.approx(102.0)


def test_a_fast_model_is_found_quickly() -> None:
    looks = looks_until(2.0, 2.0, IDLE)
    assert looks[-1] - 2.0 <= 0.5
    assert len(looks) <= 8


def test_a_job_seen_again_after_a_restart_is_looked_at_at_once() -> None:
    assert next_look(0.0, [5.0], 150.0, IDLE, 400.0) == pytest.approx(400.0)


def test_a_job_whose_looks_fail_is_looked_at_less_and_less() -> None:
    gaps = [next_look(0.0, [100.0], None, IDLE, 100.0, failed=n) - 100.0 for n in range(1, 9)]
    assert gaps == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, FAILED_GAP_MAX, FAILED_GAP_MAX]
    assert next_look(0.0, [100.0], None, IDLE, 100.0, failed=10_000) == 100.0 + FAILED_GAP_MAX


def test_the_tries_of_a_usual_video_outlast_a_short_trouble() -> None:
    second = next_look(0.0, [100.0], 150.0, IDLE, 100.0, failed=1)
    third = next_look(0.0, [100.0, second], 150.0, IDLE, second, failed=2)
    assert (second - 100.0, third - second) == pytest.approx((15.0, 30.0))


def test_the_tries_of_a_fast_video_are_a_second_apart_at_least() -> None:
    assert next_look(0.0, [10.0], 2.0, IDLE, 10.0, failed=1) == pytest.approx(11.0)
    assert next_look(0.0, [10.0], 2.0, IDLE, 10.0, failed=2) == pytest.approx(12.0)


@given(usuals, loads, st.integers(0, 50))
def test_a_failure_never_brings_the_next_look_forward(
    usual: float | None, load: Load, failed: int
) -> None:
    after = next_look(0.0, [50.0], usual, load, 50.0, failed=failed + 1)
    assert after >= next_look(0.0, [50.0], usual, load, 50.0, failed=failed)
