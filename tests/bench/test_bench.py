"""The bench's own parts: that it compares in turns, and that its load is what it says."""

from __future__ import annotations

import pytest

from tests.bench import load, processes
from tests.bench.rounds import Comparison, compare


def test_subject_and_baseline_take_turns_and_the_first_turn_is_thrown_away() -> None:
    taken: list[str] = []

    def measured(name: str, figure: float) -> float:
        taken.append(name)
        return figure if len(taken) > 2 else 0.001

    found = compare(
        "a", "b/s", lambda: measured("s", 2.0), lambda: measured("b", 4.0), turns=3, goal=0.6
    )
    assert taken == ["b", "s", "s", "b", "b", "s", "s", "b"]
    assert found.pairs == ((2.0, 4.0),) * 3
    assert (found.ratio, found.verdict) == (0.5, "missed")


def test_a_ratio_is_the_median_of_the_turns_own_ratios() -> None:
    found = Comparison("a", "b/s", ((1.0, 2.0), (10.0, 10.0), (3.0, 4.0)), goal=0.7)
    assert (found.ratio, found.spread, found.verdict) == (0.75, (0.5, 1.0), "reached")


def test_the_load_without_wrk_counts_answers_and_refuses_errors() -> None:
    with processes.bare_app() as url:
        request = load.Request(url, "POST", body="{}", connections=4, seconds=0.3)
        assert load._by_sockets(request) > 10
        with pytest.raises(load.LoadFailed, match="405"):
            load._by_sockets(load.Request(url, seconds=0.3))
