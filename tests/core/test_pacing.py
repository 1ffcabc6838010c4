"""How one key is shared: no interleaving passes a limit, and nobody waits for ever."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.core.pacing import (
    FAILURE_SECONDS,
    SLACK_SECONDS,
    UNLIMITED,
    WINDOW_SECONDS,
    CallClass,
    GateLimits,
    Pacing,
    Ticket,
    class_of,
)
from gateway.core.retry import Endpoint

QUEUE, RETRIEVE, OTHER = CallClass.QUEUE, CallClass.RETRIEVE, CallClass.OTHER
USERS = ("ann", "bob", "cid", "dan")


class AnyInterleaving(RuleBasedStateMachine):
    """Callers join, leave, are let through, fail and succeed in every order; the key is blocked
    now and then. What was granted is counted a second time here, from the outside."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 5.0
        self.pacing = Pacing(GateLimits(queue=4, retrieve=9, failures=6, failures_per_user=2))
        self.waiting: list[Ticket] = []
        self.in_flight: list[Ticket] = []
        self.started: dict[CallClass, list[float]] = {c: [] for c in CallClass}
        self.granted_at: dict[Ticket, float] = {}
        self.failures: list[tuple[float, str]] = []
        self.silent_until = 0.0
        self.is_probing = False
        self.probe: Ticket | None = None

    def let_through(self) -> None:
        for ticket in self.pacing.grant(self.now):
            assert self.now >= self.silent_until, "nobody calls while the key is blocked"
            assert not self.is_probing or self.probe is None, "one probe at a time"
            self.waiting.remove(ticket)
            self.in_flight.append(ticket)
            self.started[ticket.call_class].append(self.now)
            self.granted_at[ticket] = self.now
            if self.is_probing:
                self.probe = ticket

    @rule(
        call_class=st.sampled_from(CallClass), user=st.sampled_from(USERS), weight=st.integers(1, 3)
    )
    def join(self, call_class: CallClass, user: str, weight: int) -> None:
        self.waiting.append(self.pacing.join(call_class, user, weight))

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.waiting:
            self.pacing.leave(self._take_any(self.waiting, data))

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data(), failed=st.booleans())
    def finish(self, data: st.DataObject, failed: bool) -> None:
        if self.in_flight:
            ticket = self._take_any(self.in_flight, data)
            self.pacing.finish(ticket, self.now, failed=failed)
            if failed:
                self.failures.append((self.now, ticket.user))
            if ticket == self.probe:
                self.probe = None
                self.is_probing = failed or self.now < self.silent_until

    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        if self.in_flight:
            ticket = self._take_any(self.in_flight, data)
            self.pacing.take_back(ticket)
            self.started[ticket.call_class].remove(self.granted_at[ticket])
            if ticket == self.probe:
                self.probe = None

    @rule(seconds=st.floats(1, 60))
    def block(self, seconds: float) -> None:
        self.pacing.silence(self.now + seconds)
        self.silent_until = max(self.silent_until, self.now + seconds)
        self.is_probing = True

    def _take_any(self, tickets: list[Ticket], data: st.DataObject) -> Ticket:
        ticket = data.draw(st.sampled_from(tickets))
        tickets.remove(ticket)
        return ticket

    @invariant()
    def no_window_ever_holds_more_calls_than_its_limit(self) -> None:
        for call_class in (QUEUE, RETRIEVE):
            limit = self.pacing.limits.of(call_class)
            assert limit is not None
            times = self.started[call_class]
            for first, beyond in zip(times, times[limit:], strict=False):
                assert beyond - first >= WINDOW_SECONDS

    @invariant()
    def failures_and_calls_in_flight_stay_within_their_limits(self) -> None:
        recent = [who for at, who in self.failures if at + FAILURE_SECONDS > self.now]
        at_risk = Counter(recent) + Counter(ticket.user for ticket in self.in_flight)
        assert at_risk.total() <= self.pacing.limits.failures
        assert all(n <= self.pacing.limits.failures_per_user for n in at_risk.values())
        assert self.pacing.failure_budget(self.now) == 6 - at_risk.total()

    @invariant()
    def the_lines_hold_exactly_those_who_wait(self) -> None:
        for call_class in CallClass:
            expected = [t for t in self.waiting if t.call_class is call_class]
            assert self.pacing.waiting(call_class) == len(expected)
            for user in USERS:
                mine = sum(t.user == user for t in expected)
                assert self.pacing.waiting(call_class, user) == mine

    @invariant()
    def whoever_waits_for_time_alone_waits_for_a_moment_to_come(self) -> None:
        self.let_through()  # what may go now is nobody's to wait for
        wake_at = self.pacing.wake_at(self.now)
        assert wake_at is None or wake_at > self.now
        if self.waiting and wake_at is None:
            assert self.in_flight, "somebody waits, and nothing would ever wake them"


