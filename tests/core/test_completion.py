"""Completion times: what is believed follows the published P80 first, and then what was seen."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.completion import (
    BELOW_FASTEST,
    BINS,
    EDGES,
    MEMORY,
    SURE_VIDEOS,
    Sketch,
    decode,
    expect,
)

ages = st.floats(0, 100_000)
usuals = st.none() | st.floats(0.5, 3_600)


def taught(times: list[float], usual: float | None, width: float = 1.0) -> Sketch:
    """What is learned from looks that each found a video within a factor after it was ready."""
    sketch = Sketch()
    for seconds in times:
        sketch = sketch.seen(seconds / width, seconds * width, usual)
    return sketch


@given(st.floats(1, 3_600))
def test_before_anything_was_seen_four_fifths_are_ready_by_the_published_p80(usual: float) -> None:
    assert expect(Sketch(), usual).ready_by(usual) == pytest.approx(0.8, abs=0.04)


@given(usuals, ages, ages)
def test_a_chance_never_falls_with_time_and_stays_between_0_and_1(
    usual: float | None, one: float, other: float
) -> None:
    expected = expect(Sketch(), usual)
    early, late = sorted((one, other))
    assert 0.0 <= expected.ready_by(early) <= expected.ready_by(late) <= 1.0
    assert expected.has_waited(early, late) >= -1e-9


@given(usuals, st.floats(0, 5_000), st.floats(0.01, 0.99))
def test_a_quantile_is_the_age_of_its_chance(
    usual: float | None, after: float, share: float
) -> None:
    expected = expect(Sketch(), usual)
    age = expected.quantile(share, after)
    already = expected.ready_by(after)
    assert age >= after
    assert expected.ready_by(age) == pytest.approx(already + share * (1 - already), abs=1e-6)


def test_what_was_seen_outweighs_what_was_published() -> None:
    chance = random.Random(4)
    times = [chance.lognormvariate(4.0, 0.2) for _ in range(400)]
    expected = expect(taught(times, usual=300.0, width=1.02), 300.0)
    for share in (0.2, 0.5, 0.8):
        truth = sorted(times)[round(share * len(times))]
        assert expected.quantile(share) == pytest.approx(truth, rel=0.08)


def test_looks_that_were_far_apart_teach_the_truth_too() -> None:
    """Each video is known to a quarter of a minute only, and the beginning is a wrong guess."""
    chance = random.Random(5)
    sketch = Sketch()
    for _ in range(1_500):
        seconds = chance.lognormvariate(4.6, 0.3)
        start = chance.uniform(0, 15)
        found = start + 15 * -(-(seconds - start) // 15)
        sketch = sketch.seen(max(0.0, found - 15), found, 60.0)
    expected = expect(sketch, 60.0)
    assert expected.quantile(0.5) == pytest.approx(99.5, rel=0.06)
    assert expected.quantile(0.8) == pytest.approx(128.0, rel=0.08)


def test_a_model_that_became_faster_is_believed_within_some_hundred_videos() -> None:
    sketch = taught([200.0] * 1_000, 200.0, 1.05)
    for _ in range(round(2 * MEMORY)):
        sketch = sketch.seen(55.0, 65.0, 200.0)
    assert sketch.videos == pytest.approx(MEMORY)
    assert expect(sketch, 200.0).quantile(0.6) < 70.0


def test_a_video_that_nothing_explains_is_learned_all_the_same() -> None:
    sketch = Sketch().seen(1e6, 1e6 + 1, 10.0)
    assert sketch.videos == pytest.approx(1.0)


def test_nobody_is_expected_before_half_of_the_fastest_once_enough_were_seen() -> None:
    few = taught([100.0] * round(SURE_VIDEOS - 2), 100.0, 1.02)
    assert expect(few, 100.0).earliest == 0.0
    many = taught([100.0] * round(SURE_VIDEOS + 2), 100.0, 1.02)
    assert expect(many, 100.0).earliest == pytest.approx(BELOW_FASTEST * 100.0, rel=0.1)


@given(st.lists(st.tuples(ages, st.floats(0.1, 100)), max_size=20), usuals)
def test_a_sketch_comes_back_as_it_was_kept(
    seen: list[tuple[float, float]], usual: float | None
) -> None:
    sketch = Sketch()
    for after, more in seen:
        sketch = sketch.seen(after, after + more, usual)
    text = sketch.encode()
    assert len(text) < 4_000
    assert decode(text).weights == pytest.approx(sketch.weights, abs=1e-4)
    assert decode(text).encode() == text


@pytest.mark.parametrize("text", ["", "{}", "[-1,1]", "[0,-1]", "[0,NaN]", f"[{BINS},1]", '["a"]'])
def test_a_damaged_sketch_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own among them
        decode(text)


def test_the_bins_reach_beyond_the_day_after_which_a_job_is_given_up() -> None:
    assert EDGES[-1] > 86_400
    assert len(EDGES) == BINS + 1
