"""How many calls a minute the organization's key allows, as far as is known: the policy's number,
or with `auto` what Venice publishes and states, else what it documents.

It asks nobody; `workers/limits_reader.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from gateway.core.pacing import CallClass, GateLimits, class_of
from gateway.core.policy import VeniceRules
from gateway.core.published import DOCUMENTED, stated_per_minute
from gateway.core.retry import Endpoint
from gateway.ports import Clock

STATED_SECONDS = 600.0
"""How long the lowest number that answers stated counts against a higher one."""

_log = structlog.get_logger(__name__)


class KeyLimits:
    """The key's limits, and what the gate allows itself below them."""

    def __init__(self, clock: Clock, rules: Callable[[], VeniceRules]) -> None:
        self._clock = clock
        self._rules = rules
        self._published: dict[CallClass, int] = {}
        self._stated: dict[CallClass, tuple[int, float]] = {}
        self._followers: list[Callable[[GateLimits], None]] = []
        self._told = self.current

    @property
    def current(self) -> GateLimits:
        """What the gate may use."""
        return GateLimits.below(
            queue=self.per_minute(CallClass.QUEUE)[0],
            retrieve=self.per_minute(CallClass.RETRIEVE)[0],
            failures=self._rules().failures_per_30s,
        )

    @property
    def is_wanted(self) -> bool:
        """Whether a policy leaves a limit to Venice."""
        rules = self._rules()
        return "auto" in (rules.queue_per_minute, rules.retrieve_per_minute)

    def per_minute(self, call_class: CallClass) -> tuple[int, str]:
        """The key's calls a minute of a class, and who says so."""
        rules = self._rules()
        is_queue = call_class is CallClass.QUEUE
        set_here = rules.queue_per_minute if is_queue else rules.retrieve_per_minute
        if set_here != "auto":
            return set_here, "policy"
        known = []
        if call_class in self._published:
            known.append((self._published[call_class], "published"))
        if call_class in self._stated:
            known.append((self._stated[call_class][0], "stated"))
        # Where both are known the lower one is safe, whichever of them is right.
        return min(known, default=(DOCUMENTED[call_class], "documented"))

    def follow(self, follower: Callable[[GateLimits], None]) -> None:
        """Have a function called when the limits become others."""
        self._followers.append(follower)

    def refresh(self) -> None:
        """Tell the followers if something has changed, a policy for example."""
        if self.current == self._told:
            return
        self._told = self.current
        _log.info("limits.changed", queue=self._told.queue, retrieve=self._told.retrieve)
        for follower in self._followers:
            follower(self._told)

    def publish(self, orders: int | None) -> None:
        """Take in what `/api_keys/rate_limits` says; None where it says nothing of orders."""
        self._published = {} if orders is None else {CallClass.QUEUE: orders}
        self.refresh()

    def heed(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        """Take in what the headers of a good answer state."""
        call_class = class_of(endpoint)
        if call_class not in DOCUMENTED:
            return
        stated = stated_per_minute(headers, self._clock.now() / 1000)
        if stated is None:
            return
        now = self._clock.monotonic()
        lowest, at = self._stated.get(call_class, (stated, now))
        if stated <= lowest or now - at >= STATED_SECONDS:
            self._stated[call_class] = (stated, now)
            self.refresh()

    def forget(self) -> None:
        """The key is another one: what was learned of the last one says nothing."""
        self._published.clear()
        self._stated.clear()
        self.refresh()

    def __str__(self) -> str:
        used = self.current
        parts = []
        for call_class, use in ((CallClass.QUEUE, used.queue), (CallClass.RETRIEVE, used.retrieve)):
            limit, said_by = self.per_minute(call_class)
            parts.append(f"{call_class} {use} of {limit} a minute ({said_by})")
        return ", ".join(parts)
