"""A circuit breaker before one upstream endpoint: after failures in a row it stops asking for a
while, then lets one call try.

A plain state machine over the caller's clock in seconds; it sends nothing and never waits.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.retry import Outcome

FAILURES_IN_A_ROW = 8
OPEN_SECONDS = 10.0

BROKEN_OUTCOMES = frozenset(
    {
        Outcome.NEVER_ARRIVED,
        Outcome.SERVER_ERROR,
        Outcome.UNAVAILABLE,
        Outcome.LOST,
        Outcome.NONSENSE,
    }
)
"""A refusal or a rate limit is an answer of an endpoint that works."""


@dataclass(frozen=True, slots=True)
class Permission:
    """One call may pass; a probe is the only one until it is back."""

    is_probe: bool


class Breaker:
    """The state before one endpoint."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until: float | None = None
        self._is_probing = False

    def __repr__(self) -> str:
        state = "closed" if self._open_until is None else f"open until {self._open_until:.1f}"
        return f"<Breaker {state}, {self._failures} failures in a row>"

    @property
    def is_open(self) -> bool:
        """Whether calls are held back, a probe apart."""
        return self._open_until is not None

    def enter(self, now: float) -> Permission | None:
        """Ask to call; None while the endpoint is to be left alone. `leave` must follow."""
        if self._open_until is None:
            return Permission(is_probe=False)
        if now < self._open_until or self._is_probing:
            return None
        self._is_probing = True
        return Permission(is_probe=True)

    def leave(self, permission: Permission, outcome: Outcome | None, now: float) -> None:
        """A call is back; `outcome` is None where nothing was sent or nobody waited for it."""
        if permission.is_probe:
            self._is_probing = False
        elif self.is_open:
            return  # sent before the breaker opened: it says nothing new
        if outcome is None:
            return
        if outcome not in BROKEN_OUTCOMES:
            self._failures = 0
            self._open_until = None
            return
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            self._open_until = now + OPEN_SECONDS