AnyInterleaving.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyInterleaving = AnyInterleaving.TestCase


def granted(pacing: Pacing, now: float) -> list[str]:
    return [ticket.user for ticket in pacing.grant(now)]


def test_the_limits_are_venices_less_a_margin() -> None:
    assert GateLimits.below(queue=40, retrieve=120, failures=20) == GateLimits(38, 114, 15, 5)
    assert GateLimits.below(queue=1, retrieve=1, failures=4) == GateLimits(1, 1, 3, 1)


@pytest.mark.parametrize("endpoint", Endpoint)
def test_only_orders_and_looks_have_a_published_limit(endpoint: Endpoint) -> None:
    expected = {Endpoint.QUEUE: QUEUE, Endpoint.RETRIEVE: RETRIEVE}.get(endpoint, OTHER)
    assert class_of(endpoint) is expected
    assert Pacing(GateLimits()).tokens(OTHER, 0.0) == UNLIMITED


def test_a_call_leaves_its_window_when_venice_too_has_forgotten_it() -> None:
    pacing = Pacing(GateLimits(queue=1))
    pacing.join(QUEUE, "ann")
    pacing.finish(pacing.grant(100.0)[0], 100.0, failed=False)
    pacing.join(QUEUE, "ann")
    assert pacing.wake_at(100.0) == 100.0 + WINDOW_SECONDS + SLACK_SECONDS
    assert not pacing.grant(100.0 + WINDOW_SECONDS)
    assert pacing.grant(100.0 + WINDOW_SECONDS + SLACK_SECONDS)


def test_the_moment_to_wake_is_never_a_rounding_error_too_soon() -> None:
    chance = random.Random(3)
    for _ in range(2_000):
        pacing = Pacing(GateLimits(queue=1, failures=1))
        now = chance.random() * 10 ** chance.randrange(7)
        pacing.join(QUEUE, "ann")
        pacing.finish(pacing.grant(now)[0], now, failed=True)
        pacing.join(QUEUE, "ann")
        woken = []
        while not pacing.grant(now):
            now = pacing.wake_at(now) or 0.0
            woken.append(now)
        assert len(woken) == 2, "the failure is forgotten first, then the call"


def test_slots_go_round_by_user() -> None:
    pacing = Pacing(GateLimits(queue=8, failures=100, failures_per_user=100))
    for _ in range(500):
        pacing.join(QUEUE, "ann")
    for _ in range(2):
        pacing.join(QUEUE, "bob")
    pacing.join(QUEUE, "cid")
    assert granted(pacing, 0.0) == ["ann", "bob", "cid", "ann", "bob", "ann", "ann", "ann"]


def test_a_newcomer_waits_one_turn_at_most() -> None:
    pacing = Pacing(GateLimits(queue=3, failures=100, failures_per_user=100))
    for user in ("ann", "bob"):
        for _ in range(500):
            pacing.join(QUEUE, user)
    assert granted(pacing, 0.0) == ["ann", "bob", "ann"]
    pacing.join(QUEUE, "cid")
    assert granted(pacing, 100.0) == ["bob", "ann", "cid"]


def test_a_user_at_their_limit_of_failures_is_passed_over_and_keeps_their_turn() -> None:
    pacing = Pacing(GateLimits(failures_per_user=1))
    pacing.join(QUEUE, "eve")
    first = pacing.grant(0.0)[0]
    for user in ("eve", "ann", "ann"):
        pacing.join(QUEUE, user)
    assert granted(pacing, 1.0) == ["ann"]
    pacing.finish(first, 2.0, failed=False)
    assert granted(pacing, 2.0) == ["eve"]


def test_what_was_not_sent_takes_no_place_in_the_window() -> None:
    pacing = Pacing(GateLimits(queue=1))
    for user in ("ann", "bob"):
        pacing.join(QUEUE, user)
    pacing.take_back(pacing.grant(0.0)[0])
    assert granted(pacing, 1.0) == ["bob"]


def test_a_grant_may_be_taken_back_after_its_window() -> None:
    pacing = Pacing(GateLimits(queue=1))
    pacing.join(QUEUE, "ann")
    ticket = pacing.grant(0.0)[0]
    assert pacing.tokens(QUEUE, 100.0) == 1
    pacing.take_back(ticket)
    assert pacing.tokens(QUEUE, 100.0) == 1


