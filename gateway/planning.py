"""The price of a look as it stands, and the plans that follow from it: one for each kind of job.

It follows what is asked of the key from second to second; when a look is made is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.core.cadence import (
    Demand,
    Plan,
    can_promise,
    next_step,
    plan,
    price_of,
    promised_gap,
)
from gateway.core.completion import Expected, Kind
from gateway.experience import Experience

PLANS_MAX = 256
"""Plans kept: a kind has some, one for each price there was lately. One takes 5 KB."""


class Planning:
    """Plans at the price of the moment; `looks_per_minute` is what the key allows."""

    def __init__(self, experience: Experience, looks_per_minute: Callable[[], int]) -> None:
        self._experience = experience
        self._looks_per_minute = looks_per_minute
        self._step = 0
        self._keeps_promise = True
        self._plans: dict[tuple[Kind, int, bool], Plan] = {}

    @property
    def keeps_promise(self) -> bool:
        """Whether looks are to spare, so that no video waits longer than promised."""
        return self._keeps_promise

    @property
    def price(self) -> float:
        """What a look must save at the moment, in seconds of waiting."""
        return price_of(self._step)

    def plan(self, kind: Kind) -> Plan | None:
        """The plan for a kind; None where Venice has told nothing of its model yet."""
        if not self._experience.knows(kind):
            return None
        return self._plan(kind, self._experience.expected(kind))

    def _plan(self, kind: Kind, expected: Expected) -> Plan:
        key = (kind, self._step, self._keeps_promise)
        known = self._plans.get(key)
        if known is not None and known.expected is expected:
            return known
        gap = promised_gap(expected.usual) if self._keeps_promise else None
        made = self._plans[key] = plan(expected, self.price, gap)
        if len(self._plans) > PLANS_MAX:
            del self._plans[next(iter(self._plans))]
        return made

    def follow(self, jobs: Mapping[Kind, int]) -> bool:
        """Bring the price nearer to what so many open jobs ask for; whether plans changed."""
        allowed = self._looks_per_minute()
        before = (self._step, self._keeps_promise)
        known = [(kind, n, self._experience.expected(kind)) for kind, n in jobs.items() if n]
        self._keeps_promise = can_promise([(n, e.usual) for _, n, e in known], allowed)
        demands = [Demand(n, self._plan(kind, e)) for kind, n, e in known]
        self._step = next_step(self._step, demands, allowed)
        return before != (self._step, self._keeps_promise)
