"""When to look at a job next: each look has a price in seconds of waiting, and a plan says for each
kind of job which looks are worth theirs.

The key allows some three looks a job at full rate, so a look is a decision. Pure functions of what
is believed, how long it has been, and how much is asked of the key; the tracker acts on them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from gateway.core.completion import EDGES, Expected, bin_of

LOOKS_PER_MINUTE_MAX = 12
"""On one job, however many ask for it."""
STEADY_GAP = 5.0
"""Seconds between looks while there are looks to spare: 12 a minute."""
QUICK_GAP_MIN = 0.3
"""Seconds: below this a look costs more than it can save."""
QUICK_LOOKS = 6
"""Looks within a minute that may follow each other faster than the steady gap: half of them, so
that enough are left for a job that takes longer."""
FIRST_LOOK_UNKNOWN = 2.0
"""Seconds to the first look at a model whose time nobody has told yet; the answer tells it."""
FAILED_GAP_MIN = 1.0
FAILED_GAP_MAX = 300.0
"""Seconds after one failed look, and at most after many in a row: Venice counts each of them
against the whole key, and a network that is down for a moment must not use up a job's tries."""
FAILURES_MAX = 30
"""From here on any gap is the longest."""
GAP_MAX = 120.0
"""Seconds: however unlikely, a job is looked at so often that nobody gives it up."""
USUAL_SHARE = 0.1
"""Of the usual time: how late a video may be found while there are looks to spare."""
SPARE_SHARE = 0.85
"""Of the retrieve limit: what the looks may need that keep to it."""
USED_SHARE = 0.97
"""Of the retrieve limit: what prices aim at. What is over waits, and the best look goes first."""
PRICE_MIN = 0.25
"""Seconds of waiting that a look must save to be worth it when nobody else needs it: a video of
two minutes is then looked at every five seconds when it is due, one of two seconds twice in one."""
PRICE_STEP = 1.1
PRICE_STEPS_MAX = 120
"""Prices go in steps, so that plans are made once: from a quarter of a second to six hours."""
PRICE_STEPS_AT_ONCE = 8
BEAT_MIN, BEAT_MAX = 1.5, 12.0
"""Seconds between polls that are worth waiting for: more often, and one always comes soon."""
BEATS_MISSED_MAX = 2
"""Polls that did not come: then the client is gone, or no longer regular."""
POLL_LEAD = 1.0
"""Seconds before a poll: what a look takes, and the fetch that may come of it."""
RARE = 0.01
SELDOM = 8
"""Where fewer than a hundredth are ready, or are not, every eighth edge is enough to plan with."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The looks at one kind of job that a price is worth, from the start and from any age."""

    expected: Expected = field(repr=False)
    price: float
    gap: float | None
    """The longest time between two looks, where that is promised."""
    edges: Sequence[int] = field(repr=False)
    """The edges of bins that looks are planned at."""
    costs: Sequence[float] = field(repr=False)
    """What is still to be paid from each of them on, times the chance that it comes to that."""
    looks: float
    """Looks a job takes, on average."""
    seconds: float
    """The age at which it is found, on average."""

    def after(self, age: float) -> float:
        """The age at which to look next at a job that was not ready at `age`."""
        start = bisect_left(self.edges, bin_of(age) + 1)
        longest = max(age + (GAP_MAX if self.gap is None else self.gap), self.expected.earliest)
        if start == len(self.edges):
            return longest
        already = self.expected.ready_by(age)
        among = range(start, len(self.edges))
        best = _best(self.expected, self.edges, self.costs, already, among)
        return min(EDGES[self.edges[best]], longest)


def plan(expected: Expected, price: float, gap: float | None = None) -> Plan:
    """The plan with the least sum of waiting and prices.

    By dynamic programming over the edges, backwards: the optimal inspection times of Barlow, Hunter
    and Proschan (1963), for any distribution. `gap` bounds the time between looks.
    """
    by, edges = expected.by, _edges_to_plan(expected)
    count = len(edges)
    costs, looks, found = [0.0] * count, [0.0] * count, [0.0] * count
    for n in range(count - 2, -1, -1):
        here = edges[n]
        among = _within_reach(expected, edges, n, gap)
        best = _best(expected, edges, costs, by[here], among)
        there = edges[best]
        left, seconds = 1.0 - by[here], EDGES[there] - EDGES[here]
        waited = expected.waited[there] - expected.waited[here] - by[here] * seconds
        costs[n] = price * left + waited + costs[best]
        looks[n] = left + looks[best]
        found[n] = (by[there] - by[here]) * EDGES[there] + found[best]
    return Plan(expected, price, gap, edges, costs, looks[0], found[0])


def _edges_to_plan(expected: Expected) -> list[int]:
    """The start, every edge where much may happen, and some of those where little does."""
    by = expected.by
    return [
        n
        for n in range(len(by))
        if n % SELDOM == 0
        or (RARE <= by[n] <= 1.0 - RARE and EDGES[n] >= expected.earliest)
        or n == len(by) - 1
    ]


def _best(
    expected: Expected,
    edges: Sequence[int],
    costs: Sequence[float],
    already: float,
    among: range,
) -> int:
    """The place of the edge to look at next where `already` was the chance of being ready."""
    waited = expected.waited
    return min(among, key=lambda m: waited[edges[m]] - already * EDGES[edges[m]] + costs[m])