def test_a_probe_asks_rather_than_orders() -> None:
    pacing = Pacing(GateLimits())
    pacing.silence(10.0)
    for call_class in (QUEUE, RETRIEVE, OTHER):
        pacing.join(call_class, call_class)
    assert pacing.is_silent(9.9)
    assert pacing.wake_at(3.0) == 10.0
    assert not pacing.grant(9.9)
    probe = pacing.grant(10.0)
    assert [ticket.call_class for ticket in probe] == [OTHER]
    assert pacing.wake_at(10.0) is None
    pacing.finish(probe[0], 11.0, failed=True, proves_open=True)
    assert sorted(granted(pacing, 11.0)) == ["queue", "retrieve"]


def test_a_block_that_comes_while_the_probe_is_out_is_not_lifted_by_it() -> None:
    pacing = Pacing(GateLimits())
    pacing.silence(10.0)
    pacing.join(OTHER, "ann")
    (probe,) = pacing.grant(10.0)
    pacing.silence(41.0)
    pacing.finish(probe, 12.0, failed=False)
    pacing.join(OTHER, "ann")
    assert not pacing.grant(40.9)
    assert pacing.grant(41.0)


def test_calls_and_failures_from_before_a_restart_count() -> None:
    pacing = Pacing(GateLimits(queue=2, failures=2))
    pacing.recall([(QUEUE, -50.0), (QUEUE, -10.0)], [(-29.0, "ann")])
    assert pacing.tokens(QUEUE, 0.0) == 0
    assert pacing.failure_budget(0.0) == 1
    assert pacing.tokens(QUEUE, 11.0) == 1
    assert pacing.failure_budget(1.0) == 2


class Day:
    """Half an hour at the gate: callers, a Venice with its own counts, and events in order."""

    def __init__(self, seed: int, limits: GateLimits) -> None:
        self.chance = random.Random(seed)
        self.pacing = Pacing(limits)
        self.now = 0.0
        self.started: list[tuple[float, CallClass, str]] = []
        self.failed_at: list[float] = []
        self.most_at_risk = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, moment: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), act))

    def crowd(self, user: str, call_class: CallClass, *, lines: int, fails: bool = False) -> None:
        """A user who always has so many calls waiting."""
        for _ in range(lines):
            self._call(user, call_class, fails)

    def _call(self, user: str, call_class: CallClass, fails: bool) -> None:
        self.pacing.join(call_class, f"{user}{'!' if fails else ''}")

    def run_until(self, end: float) -> None:
        in_flight = 0

        def back(ticket: Ticket) -> Callable[[], None]:
            def act() -> None:
                nonlocal in_flight
                in_flight -= 1
                fails = ticket.user.endswith("!")
                if fails:
                    self.failed_at.append(self.now)
                self.pacing.finish(ticket, self.now, failed=fails)
                self.pacing.join(ticket.call_class, ticket.user)

            return act

        while self.now < end:
            for ticket in self.pacing.grant(self.now):
                in_flight += 1
                self.started.append((self.now, ticket.call_class, ticket.user))
                self.at(self.now + self.chance.uniform(0.05, 1.0), back(ticket))
            recent = sum(at > self.now - 30 for at in self.failed_at[-50:])
            self.most_at_risk = max(self.most_at_risk, recent + in_flight)
            wake_at = self.pacing.wake_at(self.now)
            next_event = self._events[0][0] if self._events else None
            moments = [m for m in (wake_at, next_event) if m is not None]
            self.now = min(moments)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()

    def most_in(self, call_class: CallClass, seconds: float) -> int:
        times = [at for at, kind, _ in self.started if kind is call_class]
        most = first = 0
        for last, at in enumerate(times):
            while times[first] <= at - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


def test_half_an_hour_at_ten_times_the_load_beside_an_attacker_keeps_every_limit() -> None:
    day = Day(seed=7, limits=GateLimits())
    honest = [f"user {number}" for number in range(10)]
    for user in honest:
        day.crowd(user, QUEUE, lines=40)
        day.crowd(user, RETRIEVE, lines=120)
    day.crowd("attacker", QUEUE, lines=500, fails=True)
    day.run_until(1_800.0)
    assert day.most_in(QUEUE, 60.0) <= 38
    assert day.most_in(RETRIEVE, 60.0) <= 114
    assert day.most_at_risk <= 15
    assert all(b - a >= 30 for a, b in zip(day.failed_at, day.failed_at[5:], strict=False))
    orders = Counter(user for _, kind, user in day.started if kind is QUEUE)
    looks = Counter(user for _, kind, user in day.started if kind is RETRIEVE)
    shares = [orders[user] for user in honest]
    assert max(shares) / min(shares) <= 1.5
    assert max(looks.values()) / min(looks.values()) <= 1.5
    assert orders.total() >= 0.9 * 38 * 29
    assert looks.total() >= 0.9 * 114 * 29
