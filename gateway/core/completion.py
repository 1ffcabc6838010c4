"""How long videos of a kind take: a small histogram over powers of two, learned from what looks
found and seeded by Venice's published P80. Values in, values out; when to look is not decided here.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

BINS_PER_OCTAVE = 16
"""A bin is 4.4 % wide: finer than what looks can tell."""
OCTAVES = (-2, 17)
"""From a quarter of a second to 36 hours; a job is given up after 24."""
EDGES: tuple[float, ...] = (
    0.0,
    *(
        2.0 ** (n / BINS_PER_OCTAVE)
        for n in range(OCTAVES[0] * BINS_PER_OCTAVE + 1, OCTAVES[1] * BINS_PER_OCTAVE + 1)
    ),
)
"""The bounds of the bins, in seconds. The first bin begins at nothing."""
BINS = len(EDGES) - 1
MEMORY = 300.0
"""Videos that count: with each new one all older ones count for a little less, so that a model
that has become faster is believed within a few hundred."""
SEED_WEIGHT = 8.0
"""Videos that the published P80 counts for: a guess at the shape, soon outweighed."""
SEED_SPREAD = 0.4
"""Of the logarithm, where only the P80 is known: the slowest tenth takes three times as long as the
fastest."""
USUAL_UNKNOWN = 120.0
SPREAD_UNKNOWN = 1.0
"""Seconds, and how little is known, of a model of which Venice has said nothing yet."""
TAIL_SHARE = 0.03
"""Of the seed: jobs that take longer than anything explains, up to the end of the bins."""
P80 = 0.8416
"""The standard normal's 80 % quantile: the published average is a P80 (its documentation)."""
SURE_VIDEOS = 20.0
"""So many must have been seen before the fastest of them says from when on to look at all."""
BELOW_FASTEST = 0.5
"""Of the fastest seen: nobody is expected before."""
NOTHING = 1e-12
SEEDS_KEPT = 512
"""More than Venice has models; its averages change from time to time."""
_DIGITS = 4
"""Of a weight as it is kept: a ten-thousandth of a video."""


class Kind(NamedTuple):
    """Jobs that take about as long as each other."""

    model: str
    resolution: str | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Sketch:
    """What was seen of a kind: how many videos fell into each bin, older ones counting less."""

    weights: tuple[float, ...] = (0.0,) * BINS

    @property
    def videos(self) -> float:
        """How many count."""
        return sum(self.weights)

    def seen(self, after: float, upto: float, usual: float | None) -> Sketch:
        """With one more: not ready `after` seconds, ready by `upto`, at some moment between.

        Its weight is spread over that time as what is believed so far says (the self-consistent
        estimate for censored intervals, Turnbull 1976), one step for each video.
        """
        believed = expect(self, usual)
        shares = [
            believed.share_between(max(after, EDGES[n]), min(upto, EDGES[n + 1]))
            for n in range(BINS)
        ]
        total = sum(shares)
        if total <= NOTHING:
            shares, total = [0.0] * BINS, 1.0
            shares[bin_of(upto)] = 1.0
        kept = min(1.0, (MEMORY - 1.0) / max(self.videos, NOTHING))
        return Sketch(
            tuple(w * kept + s / total for w, s in zip(self.weights, shares, strict=True))
        )

    def encode(self) -> str:
        """As text: the first bin that is not empty, and the weights from there on."""
        full = [n for n, weight in enumerate(self.weights) if round(weight, _DIGITS)]
        first, last = (full[0], full[-1] + 1) if full else (0, 0)
        weights = [round(weight, _DIGITS) for weight in self.weights[first:last]]
        return json.dumps([first, *weights], separators=(",", ":"))


def decode(text: str) -> Sketch:
    """What `encode` made; `ValueError` for anything else."""
    match json.loads(text):
        case [int(first), *weights] if 0 <= first <= BINS - len(weights):
            if not all(isinstance(w, int | float) and 0 <= w <= MEMORY for w in weights):
                raise ValueError("a weight is no number of videos")
            after = BINS - first - len(weights)
            return Sketch((0.0,) * first + tuple(map(float, weights)) + (0.0,) * after)
    raise ValueError("no sketch of completion times")


