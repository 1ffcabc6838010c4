"""A row of spans of time and a row of moments, and which moment belongs to which span.

As many pairs as there can be, and of those choices the nearest in all. It knows nothing of what
they stand for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

OUTSIDE = 10_000
"""How much a millisecond outside of a span weighs against one within it."""
_SKIP_OURS, _SKIP_THEIRS, _PAIR = range(3)


def pairs(
    ours: Sequence[tuple[int, int]], theirs: Sequence[int], reach: int, shift: int = 0
) -> list[tuple[int, int]]:
    """The positions of each pair of a span of ours and a moment of theirs, both in ascending order.

    Only what is within `reach` of the span's beginning makes a pair. A moment inside the span is
    nearer than any outside, then one near its beginning; `shift` is by how much their clock is
    ahead. Pairs never cross. Time and memory grow with what is within reach of each other, not
    with everything.
    """
    worth = (OUTSIDE + 1) * (2 * reach + abs(shift)) * (min(len(ours), len(theirs)) + 1) + 1
    best = [0] * (len(theirs) + 1)
    """The worth of the best choice among ours so far and the first `j` of theirs."""
    filled = 0
    bands: list[tuple[int, bytearray]] = []
    for span in ours:
        low = bisect_left(theirs, span[0] - reach)
        high = bisect_right(theirs, span[0] + reach)
        for j in range(filled + 1, high + 1):
            best[j] = best[filled]
        filled = max(filled, high)
        choices = bytearray(high - low)
        before = best[low]
        for j in range(low + 1, high + 1):
            alone, paired = best[j], before + worth - _distance(span, theirs[j - 1] - shift)
            before = alone
            if paired > alone and paired > best[j - 1]:
                best[j], choices[j - 1 - low] = paired, _PAIR
            elif best[j - 1] > alone:
                best[j], choices[j - 1 - low] = best[j - 1], _SKIP_THEIRS
        bands.append((low, choices))
    return _traced(bands, len(theirs))


def _distance(span: tuple[int, int], moment: int) -> int:
    begin, end = span
    outside = max(begin - moment, moment - end, 0)
    return OUTSIDE * outside + abs(moment - begin)


def _traced(bands: Sequence[tuple[int, bytearray]], end: int) -> list[tuple[int, int]]:
    """The choices that led to the best end, oldest first."""
    found = []
    i, j = len(bands) - 1, end
    while i >= 0:
        low, choices = bands[i]
        j = min(j, low + len(choices))
        choice = choices[j - 1 - low] if j > low else _SKIP_OURS
        if choice == _SKIP_THEIRS:
            j -= 1
            continue
        if choice == _PAIR:
            j -= 1
            found.append((i, j))
        i -= 1
    return found[::-1]
