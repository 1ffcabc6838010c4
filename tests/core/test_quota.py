"""A caller's sliding minute: never more than the limit in it, and no longer than it must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.quota import BUCKETS, MinuteCounter


def test_the_limit_is_reached_and_not_passed() -> None:
    counter = MinuteCounter()
    assert [counter.take(1_000, 3) for _ in range(5)] == [True, True, True, False, False]
    assert counter.left(1_000, 3) == 0


def test_a_refused_call_is_not_counted() -> None:
    counter = MinuteCounter()
    for _ in range(100):
        counter.take(1_000, 2)
    assert counter.take(1_000 + BUCKETS, 2)


def test_a_limit_of_zero_forbids() -> None:
    assert not MinuteCounter().take(1_000, 0)


def test_a_place_is_free_again_after_the_wait_and_not_before() -> None:
    counter = MinuteCounter()
    counter.take(1_000, 1)
    assert counter.wait(1_010) == 50
    assert not counter.take(1_010 + 49, 1)
    assert counter.take(1_010 + 50, 1)


def test_without_calls_the_wait_is_the_least_there_is() -> None:
    assert MinuteCounter().wait(5) == 1


def test_a_clock_that_goes_back_opens_nothing() -> None:
    counter = MinuteCounter()
    assert counter.take(1_000, 1)
    assert not counter.take(900, 1)
    assert counter.left(940, 1) == 0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), max_size=80), st.integers(1, 12))
def test_no_sliding_minute_holds_more_than_the_limit(
    steps: list[tuple[int, int]], limit: int
) -> None:
    counter, second = MinuteCounter(), 0
    taken: list[int] = []
    for pause, calls in steps:
        second += pause
        for _ in range(calls):
            recent = sum(1 for at in taken if at > second - BUCKETS)
            assert counter.left(second, limit) == limit - recent
            allowed = counter.take(second, limit)
            assert allowed == (recent < limit)
            if allowed:
                taken.append(second)
            else:
                oldest = min(at for at in taken if at > second - BUCKETS)
                assert counter.wait(second) == oldest + BUCKETS - second