def bin_of(seconds: float) -> int:
    """The bin a time falls into."""
    return min(max(bisect_right(EDGES, seconds) - 1, 0), BINS - 1)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is believed of a kind: the chance of being ready by each edge, and its integral."""

    by: Sequence[float] = field(repr=False)
    """The chance of being ready by each edge, from 0 to 1."""
    waited: Sequence[float] = field(repr=False)
    """Its integral from the start: the seconds that a video is expected to wait unseen."""
    earliest: float
    """Seconds before which nobody could be ready; 0 while too few were seen to tell."""
    usual: float
    """The P80, in seconds: Venice's own, else what was seen; 0 where nobody knows."""

    def ready_by(self, seconds: float) -> float:
        """The chance of being ready by an age."""
        n = bin_of(seconds)
        low, high = EDGES[n], EDGES[n + 1]
        share = min(1.0, max(0.0, (seconds - low) / (high - low)))
        return self.by[n] + share * (self.by[n + 1] - self.by[n])

    def waited_by(self, seconds: float) -> float:
        """The expected time that a video has waited by an age, in seconds."""
        n = bin_of(seconds)
        past = max(0.0, seconds - EDGES[n])
        return self.waited[n] + past * (self.by[n] + self.ready_by(seconds)) / 2

    def share_between(self, after: float, upto: float) -> float:
        """The chance of becoming ready between two ages; 0 where they are the wrong way round."""
        return max(0.0, self.ready_by(upto) - self.ready_by(after)) if upto > after else 0.0

    def has_waited(self, after: float, now: float) -> float:
        """Seconds that a video has waited so far, on average, that was not ready `after`."""
        already = self.ready_by(after)
        waited = self.waited_by(now) - self.waited_by(after) - already * (now - after)
        return waited / max(1.0 - already, NOTHING)

    def quantile(self, share: float, after: float = 0.0) -> float:
        """The age by which that share is ready of those that were not `after`, in seconds."""
        already = self.ready_by(after)
        wanted = already + share * (1.0 - already)
        n = min(max(bisect_right(self.by, wanted) - 1, 0), BINS - 1)
        step = self.by[n + 1] - self.by[n]
        part = (wanted - self.by[n]) / step if step > NOTHING else 0.0
        return max(after, EDGES[n] + min(1.0, part) * (EDGES[n + 1] - EDGES[n]))


def expect(sketch: Sketch, usual: float | None) -> Expected:
    """What to believe, from what was seen and the published P80 in seconds, where there is one."""
    seed = _seed(None if usual is None else round(usual, 1))
    seen = sketch.videos
    weights = [w + SEED_WEIGHT * s for w, s in zip(sketch.weights, seed, strict=True)]
    total = seen + SEED_WEIGHT
    by = [0.0, *(min(1.0, share / total) for share in accumulate(weights))]
    by[-1] = 1.0
    widths = (high - low for low, high in pairwise(EDGES))
    areas = ((a + b) / 2 * width for a, b, width in zip(by, by[1:], widths, strict=False))
    found = Expected(by, [0.0, *accumulate(areas)], _earliest(sketch, seen), usual or 0.0)
    if usual or seen < SURE_VIDEOS:
        return found
    return replace(found, usual=found.quantile(0.8))


def _earliest(sketch: Sketch, seen: float) -> float:
    """A bin counts as one somebody was seen in from a tenth of a video on."""
    if seen < SURE_VIDEOS:
        return 0.0
    first = next((n for n, weight in enumerate(sketch.weights) if weight >= 0.1), 0)
    return EDGES[first] * BELOW_FASTEST


@lru_cache(maxsize=SEEDS_KEPT)
def _seed(usual: float | None) -> tuple[float, ...]:
    """The share of each bin where only the P80 is known: log-normal, with a long thin tail."""
    spread = SPREAD_UNKNOWN if usual is None else SEED_SPREAD
    center = math.log(max(usual or USUAL_UNKNOWN, EDGES[1])) - P80 * spread
    tail_from = math.exp(center)

    def by(seconds: float) -> float:
        if seconds <= 0.0:
            return 0.0
        body = 0.5 * (1.0 + math.erf((math.log(seconds) - center) / (spread * math.sqrt(2.0))))
        reach = math.log(EDGES[-1] / tail_from)
        tail = max(0.0, math.log(seconds / tail_from)) / reach
        return (1.0 - TAIL_SHARE) * body + TAIL_SHARE * tail

    return tuple(by(high) - by(low) for low, high in pairwise(EDGES))
