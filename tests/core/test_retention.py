"""How long videos are kept: delivered ones, undelivered ones, and completed ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.retention import KeepRules, Kept, purge_at

RULES = KeepRules(keep=7_000, keep_undelivered=30_000, grace=1_000, purge_on_complete=True)
KEEPING = KeepRules(keep=7_000, keep_undelivered=30_000, grace=1_000, purge_on_complete=False)
times = st.none() | st.integers(0, 10**6)


def video(
    stored: int, delivered: int | None = None, completed: int | None = None, wanted: bool = False
) -> Kept:
    return Kept(stored, delivered, completed, wanted)


@pytest.mark.parametrize(
    ("kept", "rules", "at"),
    [
        (video(100), RULES, 30_100),
        (video(100, delivered=500), RULES, 7_500),
        # fetched again after it was evicted: kept from then
        (video(9_000, delivered=500), RULES, 16_000),
        (video(100, completed=400), RULES, 400),
        # completed while it was still being made: goes as soon as it arrives
        (video(100, completed=50), RULES, 100),
        (video(100, delivered=200, completed=400), RULES, 400),
        (video(100, delivered=200, wanted=True), RULES, 1_200),
        # fetched again: a broken download of that can be repeated, too
        (video(9_000, delivered=500, wanted=True), RULES, 10_000),
        # wanted gone after delivery, and not delivered yet
        (video(100, wanted=True), RULES, 30_100),
        (video(100, delivered=200, completed=400, wanted=True), KEEPING, 7_200),
    ],
)
def test_a_video_goes_when_the_rules_say(kept: Kept, rules: KeepRules, at: int) -> None:
    assert purge_at(kept, rules) == at


@given(st.integers(0, 10**6), times, times, st.booleans(), st.booleans())
def test_completing_never_makes_a_video_stay_longer(
    stored: int, delivered: int | None, completed: int | None, wanted: bool, purges: bool
) -> None:
    rules = RULES if purges else KEEPING
    plain = purge_at(video(stored, delivered), rules)
    assert purge_at(video(stored, delivered, completed, wanted), rules) <= plain


@given(st.integers(0, 10**6), times, st.booleans())
def test_a_video_nobody_completed_is_kept_at_least_its_time(
    stored: int, delivered: int | None, purges: bool
) -> None:
    rules = RULES if purges else KEEPING
    least = rules.keep_undelivered if delivered is None else rules.keep
    assert purge_at(video(stored, delivered), rules) >= stored + least
