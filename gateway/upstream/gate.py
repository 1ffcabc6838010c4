"""The gate through which every upstream call goes: it holds callers until the key has room.

Decisions are `core.pacing`'s; here are the waiting, the deadlines and the memory across restarts.
It sends nothing, and after `close` lets nobody through.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from gateway.core.errors import Draining
from gateway.core.pacing import (
    FAILURE_SECONDS,
    CallClass,
    GateLimits,
    Pacing,
    Ticket,
    class_of,
)
from gateway.core.retry import FAILED_OUTCOMES, Endpoint, Outcome
from gateway.ports import Clock, LedgerFailure, NoPlace
from gateway.records import RecordedCall
from gateway.upstream.limits import ClientLimits

RECALL_MS = int((ClientLimits().queue_seconds + FAILURE_SECONDS) * 1000)
"""How far back calls bear on the windows: the longest one may have failed just now. Ask the ledger
for these at a start."""
LINE_MAX = 1_000
"""Callers of one user and class in line; at 38 calls a minute the last would wait half an hour."""
BLOCK_SECONDS = 30.0
"""How long Venice blocks a key (its documentation), where it does not say so itself."""
SILENT_OUTCOMES = frozenset(
    {Outcome.BLOCKED, Outcome.LOST, Outcome.NONSENSE, Outcome.NEVER_ARRIVED}
)
"""After these a probe has not shown that the block is over."""

Record = Callable[[RecordedCall], Awaitable[None]]
"""The ledger's `record_call`."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Waiter:
    place: asyncio.Future[None]
    deadline: float


class Turn:
    """Permission for one call. Tell it with `depart` that bytes may leave now, and with `finish`
    what came of it as soon as the status is known."""

    def __init__(self, gate: Gate, ticket: Ticket, at: int) -> None:
        self._gate = gate
        self._ticket = ticket
        self._at = at
        self.has_departed = False
        self.is_finished = False

    def depart(self) -> None:
        """From here on the call may reach Venice, whatever becomes of us."""
        self.has_departed = True

    async def finish(self, outcome: Outcome, stated_wait: float | None = None) -> None:
        """The call is back; `stated_wait` is what Venice asked for, in seconds."""
        self.is_finished = True
        self._gate.land(self._ticket, outcome, stated_wait)
        if outcome in FAILED_OUTCOMES:
            await self._gate.remember_failure(self._ticket, self._at)


