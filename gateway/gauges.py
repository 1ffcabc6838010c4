"""Gauges that are read when somebody looks: money from the ledger, room from gate and store.

Money becomes a float here and nowhere else, on its way out to Prometheus, which knows no other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from gateway.core.budget import END_OF_TIME, Calendar, Limit, Scope, Standing, rolling_seconds
from gateway.core.job import State
from gateway.core.pacing import CallClass, GateLimits
from gateway.core.policy import ORGANIZATION_NAME, Rulebook
from gateway.core.retry import Endpoint
from gateway.ledgered import dollars
from gateway.metrics import Metrics
from gateway.ports import Clock, Ledger, LedgerFailure, StoreFailure

NO_TEAM = ""
OTHER_MODEL = "other"
WASTED = (State.FAILED_BILLED, State.LOST, State.UNDELIVERABLE, State.STALLED)
"""Ends that cost money and bring no video."""
UNKNOWN = float("nan")


class GateView(Protocol):
    """What the gate shows of itself."""

    def tokens(self, call_class: CallClass) -> int:
        """Calls that the class's window still allows."""

    def waiting(self, call_class: CallClass) -> int:
        """Callers held."""

    def failure_budget(self) -> int:
        """Failures that may still happen."""

    @property
    def limits(self) -> GateLimits:
        """What the gateway allows itself."""

    @property
    def is_silent(self) -> bool:
        """Whether Venice blocks the key."""


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
        closed_models: Callable[[], Iterable[str]],
        look_price: Callable[[], float],
        rulebook: Callable[[], Rulebook],
        knows_model: Callable[[str], bool],
        doubts_since: Callable[[], Iterable[int]],
        free_bytes: Mapping[str, Callable[[], int]],
    ) -> None:
        """`doubts_since` gives the moments since which jobs are in doubt, `free_bytes` the room on
        the disks by what is kept there."""
        self._metrics = metrics
        self._ledger = ledger
        self._clock = clock
        self._gate = gate
        self._breaker_is_open = breaker_is_open
        self._closed_models = closed_models
        self._look_price = look_price
        self._rulebook = rulebook
        self._knows_model = knows_model
        self._doubts_since = doubts_since
        self._free_bytes = free_bytes
        self._one_scrape = asyncio.Lock()

    async def text(self) -> bytes:
        """Every metric in Prometheus's format, of this moment."""
        async with self._one_scrape:
            await self._read()
            # Thousands of lines, the first time: no poll is to wait for all of them.
            return await asyncio.to_thread(self._metrics.text)

    async def _read(self) -> None:
        await self._read_money()
        await self._read_budgets()
        self._read_disks()
        self._read_gate()

    def _read_gate(self) -> None:
        limits = self._gate.limits
        for call_class in CallClass:
            if call_class is not CallClass.OTHER:
                tokens = self._gate.tokens(call_class)
                self._metrics.gate_tokens.labels(call_class).set(tokens)
                self._metrics.gate_limit.labels(call_class).set(limits.of(call_class) or UNKNOWN)
            self._metrics.gate_waiting.labels(call_class).set(self._gate.waiting(call_class))
        self._metrics.failure_budget.set(self._gate.failure_budget())
        self._metrics.failure_limit.set(limits.failures)
        self._metrics.key_blocked.set(int(self._gate.is_silent))
        self._metrics.look_price.set(self._look_price())
        for endpoint in Endpoint:
            is_open = self._breaker_is_open(endpoint)
            self._metrics.breaker_open.labels(endpoint).set(int(is_open))
        self._metrics.model_closed.clear()
        for model in self._closed_models():
            known = model if self._knows_model(model) else OTHER_MODEL
            self._metrics.model_closed.labels(known).set(1)

    def _read_disks(self) -> None:
        for place, free_bytes in self._free_bytes.items():
            try:
                free: float = free_bytes()
            except (OSError, StoreFailure):
                free = UNKNOWN
            self._metrics.disk_free.labels(place).set(free)
        self._metrics.disk_wanted.set(self._rulebook().videos.free_disk)

    async def _read_money(self) -> None:
        totals = await self._ledger.totals()
        self._metrics.reserved.set(dollars(totals.reserved))
        self._metrics.in_doubt.set(dollars(totals.in_doubt))
        self._metrics.video_bytes.set(totals.video_bytes)
        oldest = min(self._doubts_since(), default=None)
        age = 0 if oldest is None else max(0, self._clock.now() - oldest)
        self._metrics.doubt_age.set(age / 1000)
        for reason in WASTED:
            self._metrics.waste.labels(reason).set(dollars(totals.wasted(reason)))
        for state, count in totals.jobs.items():
            self._metrics.jobs.labels(state).set(count)
        teams = self._rulebook().teams
        by_labels: Counter[tuple[str, str]] = Counter()
        for (team, model), settled in totals.settled.items():
            known = model if self._knows_model(model) else OTHER_MODEL
            by_labels[team if team in teams else NO_TEAM, known] += settled.micros
        self._metrics.spend.show(by_labels)

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
        standings = await self._standings(limits, rulebook.organization.calendar)
        for family in (
            self._metrics.budget_limit,
            self._metrics.budget_used,
            self._metrics.window_start,
            self._metrics.window_end,
        ):
            family.clear()
        for standing in standings:
            self._show(standing)

    async def _standings(self, limits: list[Limit], calendar: Calendar) -> list[Standing]:
        now = self._clock.now()
        try:
            return await self._ledger.standings(limits, calendar, now, keep=True)
        except LedgerFailure:
            # A full disk keeps nothing; what there is can still be seen.
            return await self._ledger.standings(limits, calendar, now)

    def _show(self, standing: Standing) -> None:
        labels = (standing.limit.scope, standing.limit.name, standing.limit.window)
        self._metrics.budget_limit.labels(*labels).set(dollars(standing.ceiling))
        self._metrics.budget_used.labels(*labels).set(dollars(standing.used))
        # One that rolls never ends, and neither does `total`.
        if standing.span.end < END_OF_TIME and rolling_seconds(standing.limit.window) is None:
            self._metrics.window_start.labels(*labels).set(standing.span.start / 1000)
            self._metrics.window_end.labels(*labels).set(standing.span.end / 1000)
