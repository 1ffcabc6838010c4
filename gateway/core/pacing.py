"""How calls share one Venice key: sliding windows, a failure budget, turns by user, and silence.

A plain state machine over a clock that the caller passes in (seconds, any origin): it says who
may go now and when to ask again. It sends nothing and never waits.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.retry import Endpoint

WINDOW_SECONDS = 60.0
"""Venice's rate limits are per minute."""
SLACK_SECONDS = 1.0
"""Between leaving the gate and being counted at Venice lie our disk, a connection and TLS, and not
the same time for each call: a window kept a little longer holds at Venice's end too."""
FAILURE_SECONDS = 30.0
"""Venice's failure limit. It needs no slack: we learn of a failure after Venice counted it."""
USED_SHARE = (95, 100)
"""Of each rate limit: Venice counts when a call arrives, we when it leaves."""
UNLIMITED = 1_000_000
"""Calls a minute of a class that has no limit."""


class CallClass(StrEnum):
    """The rate limits that calls count against."""

    QUEUE = "queue"
    RETRIEVE = "retrieve"
    OTHER = "other"
    """Calls for which Venice publishes no limit; the failure budget still holds for them."""


CLASS_OF = {Endpoint.QUEUE: CallClass.QUEUE, Endpoint.RETRIEVE: CallClass.RETRIEVE}


