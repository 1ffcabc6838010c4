"""How the way to Venice stands, for administrators: the key's limits and what is left of them,
failures, breakers, closed models, the organization's balance.

It asks nobody and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.balance_watch import BalanceWatch, KnownBalance
from gateway.core.pacing import CallClass
from gateway.core.retry import Endpoint
from gateway.gauges import GateView
from gateway.key_limits import KeyLimits

LIMITED = (CallClass.QUEUE, CallClass.RETRIEVE)
"""The classes of calls that Venice has a limit of its own for."""


@dataclass(frozen=True, slots=True)
class ClassStanding:
    """How the calls of one class stand at this moment."""

    per_minute: int
    """What the key allows."""
    said_by: str
    """Who says so: `policy`, `published`, `stated` or `documented`."""
    allowed_per_minute: int
    """What the gateway allows itself of it."""
    left: int
    waiting: int


@dataclass(frozen=True, slots=True)
class WayStanding:
    """All of it, of one moment."""

    upstream: str
    key: str
    """What stands for the organization's key in records."""
    is_blocked: bool
    calls: dict[CallClass, ClassStanding]
    failures_max: int
    failures_left: int
    breakers_open: list[Endpoint]
    closed_models: list[str]
    balance: KnownBalance | None
    balance_low: str | None


@dataclass(frozen=True)
class WayToVenice:
    """Reads the parts that know."""

    upstream: str
    key: Callable[[], str]
    gate: GateView
    limits: KeyLimits
    breaker_is_open: Callable[[Endpoint], bool]
    closed_models: Callable[[], Iterable[str]]
    balance: BalanceWatch

    def standing(self) -> WayStanding:
        """How it stands now."""
        return WayStanding(
            upstream=self.upstream,
            key=self.key(),
            is_blocked=self.gate.is_silent,
            calls={call_class: self._of(call_class) for call_class in LIMITED},
            failures_max=self.gate.limits.failures,
            failures_left=self.gate.failure_budget(),
            breakers_open=[endpoint for endpoint in Endpoint if self.breaker_is_open(endpoint)],
            closed_models=sorted(self.closed_models()),
            balance=self.balance.known,
            balance_low=self.balance.low,
        )

    def _of(self, call_class: CallClass) -> ClassStanding:
        per_minute, said_by = self.limits.per_minute(call_class)
        return ClassStanding(
            per_minute=per_minute,
            said_by=said_by,
            allowed_per_minute=self.gate.limits.of(call_class) or per_minute,
            left=self.gate.tokens(call_class),
            waiting=self.gate.waiting(call_class),
        )
