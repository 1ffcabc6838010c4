"""The organization's balance at Venice, kept fresh: an order that it cannot pay is refused before
anything is held, and before Venice refuses everybody.

It holds no money and makes nobody wait: an order is counted in memory until a balance reflects it.
What the balance is, no user is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from gateway.core.balance import (
    Balance,
    balance_of,
    balance_of_key,
    balance_told,
    is_enough,
    is_spoken_for,
)
from gateway.core.errors import OrganizationBroke
from gateway.core.job import State
from gateway.core.money import ZERO, Money
from gateway.core.retry import Endpoint
from gateway.ledgered import dollars
from gateway.metrics import Metrics
from gateway.ports import Clock, NoPlace, Reply, Upstream
from gateway.records import Job

FRESH_SECONDS = 60.0
"""While orders come; without any the balance is asked for ten times less."""
IDLE_SECONDS = 600.0
HURRY_SECONDS = 5.0
"""Between two looks while orders are refused for it: a topped-up account is noticed at once."""
REFUSED_SECONDS = 30.0
"""How long an order that was refused for it is a reason to look: who tells of it looks in turns."""
USABLE_SECONDS = 1_800.0
"""An older balance says nothing any more, and refuses nobody."""
ASK_SECONDS = 20.0
TOLD_LATE_MS = 60_000
"""What an answer's headers tell may be as old as the longest answer takes."""
PACE_SECONDS = 600.0
"""Between two sums of what was spent in a day."""
DAYS_LEFT_LOW = 3
"""Fewer than so many, at the pace of the last one, are told as low: a weekend and a day."""
DAY_MS = 86_400_000
BROKE = (
    "The organization's own balance at Venice does not cover this order beside those under way, so "
    "nothing was bought. This is not your own budget: an administrator must top up the "
    "organization's account at Venice."
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownBalance:
    """What Venice last said is left."""

    dollars: Money
    asked_at: int
    """Unix milliseconds."""


class BalanceWatch:
    """What is left at Venice, and who may still spend of it."""

    def __init__(
        self,
        upstream: Upstream,
        clock: Clock,
        metrics: Metrics,
        *,
        has_billing_key: Callable[[], bool],
        spent_since: Callable[[int], Awaitable[Money]],
    ) -> None:
        """`spent_since` gives what the ledger settled for jobs since a moment."""
        self._upstream = upstream
        self._clock = clock
        self._metrics = metrics
        self._has_billing_key = has_billing_key
        self._spent_since = spent_since
        self._pace = ZERO
        self._paced_at = float("-inf")
        self._balance: Balance | None = None
        self._asked_at = 0
        """When it was asked for, in Unix milliseconds: what Venice took before is in it."""
        self._known_at = float("-inf")
        self._tried_at = float("-inf")
        self._due = 0.0
        self._is_wanted = False
        self._prices: dict[str, tuple[Job, Money]] = {}
        """Jobs whose price the balance may not reflect yet."""
        self._claimed = ZERO
        """Of orders that are being reserved."""
        self._spoken_for = ZERO
        """The sum of both."""
        self._short: str | None = None
        """Why what is left is little; None while there is enough."""
        self._refused: str | None = None
        """What was last refused for it."""
        self._refused_at = float("-inf")

    @property
    def known(self) -> KnownBalance | None:
        """What Venice last said, however long ago; None where it never did."""
        if self._balance is None:
            return None
        return KnownBalance(self._balance.dollars, self._asked_at)

    @property
    def low(self) -> str | None:
        """Why somebody must look; None while there is enough."""
        is_lately = self._clock.monotonic() - self._refused_at < REFUSED_SECONDS
        return self._refused if is_lately else self._short

    def follow(self, job: Job) -> None:
        """Take a job in, as it is now."""
        if job.state in (State.SENDING, State.PROCESSING, State.IN_DOUBT):
            self._is_wanted = True
        known = self._prices.pop(job.id, None)
        if known is not None:
            self._spoken_for -= known[1]
        if known is None and job.state not in (State.RESERVED, State.SENDING, State.PROCESSING):
            return
        if self._is_spoken_for(job):
            self._prices[job.id] = (job, job.quote)
            self._spoken_for += job.quote

    def _is_spoken_for(self, job: Job) -> bool:
        # One in doubt was taken while it was sent, or never.
        taken_at = job.sent_at if job.state is State.IN_DOUBT else job.accepted_at
        return is_spoken_for(job.state, taken_at=taken_at, asked_at=self._asked_at)

    @contextmanager
    def claim(self, price: Money) -> Iterator[None]:
        """Count an order while it is being reserved; `OrganizationBroke` where it cannot be paid.

        Once it is reserved, the job itself counts.
        """
        if not self.covers(price):
            self._refused = f"an order of {price} USD is not covered by the balance at Venice"
            self._refused_at = self._clock.monotonic()
            self.hurry()
            raise OrganizationBroke(BROKE)
        self._claimed += price
        self._spoken_for += price
        try:
            yield
        finally:
            self._claimed -= price
            self._spoken_for -= price

    def covers(self, price: Money) -> bool:
        """Whether the balance, as far as it is known, pays one more order."""
        if self._balance is None or self._clock.monotonic() - self._known_at > USABLE_SECONDS:
            return True
        return is_enough(self._balance, self._spoken_for, price)

    def hurry(self) -> None:
        """Ask again soon: Venice, or we, refused an order for it."""
        self._is_wanted = True
        self._due = min(self._due, self._tried_at + HURRY_SECONDS)

    def heed(self, headers: Mapping[str, str]) -> None:
        """Take in what an answer tells of it, where nothing better was told lately."""
        if self._clock.monotonic() - self._known_at < 2 * FRESH_SECONDS:
            return
        told = balance_told(headers)
        if told is not None:
            self._take(told, self._clock.now() - TOLD_LATE_MS)

    async def run_once(self) -> None:
        """Ask for the balance if it is old."""
        now = self._clock.monotonic()
        idle = now - self._known_at < IDLE_SECONDS and not self._is_wanted
        if now < self._due or idle:
            return
        self._is_wanted = False
        self._tried_at, self._due = now, now + FRESH_SECONDS
        asked_at = self._clock.now()
        try:
            found = await self._ask(now + ASK_SECONDS)
        except NoPlace:
            return
        if now - self._paced_at >= PACE_SECONDS:
            self._paced_at = now
            self._pace = await self._spent_since(asked_at - DAY_MS)
        if found is not None:
            self._take(found, asked_at)

    async def _ask(self, deadline: float) -> Balance | None:
        if self._has_billing_key():
            reply = await self._upstream.get(Endpoint.BALANCE, deadline)
            if reply.is_ok:
                return balance_of(reply.document)
            _unread(reply)
        reply = await self._upstream.get(Endpoint.RATE_LIMITS, deadline)
        if reply.is_ok:
            return balance_of_key(reply.document)
        _unread(reply)
        return None

    def _take(self, found: Balance, asked_at: int) -> None:
        self._balance, self._asked_at = found, asked_at
        self._known_at = self._clock.monotonic()
        self._metrics.org_balance.set(dollars(found.dollars))
        self._metrics.org_balance_limits.set(int(found.is_limiting))
        self._prices = {
            job_id: each for job_id, each in self._prices.items() if self._is_spoken_for(each[0])
        }
        self._spoken_for = sum((price for _, price in self._prices.values()), self._claimed)
        left = found.dollars - self._spoken_for
        if not found.is_limiting or left.micros >= max(1, DAYS_LEFT_LOW * self._pace.micros):
            self._short = None
        else:
            self._short = f"{left} USD are left at Venice, and {self._pace} USD were spent in a day"


def _unread(reply: Reply) -> None:
    _log.warning("balance.unread", outcome=reply.outcome, status=reply.status)
