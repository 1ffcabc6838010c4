"""The least delay that any schedule of looks can reach, computed from the true distribution alone.

It shares no code with the gateway's cadence: a fine grid of one model's true completion times, the
best inspection times by dynamic programming, and one price of a look for all models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from gateway.simulator.execution import P80_QUANTILE, SIGMA

_NORMAL = NormalDist()
_P80 = _NORMAL.inv_cdf(P80_QUANTILE)
POINTS = 500
FURTHEST = 4.0
"""Standard deviations of the logarithm: one job in thirty thousand is beyond."""
HALVINGS = 16


@dataclass(frozen=True)
class Best:
    """The best schedule at a number of looks: mean seconds from ready to found, per job."""

    looks: float
    delay: float


def ready_by(p80: float) -> Callable[[float], float]:
    """The true distribution of a model's completion times, as the simulator draws them."""

    def by(seconds: float) -> float:
        if seconds <= 0:
            return 0.0
        return _NORMAL.cdf(math.log(seconds / p80) / SIGMA + _P80)

    return by


def best_schedule(p80s: Sequence[float], looks: float) -> Best:
    """The least mean delay with so many looks a job on average, over equally frequent models."""
    grids = [_grid(p80) for p80 in p80s]
    cheap, dear = 0.001, 1_000.0
    best = Best(math.inf, math.inf)
    for _ in range(HALVINGS):
        price = math.sqrt(cheap * dear)
        found = [_inspect(times, by, price) for times, by in grids]
        best = Best(fmean(n for n, _ in found), fmean(delay for _, delay in found))
        cheap, dear = (price, dear) if best.looks > looks else (cheap, price)
    return best


def _grid(p80: float) -> tuple[list[float], list[float]]:
    low = p80 * math.exp(SIGMA * (-FURTHEST - _P80))
    high = p80 * math.exp(SIGMA * (FURTHEST - _P80))
    times = [low + (high - low) * n / POINTS for n in range(POINTS + 1)]
    by = list(map(ready_by(p80), times))
    by[0], by[-1] = 0.0, 1.0
    return times, by


def _inspect(times: Sequence[float], by: Sequence[float], price: float) -> tuple[float, float]:
    """Looks and delay of the schedule with the least sum of waiting and prices."""
    waited = [0.0]
    for n in range(POINTS):
        waited.append(waited[-1] + (by[n] + by[n + 1]) / 2 * (times[n + 1] - times[n]))
    costs, looks, delays = ([0.0] * (POINTS + 1) for _ in range(3))
    for n in range(POINTS - 1, -1, -1):
        share = by[n]
        best = min(range(n + 1, POINTS + 1), key=lambda m: waited[m] - share * times[m] + costs[m])
        delay = waited[best] - waited[n] - share * (times[best] - times[n])
        costs[n] = price * (1 - share) + delay + costs[best]
        looks[n] = 1 - share + looks[best]
        delays[n] = delay + delays[best]
    return looks[0], delays[0]
