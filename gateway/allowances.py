"""How often each user may ask, counted in memory; what is refused is the caller's own limit."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import structlog

from gateway.core.errors import RateLimited, RateStanding
from gateway.core.policy import Policy, Rulebook
from gateway.core.quota import MinuteCounter
from gateway.ports import Clock
from gateway.records import Caller

COUNTERS_MAX = 20_000
"""Users and kinds remembered; beyond it the oldest go, and their minute begins anew."""

ACTIVE_RETRY = 30
"""Seconds: nobody knows when a video ends, and asking this often costs nothing."""

_log = structlog.get_logger(__name__)


class Allowances:
    """The `rate` section of every user's policy, applied."""

    def __init__(self, clock: Clock, rulebook: Callable[[], Rulebook]) -> None:
        self._clock = clock
        self._rulebook = rulebook
        self._counters: OrderedDict[tuple[str, str], MinuteCounter] = OrderedDict()

    def policy_of(self, caller: Caller) -> Policy:
        """The policy that applies to a caller."""
        rulebook = self._rulebook()
        return rulebook.policies[rulebook.policy_name_for(caller.user.policy, caller.user.team)]

    def take_request(self, caller: Caller) -> None:
        """Count a request that is no poll; `RateLimited` where there are too many."""
        policy = self.policy_of(caller)
        self._take(caller, policy, "requests", policy.rate.requests_per_minute)

    def take_poll(self, caller: Caller) -> None:
        """Count a poll; `RateLimited` where there are too many."""
        policy = self.policy_of(caller)
        self._take(caller, policy, "polls", policy.rate.polls_per_minute)

    def take_order(self, caller: Caller, active: int) -> None:
        """Count an order, beside `active` jobs in the making; `RateLimited` if too many."""
        policy = self.policy_of(caller)
        limit = policy.rate.active_jobs
        if active >= limit and "rate" not in policy.observe:
            raise RateLimited(
                "active_jobs",
                RateStanding(limit, 0, ACTIVE_RETRY, self._clock.now() + ACTIVE_RETRY * 1000),
                f"You have {active} videos in the making; your policy allows {limit} at once. "
                "Wait for one to finish. Nothing was bought.",
            )
        self._take(caller, policy, "queue", policy.rate.queue_per_minute)

    def refuse_failing(self, seconds: float) -> None:
        """Refuse a user whose orders failed at Venice too often, for so many seconds yet.

        Venice blocks the whole organization's key after too many failures, so no single user may
        cause more than a share of them.
        """
        if seconds <= 0:
            return
        wait = math.ceil(seconds)
        raise RateLimited(
            "failures",
            RateStanding(0, 0, wait, self._clock.now() + wait * 1000, window_seconds=30),
            "Too many of your requests were refused by Venice in the last 30 seconds, and more "
            f"could block the organization's key. Wait {wait} s, and look at what Venice said; "
            "nothing was bought.",
        )

    def _take(self, caller: Caller, policy: Policy, kind: str, limit: int) -> None:
        key = (caller.user.name, kind)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = MinuteCounter()
            if len(self._counters) > COUNTERS_MAX:
                self._counters.popitem(last=False)
        second = int(self._clock.monotonic())
        if counter.take(second, limit):
            return
        if "rate" in policy.observe:
            _log.warning("rate.observed", rule=kind, user=caller.user.name)
            return
        wait = counter.wait(second)
        raise RateLimited(
            f"{kind}_per_minute",
            RateStanding(limit, 0, wait, self._clock.now() + wait * 1000),
            f"Your policy allows {limit} {kind} a minute, and you have used them. Wait "
            f"{wait} s and send the request again; nothing was bought.",
        )
