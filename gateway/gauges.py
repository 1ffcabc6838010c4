"""Gauges that are read when somebody looks: money from the ledger, room from gate and store.

Money becomes a float here and nowhere else, on its way out to Prometheus, which knows no other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

from gateway.core.budget import Limit, Scope
from gateway.core.money import Money
from gateway.core.pacing import CallClass
from gateway.core.policy import ORGANIZATION_NAME, Rulebook
from gateway.core.retry import Endpoint
from gateway.metrics import Metrics
from gateway.ports import Clock, Ledger

NO_TEAM = ""
OTHER_MODEL = "other"


class GateView(Protocol):
    """What the gate shows of itself."""

    def tokens(self, call_class: CallClass) -> int:
        """Calls that the class's window still allows."""

    def waiting(self, call_class: CallClass) -> int:
        """Callers held."""

    def failure_budget(self) -> int:
        """Failures that may still happen."""


def dollars(money: Money) -> float:
    """An amount as Prometheus takes it: the nearest double to its six places."""
    return float(str(money))


class Gauges:
    """Reads what changes by itself into the metrics."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        ledger: Ledger,
        clock: Clock,
        gate: GateView,
        breaker_is_open: Callable[[Endpoint], bool],
        rulebook: Callable[[], Rulebook],
        knows_model: Callable[[str], bool],
    ) -> None:
        self._metrics = metrics
        self._ledger = ledger
        self._clock = clock
        self._gate = gate
        self._breaker_is_open = breaker_is_open
        self._rulebook = rulebook
        self._knows_model = knows_model

    async def read(self) -> None:
        """Bring every gauge up to this moment."""
        await self._read_money()
        await self._read_budgets()
        for call_class in CallClass:
            if call_class is not CallClass.OTHER:
                tokens = self._gate.tokens(call_class)
                self._metrics.gate_tokens.labels(call_class).set(tokens)
            self._metrics.gate_waiting.labels(call_class).set(self._gate.waiting(call_class))
        self._metrics.failure_budget.set(self._gate.failure_budget())
        for endpoint in Endpoint:
            is_open = self._breaker_is_open(endpoint)
            self._metrics.breaker_open.labels(endpoint).set(int(is_open))

    async def _read_money(self) -> None:
        totals = await self._ledger.totals()
        self._metrics.reserved.set(dollars(totals.reserved))
        self._metrics.in_doubt.set(dollars(totals.in_doubt))
        self._metrics.video_bytes.set(totals.video_bytes)
        for state, count in totals.jobs.items():
            self._metrics.jobs.labels(state).set(count)
        teams = self._rulebook().teams
        by_labels: dict[tuple[str, str], Money] = defaultdict(lambda: Money(0))
        for (team, model), settled in totals.settled.items():
            known = model if self._knows_model(model) else OTHER_MODEL
            by_labels[team if team in teams else NO_TEAM, known] += settled
        self._metrics.spend.values = {k: dollars(v) for k, v in by_labels.items()}

    async def _read_budgets(self) -> None:
        """The pools of teams and organization; windows that are gone disappear."""
        rulebook = self._rulebook()
        name = ORGANIZATION_NAME
        limits = [
            Limit(Scope.ORGANIZATION, name, name, window, amount)
            for window, amount in rulebook.organization.pool.items()
        ]
        for team, rules in rulebook.teams.items():
            for window, amount in rules.pool.items():
                limits.append(Limit(Scope.TEAM, team, team, window, amount))
        self._metrics.budget_limit.clear()
        self._metrics.budget_used.clear()
        calendar = rulebook.organization.calendar
        for standing in await self._ledger.standings(limits, calendar, self._clock.now()):
            labels = (standing.limit.scope, standing.limit.name, standing.limit.window)
            self._metrics.budget_limit.labels(*labels).set(dollars(standing.ceiling))
            self._metrics.budget_used.labels(*labels).set(dollars(standing.used))