def _within_reach(expected: Expected, edges: Sequence[int], n: int, gap: float | None) -> range:
    """The places of the edges that may come next: at least one, however short the gap."""
    if gap is None:
        return range(n + 1, len(edges))
    furthest = bin_of(max(EDGES[edges[n]] + gap, expected.earliest))
    return range(n + 1, max(n + 2, bisect_right(edges, furthest)))


@dataclass(frozen=True, slots=True)
class Demand:
    """Open jobs of one kind under one plan."""

    jobs: int
    plan: Plan

    @property
    def looks_per_minute(self) -> float:
        """Looks that so many jobs need, if new ones come as these end (Little's law)."""
        return min(
            self.jobs * 60.0 * self.plan.looks / max(self.plan.seconds, QUICK_GAP_MIN),
            float(self.jobs * LOOKS_PER_MINUTE_MAX),
        )


def promised_gap(usual: float) -> float:
    """How late a video may be found while there are looks to spare, in seconds."""
    return max(STEADY_GAP, USUAL_SHARE * usual)


def can_promise(jobs: Iterable[tuple[int, float]], looks_per_minute: int) -> bool:
    """Whether all jobs (numbers, with their usual time) can be looked at as often as promised."""
    needed = sum(count * 60.0 / promised_gap(usual) for count, usual in jobs)
    return needed <= SPARE_SHARE * looks_per_minute


def price_of(step: int) -> float:
    """The price of a look at one of its steps, in seconds of waiting."""
    return float(PRICE_MIN * PRICE_STEP**step)


def next_step(step: int, demands: Iterable[Demand], looks_per_minute: int) -> int:
    """The step of the price that brings what is asked nearer to what the key allows.

    Looks go with the inverse square root of their price, or nearly so: the gap that is best is the
    root of twice the price over the chance of becoming ready in a second.
    """
    asked = sum(demand.looks_per_minute for demand in demands)
    allowed = USED_SHARE * looks_per_minute
    moved = 0
    while asked > allowed and moved < PRICE_STEPS_AT_ONCE:
        asked, moved = asked / PRICE_STEP**0.5, moved + 1
    while asked * PRICE_STEP**0.5 <= allowed and moved > -PRICE_STEPS_AT_ONCE:
        asked, moved = asked * PRICE_STEP**0.5, moved - 1
    return min(max(step + moved, 0), PRICE_STEPS_MAX)


def next_look(
    plan: Plan | None,
    unready: float,
    looks: Sequence[float],
    *,
    failed: int = 0,
    is_ready: bool = False,
) -> float:
    """The age at which to look at a job next.

    `unready` is the last age at which Venice said that it is still being made, 0 where it never
    did; `looks` are the ages of the looks so far, oldest first; `failed` counts the last looks in a
    row that failed; a job that `is_ready` only waits to be fetched. Without a plan nobody has told
    yet how long this model takes.
    """
    if not looks:
        return max(QUICK_GAP_MIN, FIRST_LOOK_UNKNOWN if plan is None else plan.after(unready))
    due = looks[-1] if is_ready else looks[-1] + STEADY_GAP if plan is None else plan.after(unready)
    recent = sum(age > looks[-1] - 60.0 for age in looks)
    usual = 0.0 if plan is None else plan.expected.usual
    is_quick = 0.0 < usual < STEADY_GAP * QUICK_LOOKS
    # Looks in quick succession use up the minute's, and are followed by a gap longer than promised.
    may_hurry = recent < QUICK_LOOKS and (is_quick or is_ready or usual == 0.0)
    gap = QUICK_GAP_MIN if may_hurry else STEADY_GAP
    if failed:
        ordinary = FAILED_GAP_MIN if is_quick else STEADY_GAP
        gap = gap_after(failed, max(ordinary, USUAL_SHARE * usual))
    due = max(due, looks[-1] + gap)
    if len(looks) >= LOOKS_PER_MINUTE_MAX:
        due = max(due, looks[-LOOKS_PER_MINUTE_MAX] + 60.0)
    return due


def gap_after(failed: int, ordinary: float) -> float:
    """Seconds to wait after so many failures in a row: doubled with each, up to a limit."""
    if failed > FAILURES_MAX:
        return max(ordinary, FAILED_GAP_MAX)
    return max(ordinary, min(FAILED_GAP_MAX, ordinary * 2.0 ** (failed - 1)))


def saving(expected: Expected, unready: float, age: float) -> float:
    """What a look now is for, by which the best of those that are due goes first: the seconds that
    a video has waited so far, on average, that was not ready at `unready`.

    It grows without end, so that none is passed over for ever.
    """
    return expected.has_waited(unready, age)


class Beat(NamedTuple):
    """How a job is polled, in seconds by any clock."""

    last: float
    gap: float | None
    """Between the last two polls; None after the first."""


def beat_after(beat: Beat | None, now: float) -> Beat:
    """With one more poll, just now."""
    return Beat(now, None if beat is None else now - beat.last)


def before_a_poll(beat: Beat | None, due: float, now: float) -> float:
    """The moment near `due`, and not before `now`, that is just before a poll is expected.

    A video that came earlier would wait for that poll all the same, and a look that is later knows
    more. `due` itself where polls are rare, many, or not regular enough to be told ahead.
    """
    if beat is None or beat.gap is None or not BEAT_MIN <= beat.gap <= BEAT_MAX:
        return due
    if now - beat.last > BEATS_MISSED_MAX * beat.gap:
        return due
    first = beat.last + beat.gap - POLL_LEAD
    whole = max(round((due - first) / beat.gap), ceil((now - first) / beat.gap))
    return first + whole * beat.gap