def class_of(endpoint: Endpoint) -> CallClass:
    """The rate limit an endpoint counts against."""
    return CLASS_OF.get(endpoint, CallClass.OTHER)


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What the gateway allows itself: calls a minute, and failures in 30 s."""

    queue: int = 38
    retrieve: int = 114
    failures: int = 15
    failures_per_user: int = 5

    @classmethod
    def below(cls, *, queue: int, retrieve: int, failures: int) -> GateLimits:
        """Limits safely below Venice's own: 95 % of the rates, 3/4 and 1/4 of the failures."""
        share, whole = USED_SHARE
        return cls(
            queue=max(1, queue * share // whole),
            retrieve=max(1, retrieve * share // whole),
            failures=max(1, failures * 3 // 4),
            failures_per_user=max(1, failures // 4),
        )

    def of(self, call_class: CallClass) -> int | None:
        """Calls a minute for a class; None where there is no limit."""
        return {CallClass.QUEUE: self.queue, CallClass.RETRIEVE: self.retrieve}.get(call_class)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A caller's place in line, and later its permission to call once."""

    number: int
    call_class: CallClass
    user: str
    weight: int = 1
    """Calls that the user may make in one turn."""


class Pacing:
    """The state behind the gate."""

    def __init__(self, limits: GateLimits) -> None:
        self.limits = limits
        self._started: dict[CallClass, deque[float]] = {c: deque() for c in CallClass}
        self._failures: deque[tuple[float, str]] = deque()
        self._granted: dict[Ticket, float] = {}
        self._in_flight: Counter[str] = Counter()
        self._lines: dict[CallClass, OrderedDict[str, deque[Ticket]]] = {
            c: OrderedDict() for c in CallClass
        }
        self._turns = list(CallClass)
        self._taken: Counter[tuple[CallClass, str]] = Counter()
        self._silent_until: float | None = None
        self._probe: Ticket | None = None
        self._numbers = 0

    def __repr__(self) -> str:
        lines = ", ".join(
            f"{c} {len(self._started[c])} of {self.limits.of(c) or 'any'}, {self.waiting(c)} wait"
            for c in CallClass
        )
        return f"<Pacing {lines}; {len(self._failures)} failures, {len(self._granted)} in flight>"

    def recall(
        self,
        started: Iterable[tuple[CallClass, float]],
        failures: Iterable[tuple[float, str]] = (),
    ) -> None:
        """Count calls and failures from before a restart, each oldest first."""
        for call_class, at in started:
            self._started[call_class].append(at)
        self._failures.extend(failures)

    def join(self, call_class: CallClass, user: str, weight: int = 1) -> Ticket:
        """Take a place in line."""
        self._numbers += 1
        ticket = Ticket(self._numbers, call_class, user, weight)
        self._lines[call_class].setdefault(user, deque()).append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place in line that was not granted yet."""
        line = self._lines[ticket.call_class]
        waiting = line.get(ticket.user)
        if waiting is not None and ticket in waiting:
            waiting.remove(ticket)
            if not waiting:
                del line[ticket.user]
                del self._taken[ticket.call_class, ticket.user]

    def grant(self, now: float) -> list[Ticket]:
        """The tickets that may call now, each counted as sent from this moment."""
        granted: list[Ticket] = []
        while ticket := self._next(now):
            self._started[ticket.call_class].append(now)
            self._granted[ticket] = now
            self._in_flight[ticket.user] += 1
            if self._silent_until is not None:
                self._probe = ticket
            granted.append(ticket)
        return granted

    def _next(self, now: float) -> Ticket | None:
        """Take the next ticket in turn, if any may go at all."""
        if self._is_held(now) or self.failure_budget(now) <= 0:
            return None
        for call_class in self._order():
            if self.tokens(call_class, now) and (ticket := self._take(call_class)):
                # Where failures are what is short, no class may live at the others' cost.
                self._turns.remove(call_class)
                self._turns.append(call_class)
                return ticket
        return None

    def _is_held(self, now: float) -> bool:
        """Whether the block still lasts, or its probe is not back yet."""
        return self._silent_until is not None and (now < self._silent_until or bool(self._probe))

    def _order(self) -> list[CallClass]:
        if self._silent_until is None:
            return list(self._turns)
        # A probe should be quick and free: a question rather than an order.
        return [CallClass.OTHER, CallClass.RETRIEVE, CallClass.QUEUE]

    def _take(self, call_class: CallClass) -> Ticket | None:
        """The first ticket of the first user in the round who may cause another failure."""
        line = self._lines[call_class]
        for user, waiting in line.items():
            if self._risk(user) >= self.limits.failures_per_user:
                continue
            ticket = waiting.popleft()
            self._taken[call_class, user] += 1
            if not waiting:
                del line[user]
            elif self._taken[call_class, user] >= ticket.weight:
                # To the back of the round: one turn each, however many jobs wait.
                line.move_to_end(user)
            else:
                return ticket
            del self._taken[call_class, user]
            return ticket
        return None

    def take_back(self, ticket: Ticket) -> None:
        """Undo a grant that nothing was sent for: its place in the window is free again."""
        at = self._land(ticket)
        if at in self._started[ticket.call_class]:
            self._started[ticket.call_class].remove(at)

    def finish(
        self, ticket: Ticket, now: float, *, failed: bool, proves_open: bool | None = None
    ) -> None:
        """A granted call has its status.

        `proves_open` says whether the answer shows that Venice does not block the key; left out,
        a success does.
        """
        was_probe = ticket == self._probe
        self._land(ticket)
        if failed:
            self._failures.append((now, ticket.user))
        proves = not failed if proves_open is None else proves_open
        # A block that came while the probe was out is news; the probe is not.
        if was_probe and proves and not self.is_silent(now):
            self._silent_until = None

    def _land(self, ticket: Ticket) -> float:
        """A granted call is no longer in flight; gives the moment it was granted."""
        at = self._granted.pop(ticket)
        self._in_flight[ticket.user] -= 1
        if not self._in_flight[ticket.user]:
            del self._in_flight[ticket.user]
        if ticket == self._probe:
            self._probe = None
        return at

    def silence(self, until: float) -> None:
        """Venice blocked the key: nobody calls until then, and then one probe does."""
        self._silent_until = max(until, self._silent_until or until)

    def _risk(self, user: str) -> int:
        """Failures a user has had in the last 30 s or may still cause with calls in flight."""
        failed = sum(1 for _, who in self._failures if who == user)
        return failed + self._in_flight[user]

    def failure_budget(self, now: float) -> int:
        """Failures that may still happen before the gateway stops sending."""
        self._forget(now)
        return self.limits.failures - len(self._failures) - len(self._granted)

    def tokens(self, call_class: CallClass, now: float) -> int:
        """Calls that the class's window still allows; `UNLIMITED` where it has no limit."""
        limit = self.limits.of(call_class)
        if limit is None:
            return UNLIMITED
        self._forget(now)
        return max(0, limit - len(self._started[call_class]))

    def waiting(self, call_class: CallClass, user: str | None = None) -> int:
        """How many stand in line, of one user or of all."""
        if user is not None:
            return len(self._lines[call_class].get(user, ()))
        return sum(len(line) for line in self._lines[call_class].values())

    def is_silent(self, now: float) -> bool:
        """Whether the key is blocked and nothing may be sent yet."""
        return self._silent_until is not None and now < self._silent_until

    def wake_at(self, now: float) -> float | None:
        """When time alone may let somebody go; None where only a finished call can.

        Always later than `now` once `grant` was asked, so that whoever waits for it never spins.
        """
        self._forget(now)
        if not any(self._lines.values()):
            return None
        if self._is_held(now):
            return self._silent_until if self.is_silent(now) else None
        times = [
            _forgotten_at(self._started[call_class][0])
            for call_class in CallClass
            if self._lines[call_class] and not self.tokens(call_class, now)
        ]
        if self._failures:
            times.append(self._failures[0][0] + FAILURE_SECONDS)
        return min(times, default=None)

    def _forget(self, now: float) -> None:
        for times in self._started.values():
            while times and _forgotten_at(times[0]) <= now:
                times.popleft()
        while self._failures and self._failures[0][0] + FAILURE_SECONDS <= now:
            self._failures.popleft()


def _forgotten_at(started: float) -> float:
    return started + WINDOW_SECONDS + SLACK_SECONDS
