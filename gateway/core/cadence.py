"""When to look at a job next, from its model's usual time and the looks there are to give.

The key allows some three looks a job at full rate, so a look is a decision. A pure function: the
tracker acts on what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LOOKS_PER_MINUTE_MAX = 12
"""On one job, however many ask for it."""
STEADY_GAP = 5.0
"""Seconds between looks while there are looks to spare: 12 a minute."""
FIRST_LOOK_UNKNOWN = 2.0
"""Seconds to the first look at a model whose time nobody has told yet; the answer tells it."""
QUICK_GAP_MIN = 0.3
"""Seconds: below this a look costs more than it can save."""
QUICK_LOOKS = 6
"""Looks that a fast model may have before the steady gap."""
FAILED_GAP_MIN = 1.0
FAILED_GAP_MAX = 300.0
"""Seconds after one failed look, and at most after many in a row: Venice counts each of them
against the whole key, and a network that is down for a moment must not use up a job's tries."""
FAILURES_MAX = 30
"""From here on any gap is the longest."""
USUAL_SHARE = 0.1
"""Of the usual time: how late a video may be found."""
EARLIEST_SHARE = 0.3
"""Of the usual time (a P80): under load nobody is looked at before it."""
SPARE_SHARE = 0.5
BUSY_SHARE = 0.9
"""Of the retrieve limit: what looks may use while there is slack, and at most."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the looks are shared by: open jobs, and retrieves allowed a minute."""

    open_jobs: int
    looks_per_minute: int


def gap_under(load: Load, usual: float | None) -> float:
    """Seconds between two looks at one job, so that all looks fit the limit."""
    promised = max(STEADY_GAP, USUAL_SHARE * (usual or 0.0))
    spare = load.open_jobs * 60 / (load.looks_per_minute * SPARE_SHARE)
    if spare <= promised:
        return max(STEADY_GAP, spare)
    return max(STEADY_GAP, load.open_jobs * 60 / (load.looks_per_minute * BUSY_SHARE))


def next_look(
    accepted: float,
    looks: Sequence[float],
    usual: float | None,
    load: Load,
    now: float,
    *,
    failed: int = 0,
) -> float:
    """The moment of the next look, in the same seconds as all other arguments.

    `accepted` is when Venice took the job, `looks` are the looks so far, oldest first, `usual` is
    the model's P80 in seconds where it is known, `failed` counts the last looks in a row that
    failed.
    """
    gap = gap_under(load, usual)
    is_busy = gap > max(STEADY_GAP, USUAL_SHARE * (usual or 0.0))
    quick = usual is not None and usual < STEADY_GAP * QUICK_LOOKS and not is_busy
    if quick and usual is not None:
        gap = max(QUICK_GAP_MIN, 0.15 * usual) if len(looks) < QUICK_LOOKS else gap
    if not looks:
        if usual is None:
            return max(now, accepted + FIRST_LOOK_UNKNOWN)
        first = EARLIEST_SHARE * usual if is_busy or quick else min(gap, EARLIEST_SHARE * usual)
        return max(now, accepted + max(QUICK_GAP_MIN, first))
    if failed:
        ordinary = FAILED_GAP_MIN if quick else gap
        gap = max(gap, gap_after(failed, max(ordinary, USUAL_SHARE * (usual or 0.0))))
    due = looks[-1] + gap
    if len(looks) >= LOOKS_PER_MINUTE_MAX:
        due = max(due, looks[-LOOKS_PER_MINUTE_MAX] + 60.0)
    return max(now, due)


def gap_after(failed: int, ordinary: float) -> float:
    """Seconds to wait after so many failures in a row: doubled with each, up to a limit."""
    if failed > FAILURES_MAX:
        return max(ordinary, FAILED_GAP_MAX)
    return max(ordinary, min(FAILED_GAP_MAX, ordinary * 2.0 ** (failed - 1)))
