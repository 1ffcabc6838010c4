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
"""Users, keys and kinds remembered; beyond it the oldest go, and their minute begins anew."""

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
        rate = self.policy_of(caller).rate
        self._take(caller, "requests", rate.requests_per_minute, rate.each_key.requests_per_minute)

    def take_poll(self, caller: Caller) -> None:
        """Count a poll; `RateLimited` where there are too many."""
        rate = self.policy_of(caller).rate
        self._take(caller, "polls", rate.polls_per_minute, rate.each_key.polls_per_minute)

    def take_order(self, caller: Caller, *, active: int, active_of_key: int) -> None:
        """Count an order, beside the jobs in the making of its user and of its key; `RateLimited`
        if there are too many."""
        rate = self.policy_of(caller).rate
        self._check_active(caller, "You have", active, rate.active_jobs)
        self._check_active(caller, "This key has", active_of_key, rate.each_key.active_jobs)
        self._take(caller, "queue", rate.queue_per_minute, rate.each_key.queue_per_minute)

    def _check_active(self, caller: Caller, who_has: str, active: int, limit: int | None) -> None:
        if limit is None or active < limit or self._is_observed(caller, "active_jobs"):
            return
        raise RateLimited(
            "active_jobs",
            RateStanding(limit, 0, ACTIVE_RETRY, self._clock.now() + ACTIVE_RETRY * 1000),
            f"{who_has} {active} videos in the making; your policy allows {limit} at once. "
            "Wait for one to finish. Nothing was bought.",
        )

    def _is_observed(self, caller: Caller, rule: str) -> bool:
        """Whether a refusal is only to be logged, which it then is."""
        if "rate" not in self.policy_of(caller).observe:
            return False
        _log.warning("rate.observed", rule=rule, user=caller.user.name)
        return True

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

    def _take(self, caller: Caller, kind: str, limit: int, limit_of_key: int | None) -> None:
        """Count one call against its user and its key, or against neither."""
        of_user = self._counter(caller.user.name, kind)
        second = int(self._clock.monotonic())
        if limit_of_key is None:
            # Most policies say nothing of keys, and a poll costs little.
            if not of_user.take(second, limit):
                self._refuse(caller, kind, of_user, limit)
            return
        of_key = self._counter(f"{caller.user.name}\n{caller.key.id}", kind)
        if not of_user.left(second, limit):
            self._refuse(caller, kind, of_user, limit)
        elif not of_key.left(second, limit_of_key):
            self._refuse(caller, f"{kind} for each key", of_key, limit_of_key)
        else:
            of_user.take(second, limit)
            of_key.take(second, limit_of_key)

    def _counter(self, whose: str, kind: str) -> MinuteCounter:
        counter = self._counters.get((whose, kind))
        if counter is None:
            counter = self._counters[whose, kind] = MinuteCounter()
            if len(self._counters) > COUNTERS_MAX:
                self._counters.popitem(last=False)
        return counter

    def _refuse(self, caller: Caller, what: str, counter: MinuteCounter, limit: int) -> None:
        """Raise, unless the policy only observes; `what` begins with the kind of call."""
        kind = what.split(" ", 1)[0]
        if self._is_observed(caller, kind):
            return
        wait = counter.wait(int(self._clock.monotonic()))
        raise RateLimited(
            f"{kind}_per_minute",
            RateStanding(limit, 0, wait, self._clock.now() + wait * 1000),
            f"Your policy allows {limit} {what} in a minute, and you have used them. Wait {wait} s "
            "and send the request again; nothing was bought.",
        )
