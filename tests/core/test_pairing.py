"""Which moments belong together: as many pairs as there can be, and of those the nearest."""

from __future__ import annotations

from itertools import combinations, permutations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pairing import pairs

MOMENTS = st.lists(st.integers(0, 30), max_size=5).map(sorted)
POINTS = MOMENTS.map(lambda moments: [(at, at) for at in moments])
Span = tuple[int, int]
Pairs = list[tuple[int, int]]


def worth(ours: list[Span], theirs: list[int], found: Pairs, shift: int) -> tuple[int, int]:
    return len(found), -sum(abs(theirs[j] - ours[i][0] - shift) for i, j in found)


def best(ours: list[Span], theirs: list[int], reach: int, shift: int) -> tuple[int, int]:
    """The same by trying everything."""
    everything = []
    for size in range(min(len(ours), len(theirs)) + 1):
        for left in combinations(range(len(ours)), size):
            for right in permutations(range(len(theirs)), size):
                chosen = list(zip(left, right, strict=True))
                if all(abs(theirs[j] - ours[i][0]) <= reach for i, j in chosen):
                    everything.append(worth(ours, theirs, chosen, shift))
    return max(everything)


@given(POINTS, MOMENTS, st.integers(0, 12), st.integers(-3, 3))
def test_there_are_as_many_pairs_as_can_be_and_none_nearer(
    ours: list[Span], theirs: list[int], reach: int, shift: int
) -> None:
    found = pairs(ours, theirs, reach, shift)
    assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found)
    assert all(abs(theirs[j] - ours[i][0]) <= reach for i, j in found)
    assert worth(ours, theirs, found, shift) == best(ours, theirs, reach, shift)


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=40))
def test_of_spans_one_after_another_each_has_the_moment_within_it(
    lengths: list[tuple[int, bool]],
) -> None:
    spans: list[Span] = []
    moments: list[int] = []
    expected: Pairs = []
    at = 0
    for number, (length, has_one) in enumerate(lengths):
        spans.append((at, at + length))
        if has_one:
            expected.append((number, len(moments)))
            moments.append(at + length)
        at += length + 1
    assert pairs(spans, moments, 10_000) == expected


def test_many_spans_and_moments_are_paired_in_little_time() -> None:
    spans = [(at, at + 10) for at in range(0, 4_000_000, 1_000)]
    moments = [at + 7 for at, _ in spans[::2]]
    found = pairs(spans, moments, 120_000)
    assert found == [(2 * n, n) for n in range(len(moments))]
