"""Venice's limits on one key: requests a minute, and the block after too many failures.

Times come in as arguments; nothing here waits. What is remembered is rebuilt from the calls.
"""

import math
from collections import defaultdict, deque

from gateway.simulator.answers import Answer, error_answer
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.store import Store

MINUTE_SECONDS = 60.0
FAILURE_WINDOW_SECONDS = 30.0
BLOCK_SECONDS = 30.0


class KeyLimits:
    """Sliding windows over the calls of each key. A call refused by a limit takes no place."""

    def __init__(self, settings: SimulatorSettings, store: Store, now: float) -> None:
        self._enabled = settings.limits_enabled
        self._store = store
        self._minute = MINUTE_SECONDS / settings.window_scale
        self._failure_window = FAILURE_WINDOW_SECONDS / settings.window_scale
        self._block_length = BLOCK_SECONDS / settings.window_scale
        self._failures_max = settings.failures_per_30s
        self._per_minute = {
            "queue": settings.queue_per_minute,
            "retrieve": settings.retrieve_per_minute,
        }
        self.recall(now)

    def recall(self, now: float) -> None:
        """Forget, then rebuild every window from what the store kept."""
        self._admitted: dict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._failures: dict[str, deque[float]] = defaultdict(deque)
        self._blocked_until: dict[str, float] = {}
        block_began: dict[str, float] = {}
        for block in self._store.rows("SELECT * FROM blocks ORDER BY at"):
            self._blocked_until[block["key"]] = block["until"]
            block_began[block["key"]] = block["at"]
        calls = "SELECT * FROM calls WHERE at > ? AND key IS NOT NULL ORDER BY seq"
        for call in self._store.rows(calls, now - max(self._minute, self._failure_window)):
            if call["refused_by"] is None:
                self._admitted[call["key"], call["endpoint"]].append(call["at"])
            is_old = call["at"] <= block_began.get(call["key"], 0)
            if (call["status"] or 0) >= 400 and call["refused_by"] != "block" and not is_old:
                self._failures[call["key"]].append(call["at"])

    def admit(self, key: str, endpoint: str, now: float) -> Answer | None:
        """Take a place for one call, or return the 429 that refuses it."""
        if not self._enabled:
            return None
        until = self._blocked_until.get(key, 0)
        if now < until:
            return _block_answer(until - now)
        limit = self._per_minute.get(endpoint)
        if limit is None:
            return None
        window = self._window(key, endpoint, now)
        if len(window) >= limit:
            refusal = error_answer(429, "Rate limit exceeded", "RATE_LIMIT_EXCEEDED")
            refusal.headers.update(self.headers(key, endpoint, now))
            refusal.refused_by = "rate"
            return refusal
        window.append(now)
        return None

    def headers(self, key: str, endpoint: str, now: float) -> dict[str, str]:
        """The ``x-ratelimit-*-requests`` headers; none for endpoints without a limit."""
        limit = self._per_minute.get(endpoint)
        if limit is None:
            return {}
        window = self._window(key, endpoint, now)
        reset = (window[0] if window else now) + self._minute
        return {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(max(0, limit - len(window))),
            "x-ratelimit-reset-requests": str(math.ceil(reset * 1000)),
        }

    def note_failure(self, key: str, now: float) -> None:
        """Count one answer that was no success; one too many blocks the key."""
        if not self._enabled:
            return
        failures = self._failures[key]
        failures.append(now)
        _drop_before(failures, now - self._failure_window)
        if len(failures) > self._failures_max:
            failures.clear()
            self._blocked_until[key] = now + self._block_length
            self._store.insert("blocks", key=key, at=now, until=now + self._block_length)

    def _window(self, key: str, endpoint: str, now: float) -> deque[float]:
        window = self._admitted[key, endpoint]
        _drop_before(window, now - self._minute)
        return window


def _drop_before(times: deque[float], limit: float) -> None:
    while times and times[0] <= limit:
        times.popleft()


def _block_answer(seconds_left: float) -> Answer:
    refusal = error_answer(429, "Too many failed requests. Please try again later.")
    refusal.headers["x-ratelimit-remaining"] = "0"
    refusal.headers["x-ratelimit-resets"] = str(math.ceil(seconds_left))
    refusal.refused_by = "block"
    return refusal
