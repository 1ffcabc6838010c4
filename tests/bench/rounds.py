"""Takes a subject and its baseline in turns and keeps the ratio of each turn.

Absolute figures drift with the machine and its other work; the two of one turn drift together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

Measure = Callable[[], float]


@dataclass(frozen=True)
class Comparison:
    """What the turns gave: each a pair of (subject, baseline), in `unit`.

    More is better, or where `is_wait` says so, less; either way a ratio of 1 means that both are
    alike, and a greater one that the subject is better.
    """

    name: str
    unit: str
    pairs: tuple[tuple[float, float], ...]
    goal: float | None = None
    is_wait: bool = False

    @property
    def ratios(self) -> list[float]:
        """Each turn's own."""
        ratios = [subject / baseline for subject, baseline in self.pairs]
        return [1 / ratio for ratio in ratios] if self.is_wait else ratios

    @property
    def subject(self) -> float:
        """The subject's median."""
        return median(subject for subject, _ in self.pairs)

    @property
    def baseline(self) -> float:
        """The baseline's median."""
        return median(baseline for _, baseline in self.pairs)

    @property
    def ratio(self) -> float:
        """The median of the turns' own ratios."""
        return median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest ratio of a turn."""
        return min(self.ratios), max(self.ratios)

    @property
    def verdict(self) -> str:
        """Whether the goal is reached, in a word."""
        if self.goal is None:
            return "no goal"
        return "reached" if self.ratio >= self.goal else "missed"

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.subject:,.0f} of {self.baseline:,.0f} {self.unit}, "
            f"ratio {self.ratio:.2f} ({self.verdict})"
        )


def compare(
    name: str,
    unit: str,
    subject: Measure,
    baseline: Measure,
    *,
    turns: int,
    goal: float | None,
    is_wait: bool = False,
) -> Comparison:
    """Measure both `turns` times, one after the other, after one turn that is thrown away."""
    pairs = []
    for turn in range(turns + 1):
        # The first of a turn changes, so that neither always follows the other.
        if turn % 2:
            measured, bare = subject(), baseline()
        else:
            bare, measured = baseline(), subject()
        if turn:
            pairs.append((measured, bare))
    return Comparison(name, unit, tuple(pairs), goal, is_wait)