class Gate:
    """One key's gate. `weight_of` gives the calls that a user may make in one turn."""

    def __init__(
        self,
        clock: Clock,
        limits: GateLimits,
        record: Record,
        weight_of: Callable[[str], int] | None = None,
        observe_wait: Callable[[CallClass, float], None] | None = None,
    ) -> None:
        self._clock = clock
        self._pacing = Pacing(limits)
        self._record = record
        self._weight_of = weight_of
        self._observe_wait = observe_wait or (lambda _class, _seconds: None)
        self._waiters: dict[Ticket, _Waiter] = {}
        self._closing = asyncio.Event()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_due: float | None = None

    def __repr__(self) -> str:
        return f"<Gate {'closed' if self.is_closed else 'open'} {self._pacing!r}>"

    def set_limits(self, limits: GateLimits) -> None:
        """New limits, from this call on."""
        self._pacing.limits = limits
        self._let_through()

    def recall(self, calls: Iterable[RecordedCall], now: int) -> None:
        """Fill the windows with what was sent before a restart; `now` in Unix milliseconds.

        A failed call was recorded twice: as it left, and again with its failure. Either row alone
        counts as the call. A time in the future (the clock went back) counts as now.
        """
        origin = self._clock.monotonic()
        rows = sorted(calls, key=lambda call: call.at)
        left = {(c.call_class, c.user, c.at) for c in rows if c.failed_at is None}
        started = [
            (call.call_class, call.at)
            for call in rows
            if call.failed_at is None or (call.call_class, call.user, call.at) not in left
        ]
        failures = [(call.failed_at, call.user) for call in rows if call.failed_at is not None]

        def then(at: int) -> float:
            return origin - max(0, now - at) / 1000

        self._pacing.recall(
            [(call_class, then(at)) for call_class, at in started],
            [(then(at), user) for at, user in sorted(failures)],
        )

    @asynccontextmanager
    async def turn(self, endpoint: Endpoint, user: str, deadline: float) -> AsyncIterator[Turn]:
        """Wait for room, record the call, and give permission to make it once.

        `deadline` is in monotonic seconds. `NoPlace` where it passes first, `Draining` where the
        gate closes. Leaving without `depart` gives the place back; leaving after it without
        `finish` counts as a failure.
        """
        ticket = await self._granted(class_of(endpoint), user, deadline)
        at = self._clock.now()
        turn = Turn(self, ticket, at)
        try:
            await self._record(RecordedCall(ticket.call_class, user, at))
            yield turn
        finally:
            if not turn.is_finished and turn.has_departed:
                self.land(ticket, Outcome.LOST, None)
            elif not turn.is_finished:
                self._pacing.take_back(ticket)
                self._let_through()

    def land(self, ticket: Ticket, outcome: Outcome, stated_wait: float | None) -> None:
        """Count what came of a call, and let the next ones through."""
        now = self._clock.monotonic()
        if outcome is Outcome.BLOCKED:
            self._pacing.silence(now + (BLOCK_SECONDS if stated_wait is None else stated_wait))
        self._pacing.finish(
            ticket,
            now,
            failed=outcome in FAILED_OUTCOMES,
            proves_open=outcome not in SILENT_OUTCOMES,
        )
        self._let_through()

    async def remember_failure(self, ticket: Ticket, at: int) -> None:
        """Record a failure durably. Where the ledger cannot, the answer in hand matters more."""
        call = RecordedCall(ticket.call_class, ticket.user, at, failed_at=self._clock.now())
        try:
            await self._record(call)
        except LedgerFailure as error:
            _log.warning("gate.failure_not_recorded", reason=str(error))

    async def rest(self, seconds: float) -> bool:
        """Wait between two attempts; False as soon as the gate closes."""
        resting = asyncio.ensure_future(self._clock.sleep(seconds))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({resting, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            resting.cancel()
            closing.cancel()
        return not self.is_closed

    @property
    def is_closed(self) -> bool:
        """Whether the gateway is draining."""
        return self._closing.is_set()

    def close(self) -> None:
        """Let nobody through from now on; whoever waits gets `Draining`. Calls under way go on."""
        self._closing.set()
        for ticket in list(self._waiters):
            self._turn_away(ticket, Draining())
        self._set_alarm(None)

    def tokens(self, call_class: CallClass) -> int:
        """Calls that the class's window still allows."""
        return self._pacing.tokens(call_class, self._clock.monotonic())

    def waiting(self, call_class: CallClass, user: str | None = None) -> int:
        """Callers in line, of one user or of all."""
        return self._pacing.waiting(call_class, user)

    def room(self, call_class: CallClass) -> int:
        """Calls that the window would let through now, beside those in line."""
        return max(0, self.tokens(call_class) - self.waiting(call_class))

    @property
    def limits(self) -> GateLimits:
        """What the gateway allows itself."""
        return self._pacing.limits

    @property
    def is_silent(self) -> bool:
        """Whether Venice blocks the key, and nothing may be sent yet."""
        return self._pacing.is_silent(self._clock.monotonic())

    @property
    def failures_per_user(self) -> int:
        """Failures that one user may cause in 30 s."""
        return self._pacing.limits.failures_per_user

    def failure_budget(self) -> int:
        """Failures that may still happen within 30 s before the gate holds everybody."""
        return self._pacing.failure_budget(self._clock.monotonic())

    async def _granted(self, call_class: CallClass, user: str, deadline: float) -> Ticket:
        if self.is_closed:
            raise Draining
        if self._clock.monotonic() >= deadline:
            raise NoPlace("the deadline had passed before the gate was reached")
        if self._pacing.waiting(call_class, user) >= LINE_MAX:
            raise NoPlace(f"{LINE_MAX} calls of this user are in line already")
        weight = self._weight_of(user) if self._weight_of else 1
        ticket = self._pacing.join(call_class, user, weight)
        joined = self._clock.monotonic()
        waiter = _Waiter(asyncio.get_running_loop().create_future(), deadline)
        self._waiters[ticket] = waiter
        self._let_through()
        try:
            await waiter.place
        except asyncio.CancelledError:
            if self._waiters.pop(ticket, None):
                self._pacing.leave(ticket)
            elif _is_granted(waiter.place):
                self._pacing.take_back(ticket)
            self._let_through()
            raise
        self._observe_wait(call_class, self._clock.monotonic() - joined)
        return ticket

    def _let_through(self) -> None:
        """Grant what may be granted, turn away whose deadline is here, and set the next alarm."""
        now = self._clock.monotonic()
        while granted := self._pacing.grant(now):
            for ticket in granted:
                place = self._waiters.pop(ticket).place
                if place.done():  # its caller was cancelled, and has not run since
                    self._pacing.take_back(ticket)
                else:
                    place.set_result(None)
        for ticket in [t for t, waiter in self._waiters.items() if waiter.deadline <= now]:
            self._turn_away(ticket, NoPlace("no place at the gate in time"))
        times = [waiter.deadline for waiter in self._waiters.values()]
        wake_at = self._pacing.wake_at(now)
        self._set_alarm(min([*times, wake_at] if wake_at is not None else times, default=None))

    def _turn_away(self, ticket: Ticket, reason: Exception) -> None:
        self._pacing.leave(ticket)
        place = self._waiters.pop(ticket).place
        if not place.done():
            place.set_exception(reason)

    def _set_alarm(self, due: float | None) -> None:
        if due == self._alarm_due:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_due = due
        self._alarm = None if due is None else asyncio.ensure_future(self._ring_at(due))

    async def _ring_at(self, due: float) -> None:
        await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
        self._alarm = self._alarm_due = None
        self._let_through()


def _is_granted(place: asyncio.Future[None]) -> bool:
    return place.done() and not place.cancelled() and place.exception() is None
