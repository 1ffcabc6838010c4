"""Who brought refusals on themselves: bad or moderated orders that Venice counts against the key.

Seconds come from the caller's clock; nothing here reads one.
"""

from __future__ import annotations

from collections import deque

from gateway.core.pacing import FAILURE_SECONDS

REMEMBERED_MAX = 100
"""Refusals of one user: more than any limit on them, so older ones cannot matter."""


class Blame:
    """The refusals of each user in the last 30 s.

    Failures of Venice's own hold everybody back at the gate; these hold back one user alone.
    """

    def __init__(self) -> None:
        self._refused: dict[str, deque[float]] = {}

    def add(self, user: str, now: float) -> None:
        """Count one refusal."""
        refused = self._refused.setdefault(user, deque(maxlen=REMEMBERED_MAX))
        refused.append(now)

    def wait(self, user: str, limit: int, now: float) -> float:
        """Seconds until a user who has had `limit` refusals may order again; else 0."""
        refused = self._refused.get(user)
        if refused is None:
            return 0.0
        while refused and refused[0] <= now - FAILURE_SECONDS:
            refused.popleft()
        if not refused:
            del self._refused[user]
            return 0.0
        return refused[-limit] + FAILURE_SECONDS - now if len(refused) >= limit else 0.0
