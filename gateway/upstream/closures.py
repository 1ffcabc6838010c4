"""Models that Venice does not take the key for: closed for a while after a 401 or 403, one by one.

A plain state machine over the caller's clock in seconds; it sends nothing and never waits. The
other models stay open: one that needs another tier says nothing about them.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.retry import Outcome
from gateway.upstream.breaker import BROKEN_OUTCOMES, Permission

FIRST_SECONDS = 2.0
"""A refusal may be a mishap of Venice's: the first rest is short, each further one twice that."""
REST_SECONDS_MAX = 300.0
"""Rights and regions change by the day, and each try costs one of the key's few failures."""
CLOSED_MAX = 1_000
"""Models remembered: more than any catalogue has."""
CLOSING = frozenset({401, 403})
SAYS_NOTHING = BROKEN_OUTCOMES | {Outcome.RATE_LIMITED, Outcome.BLOCKED}
"""After these nobody knows whether the model is open again."""


@dataclass(slots=True)
class _Closed:
    until: float
    rest: float
    is_probing: bool = False


class Closures:
    """Which models are closed at present."""

    def __init__(self) -> None:
        self._closed: dict[str, _Closed] = {}

    def __repr__(self) -> str:
        return f"<Closures {', '.join(sorted(self._closed)) or 'none'}>"

    @property
    def models(self) -> frozenset[str]:
        """The closed models, those about to be tried again among them."""
        return frozenset(self._closed)

    def enter(self, model: str, now: float) -> Permission | None:
        """Ask to call about a model; None while it is closed. `leave` must follow."""
        closed = self._closed.get(model)
        if closed is None:
            return Permission(is_probe=False)
        if now < closed.until or closed.is_probing:
            return None
        closed.is_probing = True
        return Permission(is_probe=True)

    def leave(
        self,
        model: str,
        permission: Permission,
        now: float,
        *,
        status: int | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        """A call is back; `outcome` is None where nothing was sent."""
        closed = self._closed.get(model)
        if closed is not None and permission.is_probe:
            closed.is_probing = False
        if outcome is None or outcome in SAYS_NOTHING:
            return
        if outcome is not Outcome.REFUSED or status not in CLOSING:
            self._closed.pop(model, None)
        elif closed is None and len(self._closed) < CLOSED_MAX:
            self._closed[model] = _Closed(now + FIRST_SECONDS, FIRST_SECONDS)
        elif closed is not None and permission.is_probe:
            closed.rest = min(REST_SECONDS_MAX, 2 * closed.rest)
            closed.until = now + closed.rest

    def open_all(self) -> None:
        """The key is another one: what was refused to the last one says nothing."""
        self._closed.clear()
