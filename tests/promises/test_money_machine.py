"""R1–R4, R7 to R12 and R40 as one machine: orders, answers, polls, refunds, bills, kills, edits and
clocks that jump in any order; after each of them the books are derived again from their entries.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.core.budget import Scope
from gateway.core.errors import BudgetExceeded, IdempotencyMismatch, OutcomeUnknown
from gateway.core.job import ACTIVE_STATES, Event, Holding, IllegalEvent, State
from gateway.core.money import ZERO, Money
from gateway.core.policy import ORGANIZATION_NAME
from gateway.core.retry import Outcome
from gateway.orders import Presence, QueueRequest
from gateway.ports import Reply, Unknown
from gateway.records import Grant, Job
from tests.promises.billed_world import ALIKE, ALL, ORDERED, OTHER, BilledWorld
from tests.promises.money_world import PRICES, TEAMS
from tests.promises.window_watch import DAY_MS, HOUR_MS, WindowWatch
from tests.video_house import WORKING, video

T = TypeVar("T")
CERTAIN = ("accept", "refuse", "server error", "no place")
LOST = ("lose made", "lose unmade", "answer nonsense")
ANSWERS = {
    "works": WORKING,
    "is refunded": Reply(
        Outcome.REFUSED, 422, b"{}", {"error": {"message": "no", "credits_refunded": True}}
    ),
    "failed and is billed": Reply(Outcome.OK, 200, b"{}", {"status": "FAILED", "error": "no"}),
    "is refused": Reply(Outcome.REFUSED, 422, b"{}", {"error": "no", "credits_refunded": "true"}),
    "ends in nothing": Reply(Outcome.OK, 200, b"{}", {"status": "COMPLETED"}),
    "is unknown": Reply(Outcome.REFUSED, 404, b"{}", {"error": "no"}),
}
DECISIONS = (Event.DECIDE_BILLED, Event.DECIDE_UNBILLED, Event.REOPEN)
UNDECIDED = (
    State.IN_DOUBT,
    State.SETTLED_IN_DOUBT,
    State.RELEASED_IN_DOUBT,
    State.STALLED,
    State.UNDELIVERABLE,
    State.LOST,
)
BILLED_AFTER_ALL = {
    State.IN_DOUBT: Event.DECIDE_BILLED,
    State.RELEASED_IN_DOUBT: Event.DECIDE_BILLED,
    State.REFUSED: Event.FIND_BILLED,
    State.FAILED_REFUNDED: Event.FIND_BILLED,
}
ENDED = (*UNDECIDED, State.REFUSED, State.FAILED_REFUNDED, State.FAILED_BILLED, State.STORED)
COSTS: dict[str, Callable[[int], int]] = {
    "its quote": lambda quote: quote,
    "more": lambda quote: quote + 25_000,
    "half": lambda quote: quote // 2,
    "nothing": lambda quote: 0,
}
GRANTED = (
    (Scope.KEY, "annakey0"),
    (Scope.USER, "anna"),
    (Scope.TEAM, "film"),
    (Scope.ORGANIZATION, ORGANIZATION_NAME),
)
PASSING_MS = (1, 900, HOUR_MS, DAY_MS // 2, DAY_MS, 31 * DAY_MS, -HOUR_MS, -DAY_MS)
WINDOWS = ("hour", "day", "24h", "week", "month", "all")
users = st.sampled_from(("anna", "berta"))
durations = st.sampled_from(tuple(PRICES))


class MoneyMachine(RuleBasedStateMachine):
    """What may happen to a gateway's money."""

    @initialize(asks=st.booleans())
    def begin(self, asks: bool) -> None:
        """Windows that are asked for are remembered, and what is remembered may be wrong: there are
        lives in which somebody asks after every step."""
        self.asks = asks
        self._folder = tempfile.TemporaryDirectory(prefix="money-")
        self._loop = uvloop.new_event_loop()
        self.world = BilledWorld(Path(self._folder.name))
        self.watch = WindowWatch(self.world)
        self.orders = 0
        self.refunded: set[str] = set()
        self.costs: dict[str, int] = {}
        """What evidence said last of a job's cost, in micro-dollars."""
        self.run(self.world.begin())

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.run(self.world.end())
            self._loop.close()
            self._folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Go on with the world until some work is done."""
        return self._loop.run_until_complete(work)

    def prompt(self, plan: str) -> str:
        """A new prompt, of which Venice makes what the plan says."""
        self.orders += 1
        prompt = f"order {self.orders}"
        self.world.venice.plans[prompt] = plan
        return prompt

    def jobs(self, *states: State) -> list[Job]:
        return self.run(self.world.ledger.jobs(states=states, limit=ALL))

    def one_of(self, data: st.DataObject, *states: State) -> Job | None:
        """A job in one of these states, which is a rare one as often as any other."""
        jobs = self.jobs(*states)
        if not jobs:
            return None
        state = data.draw(st.sampled_from(sorted({job.state for job in jobs})))
        return data.draw(st.sampled_from([job for job in jobs if job.state is state]))

    async def refused_for_lack_of_room(self, refused: BudgetExceeded, duration: str) -> None:
        """R2: what was refused truly does not fit, or is forbidden."""
        limit, at = refused.standing.limit, await self.world.reached()
        ceiling = await self.world.ceiling(limit, at)
        room = ceiling - await self.world.used(limit, at)
        assert room < PRICES[duration] or not ceiling, (limit, room)

    # orders

    @rule(name=users, duration=durations, plan=st.sampled_from((*CERTAIN, *LOST, "accept")))
    def order(self, name: str, duration: str, plan: str) -> None:
        request = self.world.request(name, self.prompt(plan), duration)
        self.run(self._order_one(request, plan))

    async def _order_one(self, request: QueueRequest, plan: str) -> None:
        answer = await self.world.order(request)
        if isinstance(answer, BudgetExceeded):
            await self.refused_for_lack_of_room(answer, request.body["duration"])
            return
        assert isinstance(answer, OutcomeUnknown) is (plan in LOST), (plan, answer)
        assert isinstance(answer, Job) is (plan == "accept"), (plan, answer)

    @rule(name=users, count=st.integers(2, 12), duration=durations)
    def race(self, name: str, count: int, duration: str) -> None:
        """R2: as many of simultaneous orders are bought as there is room for, to the last one."""
        prompts = [self.prompt("accept") for _ in range(count)]
        self.run(self._race(name, prompts, duration))

    async def _race(self, name: str, prompts: list[str], duration: str) -> None:
        requests = [self.world.request(name, prompt, duration) for prompt in prompts]
        answers = await asyncio.gather(*map(self.world.order, requests))
        bought = [answer for answer in answers if isinstance(answer, Job)]
        assert all(isinstance(answer, Job | BudgetExceeded) for answer in answers), answers
        if len(bought) < len(prompts):
            refused = next(a for a in answers if isinstance(a, BudgetExceeded))
            await self.refused_for_lack_of_room(refused, duration)

    @rule(name=users, plan=st.sampled_from(("accept", "lose made")))
    def idempotency(self, name: str, plan: str) -> None:
        """R10: one key is one order, however often it is sent."""
        prompt = self.prompt(plan)
        again = [self.world.request(name, prompt, "5s", f"key {prompt}") for _ in range(3)]
        other = self.world.request(name, f"not {prompt}", "5s", f"key {prompt}")
        self.run(self._send_again(again, other, prompt))

    async def _send_again(
        self, again: list[QueueRequest], other: QueueRequest, prompt: str
    ) -> None:
        answers = [await self.world.order(request) for request in again]
        ids = {answer.id for answer in answers if isinstance(answer, Job)}
        assert len(ids) <= 1
        if ids or any(isinstance(answer, OutcomeUnknown) for answer in answers):
            assert isinstance(await self.world.order(other), IdempotencyMismatch)
        assert self.world.venice.made[prompt] <= 1

    @rule(name=users, duration=durations)
    def leave_and_send_again(self, name: str, duration: str) -> None:
        """R7: a client that left before its answer gets that one when it comes back."""
        first = self.world.request(name, self.prompt("accept"), duration)

        async def leave(_prompt: str) -> None:
            first.presence.leave()

        async def both() -> None:
            self.world.venice.at_answer = leave
            await self.world.order(first)
            self.world.venice.at_answer = _nothing
            await self.world.order(self.world.request(name, first.body["prompt"], duration))

        self.run(both())
        assert self.world.venice.made[first.body["prompt"]] <= 1

    @rule(name=users, duration=durations, where=st.sampled_from(("gate", "answer")))
    def kill_and_send_again(self, name: str, duration: str, where: str) -> None:
        """R7, R13: killed before anything is sent, or after Venice has accepted."""
        request = self.world.request(name, self.prompt("accept"), duration)
        self.run(self._kill_at(request, where))
        assert self.world.venice.made[request.body["prompt"]] <= 1

    async def _kill_at(self, request: QueueRequest, where: str) -> None:
        reached, venice = asyncio.Event(), self.world.venice

        async def stay(_prompt: str) -> None:
            reached.set()
            await asyncio.Event().wait()

        venice.at_gate, venice.at_answer = (stay, _nothing) if where == "gate" else (_nothing, stay)
        task = asyncio.create_task(self.world.order(request))
        waiting = asyncio.create_task(reached.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        is_under_way = not task.done()
        await self.world.kill()
        venice.at_gate = venice.at_answer = _nothing
        answer = await self.world.order(replace(request, presence=Presence()))
        if is_under_way and where == "answer":
            assert isinstance(answer, OutcomeUnknown), answer

    # what becomes of them

    @rule(data=st.data(), told=st.sampled_from(tuple(ANSWERS)))
    def poll(self, data: st.DataObject, told: str) -> None:
        """R11: only `credits_refunded: true` gives money back."""
        job = self.one_of(data, State.PROCESSING)
        if job is None:
            return
        after = self.run(self.world.tracking.learn(job, ANSWERS[told]))
        if told == "is refunded":
            self.refunded.add(job.id)
            assert after.settled == after.reserved == ZERO
        assert (after.state is State.FAILED_REFUNDED) is (told == "is refunded")

    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        """The video comes, and the job is settled at its quote, unless it was settled before."""
        job = self.one_of(data, State.PROCESSING)
        if job is None:
            return
        self.world.venice.retrieves = lambda _: video()
        after = self.run(self.world.tracking.look(job)).job
        assert after.state is State.STORED
        was_settled = job.holding is Holding.SETTLED
        assert after.settled == (job.settled if was_settled else job.quote)

    @rule(data=st.data(), event=st.sampled_from(DECISIONS))
    def decide(self, data: st.DataObject, event: Event) -> None:
        """An administrator decides about what nobody can know."""
        job = self.one_of(data, *UNDECIDED)
        if job is None:
            return
        try:
            self.run(self.world.decide(job, event))
        except IllegalEvent:
            assert self.run(self.world.ledger.job(job.id)) == job

    # what Venice's bill says of them

    @rule()
    def reconcile(self) -> None:
        """R8, R12: doubts end as the bill has it, and what has ended costs what it says."""
        before = {job.id: job for job in self.jobs()}
        self.run(self.world.reconcile())
        for job in self.jobs():
            self._told_by_the_bill(before[job.id], job)

    def _told_by_the_bill(self, before: Job, job: Job) -> None:
        if (before.state, before.settled) != (job.state, job.settled):
            self.costs[job.id] = job.settled.micros
        if job.queue_id is None or job.state in ACTIVE_STATES:
            return
        billed = self.world.billed[job.queue_id]
        assert job.settled.micros == billed, (job, billed)
        if job.state is State.FAILED_REFUNDED and billed == 0:
            self.refunded.add(job.id)

    @rule(data=st.data(), cost=st.sampled_from(tuple(COSTS)))
    def bill(self, data: st.DataObject, cost: str) -> None:
        """The bill says of one what nobody expected: more than was quoted, or that it was charged
        although Venice refused it or gave the money back, or a refund that nobody was told of."""
        job = self.one_of(data, *ENDED)
        if job is None:
            return
        self.world.charge_in_all(job, COSTS[cost](job.quote.micros))
        self.reconcile()

    @rule(data=st.data(), micros=st.sampled_from((1, 85_001, 700_000)))
    def end_as(self, data: st.DataObject, micros: int) -> None:
        """Evidence of a cost that was not quoted, wherever the table takes a charge."""
        job = self.one_of(data, *BILLED_AFTER_ALL)
        if job is None:
            return
        after = self.run(self.world.end_as(job, BILLED_AFTER_ALL[job.state], Money(micros)))
        assert (after.settled, after.reserved, after.in_doubt) == (Money(micros), ZERO, ZERO)
        self.costs[job.id] = micros

    @rule(
        name=users,
        model=st.sampled_from((ORDERED, ALIKE, OTHER)),
        micros=st.sampled_from((1, 333_333)),
        ago_ms=st.sampled_from((0, HOUR_MS, DAY_MS - HOUR_MS // 2, 31 * DAY_MS)),
    )
    def adopt(self, name: str, model: str, micros: int, ago_ms: int) -> None:
        """A job bought elsewhere is spent already: it asks no limit, and takes room."""
        self.orders += 1
        self.run(self.world.adopt(name, self.orders, model, micros, ago_ms))

    # what happens meanwhile

    @rule()
    def kill(self) -> None:
        self.run(self.world.kill())

    @rule(ms=st.sampled_from(PASSING_MS))
    def pass_time(self, ms: int) -> None:
        """R40: on, over the end of a day or of a month, and back."""
        self.world.clock.wall += ms

    @rule(name=users, team=st.sampled_from((None, *TEAMS)))
    def move(self, name: str, team: str | None) -> None:
        """R9."""
        self.run(self.world.move(name, team))

    @rule(name=users)
    def rotate(self, name: str) -> None:
        self.run(self.world.rotate(name))

    @rule(micros=st.sampled_from((0, 60_000, 500_000, 1_000_000, 5_000_000)))
    def edit(self, micros: int) -> None:
        """R9: limits go up, and under what is spent."""
        self.world.limit_days(micros)

    @rule(
        whose=st.sampled_from(GRANTED),
        window=st.sampled_from(WINDOWS),
        hours=st.integers(1, 100),
    )
    def give(self, whose: tuple[Scope, str], window: str, hours: int) -> None:
        """A limit raised for a time."""
        self.orders += 1
        at = self.world.clock.now()
        until = at + hours * HOUR_MS
        name = f"grant{self.orders}"
        grant = Grant(name, *whose, window, Money(250_000), until, "why", "root", at)
        self.run(self.world.ledger.add_grant(grant))

    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        """A grant ends before its time, once: what was spent under it stays spent."""
        grants = self.run(self.world.ledger.grants())
        if not grants:
            return
        grant = data.draw(st.sampled_from(grants))
        can_end = grant.revoked_at is None and self.world.clock.wall + 1 < grant.until
        try:
            assert self.run(self.world.take_back(grant)).revoked_at is not None
            assert can_end
        except Unknown:
            assert not can_end

    @rule(name=users, keep=st.booleans())
    def ask(self, name: str, keep: bool) -> None:
        """What people are shown of their windows is what these hold."""
        self.run(self._ask(name, keep=keep))

    async def _ask(self, name: str, *, keep: bool) -> None:
        calendar = self.world.rulebook.organization.calendar
        limits, now = self.world.limits_of_user(name), self.world.clock.now()
        standings = await self.world.ledger.standings(limits, calendar, now, keep=keep)
        at = max(now, await self.world.reached())
        used = await self.world.used_of(limits, at)
        for standing, micros in zip(standings, used, strict=True):
            assert standing.used.micros == micros, (standing, at)
            ceiling = await self.world.ceiling(standing.limit, at)
            assert standing.ceiling.micros == ceiling, (standing, at)

    # what holds after every commit

    @invariant()
    def no_window_holds_more_than_its_limit(self) -> None:
        """R1, of every window there is, and of every entry that was written since."""
        self.run(self.watch.look({job.id: job for job in self.jobs()}))
        for name in self.world.users if self.asks else ():
            self.run(self._ask(name, keep=False))

    @invariant()
    def books_are_what_their_entries_say(self) -> None:
        """R4, by SQL of its own beside the ledger's own proof."""
        found = self.run(self.world.ledger.verify())
        assert found.is_sound, found
        sums: dict[str, int] = defaultdict(int)
        for job_id, _, amount, _ in self.world.entries():
            sums[job_id] += amount
        jobs = self.jobs()
        assert {job.id for job in jobs} == sums.keys()
        for job in jobs:
            held = job.reserved.micros + job.in_doubt.micros + job.settled.micros
            assert held == sums[job.id], job
            assert held in (0, job.quote.micros, self.costs.get(job.id)), job

    @invariant()
    def a_reservation_begins_once_and_ends_once(self) -> None:
        """R3, and that the ledger's time never goes back (R40)."""
        entries = self.world.entries()
        kinds = Counter((job_id, kind) for job_id, kind, _, _ in entries)
        for job_id in {job_id for job_id, *_ in entries}:
            assert kinds[job_id, "reserve"] == 1
            assert kinds[job_id, "settle"] + kinds[job_id, "release"] <= 1
        times = [at for *_, at in entries]
        assert times == sorted(times)

    @invariant()
    def an_intent_is_bought_at_most_once(self) -> None:
        """R7; and what was made is held or paid for, unless Venice or an administrator said so."""
        assert max(self.world.venice.made.values(), default=0) <= 1
        for job in self.jobs(State.IN_DOUBT):
            assert job.in_doubt == job.quote
        refunded = {job.id for job in self.jobs(State.FAILED_REFUNDED)}
        assert refunded <= self.refunded


async def _nothing(*_values: object) -> None:
    """The hook of what goes well."""


_CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
TestSomeSchedules = MoneyMachine.TestCase
TestSomeSchedules.settings = settings(
    max_examples=10, stateful_step_count=30, deadline=None, suppress_health_check=_CHECKS
)


class _MoreSchedules(MoneyMachine):
    """The same rules at the full figure."""


TestManySchedules = pytest.mark.torture(pytest.mark.timeout(7200)(_MoreSchedules.TestCase))
TestManySchedules.settings = settings(
    max_examples=1_000, stateful_step_count=50, deadline=None, suppress_health_check=_CHECKS
)
