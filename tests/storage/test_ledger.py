"""What any ledger promises, written against `ports.Ledger`: money held once, ended once, never
drifting. A backend passes this suite or is none.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.core.budget import Calendar, Limit, Scope
from gateway.core.job import JOB_TABLE, Event, IllegalEvent, State
from gateway.core.money import ZERO, Money
from gateway.core.policy import ORGANIZATION_NAME
from gateway.ports import AlreadyThere, Ledger, Unknown
from gateway.records import (
    Adoption,
    Caller,
    Grant,
    Job,
    Key,
    Order,
    Overrun,
    Reserved,
    User,
)
from tests.storage.conftest import NOON, OpenLedger

HOUR = 3_600_000
CALENDAR = Calendar(ZoneInfo("Europe/Rome"))
ANNA = Caller(User("anna", team="film"), Key("annakey", "anna", digest="1" * 64))
BERTA = Caller(User("berta"), Key("bertakey", "berta", digest="2" * 64))
PRICE = Money(85_000)
ASKED: Any = {"reason": "x", "actor": "reconcile"}


@pytest.fixture
async def ledger(open_ledger: OpenLedger) -> AsyncIterator[Ledger]:
    """A ledger that knows anna and berta."""
    opened = await open_ledger()
    for caller in (ANNA, BERTA):
        await opened.add_user(caller.user)
        await opened.add_key(caller.key)
    yield opened
    await opened.close()


def limit(
    amount: Money, scope: Scope = Scope.USER, who: str = "anna", window: str = "day"
) -> Limit:
    """A budget."""
    return Limit(scope, who, who, window, amount)


def an_order(number: int, caller: Caller = ANNA, **changes: Any) -> Order:
    """An order of 0.085 dollars without limits."""
    order = Order(
        id=f"job{number}",
        caller=caller,
        model="wan",
        body_digest=f"{number:064}",
        idempotency_key=None,
        quote=PRICE,
        limits=(),
        calendar=CALENDAR,
    )
    return replace(order, **changes)


async def reserve(ledger: Ledger, order: Order, at: int = NOON) -> Job:
    """Hold an order that fits."""
    held = await ledger.reserve(order, at)
    assert isinstance(held, Reserved), held
    return held.job


async def advance(ledger: Ledger, job: Job, *events: Event, **facts: Any) -> Job:
    """Move a job by several events; the facts come with the last."""
    for event in events[:-1]:
        job = await ledger.advance(job.id, event, NOON)
    return await ledger.advance(job.id, events[-1], NOON, facts=facts)


async def test_what_is_told_of_a_reservation_is_what_was_written(ledger: Ledger) -> None:
    rotated = Key("newkey", "anna", digest="", origin="annakey")
    order = an_order(
        1,
        caller=Caller(User("anna", team="film"), rotated),
        idempotency_key="once",
        limits=[limit(Money(1_000_000))],
        tags=("teaser", "o'clock"),
        policy="artists",
        policy_version="7",
        seconds=5,
        resolution="720p",
        upstream_key="0123456789abcdef",
    )
    job = await reserve(ledger, order)
    assert job == await ledger.job("job1")
    assert (job.key_id, job.remaining) == ("annakey", Money(1_000_000 - PRICE.micros))


async def test_a_users_jobs_are_those_that_are_held_and_those_that_are_not(ledger: Ledger) -> None:
    """They lie in two indexes; a job is in one of them."""
    ben = Caller(User("ben", team="film"), Key("benkey", "ben", digest=""))
    others = [await reserve(ledger, an_order(10 + n, ben)) for n in range(2)]
    await advance(ledger, others[0], Event.GIVE_UP)
    jobs = [await reserve(ledger, an_order(n)) for n in range(5)]
    await advance(ledger, jobs[0], Event.GIVE_UP)
    await advance(ledger, jobs[2], Event.SEND, Event.LOSE_ANSWER)
    await advance(ledger, jobs[3], Event.SEND)
    ids = [job.id for job in await ledger.jobs(user="anna")]
    assert ids == ["job4", "job3", "job2", "job1", "job0"]
    assert [job.id for job in await ledger.jobs(user="anna", limit=2, before="job3")] == ids[2:4]
    room = limit(Money(10**9), window="total")
    (stands,) = await ledger.standings([room], CALENDAR, NOON)
    assert (stands.reserved.micros, stands.in_doubt.micros) == (3 * PRICE.micros, PRICE.micros)


async def test_an_order_is_held_in_every_window_or_in_none(ledger: Ledger) -> None:
    wide = limit(Money(1_000_000))
    narrow = limit(PRICE, Scope.TEAM, "film", "total")
    await reserve(ledger, an_order(1, limits=[wide, narrow]))
    refused = await ledger.reserve(an_order(2, limits=[wide, narrow]), NOON)
    assert isinstance(refused, Overrun)
    assert refused.standing.limit == narrow
    assert await ledger.job("job2") is None
    stands = await ledger.standings([wide, narrow], CALENDAR, NOON)
    assert [s.reserved for s in stands] == [PRICE, PRICE]


async def test_concurrent_reservations_never_pass_a_limit(ledger: Ledger) -> None:
    room = limit(Money(7 * PRICE.micros + 84_999))
    orders = [an_order(n, limits=[room]) for n in range(200)]
    held = await asyncio.gather(*(ledger.reserve(order, NOON) for order in orders))
    assert Counter(type(each) for each in held) == {Reserved: 7, Overrun: 193}
    (stands,) = await ledger.standings([room], CALENDAR, NOON)
    assert stands.reserved == Money(7 * PRICE.micros)


async def test_what_was_added_up_is_kept_for_whoever_asks_again_and_moves_with_the_money(
    ledger: Ledger,
) -> None:
    """A pool that nobody has used: each question would add up every job of its window."""
    for number in range(3):
        assert isinstance(await ledger.reserve(an_order(number), NOON), Reserved)
    pool = Limit(Scope.ORGANIZATION, ORGANIZATION_NAME, ORGANIZATION_NAME, "month", Money(10**9))
    (kept,) = await ledger.standings([pool], CALENDAR, NOON, keep=True)
    (again,) = await ledger.standings([pool], CALENDAR, NOON, keep=True)
    assert kept.reserved == again.reserved == Money(3 * PRICE.micros)
    assert isinstance(await ledger.reserve(an_order(4), NOON), Reserved)
    (moved,) = await ledger.standings([pool], CALENDAR, NOON)
    assert moved.reserved == Money(4 * PRICE.micros)
    assert (await ledger.verify()).is_sound


async def test_an_observed_limit_is_told_and_not_obeyed(ledger: Ledger) -> None:
    watched = replace(limit(ZERO), only_observed=True)
    held = await ledger.reserve(an_order(1, limits=[watched]), NOON)
    assert isinstance(held, Reserved)
    assert [s.limit for s in held.observed] == [watched]


@pytest.mark.parametrize("reservations", [100, pytest.param(1000, marks=pytest.mark.torture)])
async def test_a_reservation_ends_once_however_many_end_it(
    ledger: Ledger, reservations: int, chance: random.Random
) -> None:
    """R3: 64 resolvers race over each, each with an end of its own."""
    ends = (
        Event.STALL, Event.VANISH, Event.FAIL_BILLED, Event.FAIL_REFUNDED,
    )  # fmt: skip
    for number in range(reservations):
        job = await reserve(ledger, an_order(number))
        job = await advance(ledger, job, Event.SEND, Event.ACCEPT, queue_id=f"q{number}")
        race = [ledger.advance(job.id, chance.choice(ends), NOON) for _ in range(64)]
        done = await asyncio.gather(*race, return_exceptions=True)
        assert sum(isinstance(each, Job) for each in done) == 1
        assert all(isinstance(each, Job | IllegalEvent) for each in done)
        ended = await ledger.entries_of(job.id)
        assert ended[0].kind == "reserve"
        assert len(ended) == 2
    assert (await ledger.verify()).is_sound


async def test_a_released_reservation_leaves_room_for_another(ledger: Ledger) -> None:
    room = limit(PRICE)
    job = await reserve(ledger, an_order(1, limits=[room]))
    assert isinstance(await ledger.reserve(an_order(2, limits=[room]), NOON), Overrun)
    freed = await advance(ledger, job, Event.GIVE_UP)
    assert (freed.reserved, freed.settled) == (ZERO, ZERO)
    await reserve(ledger, an_order(3, limits=[room]))


async def test_doubt_holds_the_money_until_evidence(ledger: Ledger) -> None:
    room = limit(PRICE)
    job = await reserve(ledger, an_order(1, limits=[room]))
    job = await advance(ledger, job, Event.SEND, Event.LOSE_ANSWER)
    assert (job.reserved, job.in_doubt) == (ZERO, PRICE)
    assert isinstance(await ledger.reserve(an_order(2, limits=[room]), NOON), Overrun)
    job = await advance(ledger, job, Event.IDENTIFY, queue_id="q1")
    assert (job.reserved, job.in_doubt) == (PRICE, ZERO)


async def test_an_event_outside_the_table_writes_nothing(ledger: Ledger) -> None:
    job = await reserve(ledger, an_order(1))
    with pytest.raises(IllegalEvent):
        await ledger.advance(job.id, Event.STORE, NOON, facts={"video_sha256": "x"})
    assert await ledger.job(job.id) == job
    assert len(await ledger.entries_of(job.id)) == 1


async def test_a_queue_id_belongs_to_one_job(ledger: Ledger) -> None:
    first = await reserve(ledger, an_order(1))
    await advance(ledger, first, Event.SEND, Event.ACCEPT, queue_id="same")
    second = await reserve(ledger, an_order(2))
    with pytest.raises(AlreadyThere):
        await advance(ledger, second, Event.SEND, Event.ACCEPT, queue_id="same")
    found = await ledger.job("same")
    assert found is not None
    assert found.id == first.id
    still = await ledger.job(second.id)
    assert still is not None
    assert still.state is State.SENDING


async def test_a_moved_user_leaves_its_money_where_it_was_spent(ledger: Ledger) -> None:
    """R9: amounts belong to the team of the moment of reservation."""
    old = limit(Money(10**6), Scope.TEAM, "film", "total")
    new = limit(Money(10**6), Scope.TEAM, "sound", "total")
    job = await reserve(ledger, an_order(1, limits=[old]))
    await ledger.change_user("anna", {"team": "sound"})
    await advance(ledger, job, Event.SEND, Event.ACCEPT, queue_id="q1")
    await advance(ledger, job, Event.FINISH, Event.STORE)
    stands = await ledger.standings([old, new], CALENDAR, NOON)
    assert [s.settled for s in stands] == [PRICE, ZERO]
    assert (await ledger.verify()).is_sound


async def test_a_window_is_a_range_of_time_and_nothing_resets_it(ledger: Ledger) -> None:
    day = limit(PRICE)
    await reserve(ledger, an_order(1, limits=[day]))
    assert isinstance(await ledger.reserve(an_order(2, limits=[day]), NOON + HOUR), Overrun)
    await reserve(ledger, an_order(3, limits=[day]), NOON + 24 * HOUR)
    (stands,) = await ledger.standings([day], CALENDAR, NOON + 24 * HOUR)
    assert stands.reserved == PRICE


async def test_the_ledgers_time_never_goes_back(ledger: Ledger) -> None:
    """R40: a clock set back reopens no window."""
    day = limit(PRICE)
    await reserve(ledger, an_order(1, limits=[day]))
    refused = await ledger.reserve(an_order(2, limits=[day]), NOON - 48 * HOUR)
    assert isinstance(refused, Overrun)


async def test_names_and_idempotency_keys_are_taken_once(ledger: Ledger) -> None:
    with pytest.raises(AlreadyThere):
        await ledger.add_user(User("anna"))
    with pytest.raises(Unknown):
        await ledger.add_key(Key("k", "nobody", digest="3" * 64))
    await reserve(ledger, an_order(1, idempotency_key="one"))
    with pytest.raises(AlreadyThere):
        await ledger.reserve(an_order(2, idempotency_key="one"), NOON)
    await reserve(ledger, an_order(3, BERTA, idempotency_key="one"))
    found = await ledger.idempotent("anna", "one", NOON - HOUR)
    assert found is not None
    assert found.id == "job1"


async def test_of_two_orders_at_once_with_one_idempotency_key_one_is_held(ledger: Ledger) -> None:
    both = (ledger.reserve(an_order(n, idempotency_key="one"), NOON) for n in range(2))
    done = await asyncio.gather(*both, return_exceptions=True)
    assert Counter(type(each) for each in done) == {Reserved: 1, AlreadyThere: 1}
    assert (await ledger.verify()).is_sound


async def test_one_idempotency_key_of_two_users_at_once_is_two_orders(ledger: Ledger) -> None:
    both = [an_order(n, who, idempotency_key="one") for n, who in enumerate((ANNA, BERTA))]
    held = await asyncio.gather(*(ledger.reserve(order, NOON) for order in both))
    assert [type(each) for each in held] == [Reserved, Reserved]


async def test_whoever_asks_beside_orders_is_told_of_those_before(ledger: Ledger) -> None:
    room = limit(Money(10 * PRICE.micros))
    asked: list[Awaitable[Any]] = []
    for number in range(5):
        asked.append(ledger.reserve(an_order(number, limits=[room], remark=f"r{number}"), NOON))
        asked.append(ledger.standings([room], CALENDAR, NOON))
    told = (await asyncio.gather(*asked))[1::2]
    assert [stands[0].reserved.micros for stands in told] == [
        count * PRICE.micros for count in range(1, 6)
    ]
    assert [(await ledger.entries_of(f"job{n}"))[0].reason for n in range(5)] == [
        f"r{n}" for n in range(5)
    ]


async def test_everything_survives_being_closed_and_opened(open_ledger: OpenLedger) -> None:
    opened = await open_ledger()
    await opened.add_user(ANNA.user)
    await opened.add_key(ANNA.key)
    job = await reserve(opened, an_order(1, tags=("a", "b")))
    job = await advance(opened, job, Event.SEND, Event.ACCEPT, queue_id="q1")
    await opened.close()
    again = await open_ledger()
    assert await again.job("q1") == job
    assert await again.users() == [ANNA.user]
    assert await again.keys() == [ANNA.key]
    assert (await again.verify()).is_sound
    await again.close()


@pytest.mark.parametrize("operations", [2_000, pytest.param(100_000, marks=pytest.mark.torture)])
async def test_no_run_of_operations_drifts_by_a_micro_dollar(
    open_ledger: OpenLedger, operations: int, chance: random.Random
) -> None:
    """R4, R9: orders, ends, corrections, edits of people and restarts, in any order."""
    world = _World(await open_ledger(), chance)
    await world.people()
    for number in range(operations):
        await world.act(number)
        if number % (operations // 4) == 0:
            await world.ledger.close()
            world.ledger = await open_ledger()
            await world.check()
    await world.check()
    assert len({job.state for job in world.jobs.values()}) > 8
    await world.ledger.close()


class _World:
    """Three users and what the ledger said of each of their jobs."""

    def __init__(self, ledger: Ledger, chance: random.Random) -> None:
        self.ledger = ledger
        self.chance = chance
        self.now = NOON
        self.users = {name: User(name) for name in ("anna", "berta", "carla")}
        self.jobs: dict[str, Job] = {}

    async def people(self) -> None:
        """Make the users and their keys."""
        for number, user in enumerate(self.users.values()):
            await self.ledger.add_user(user)
            await self.ledger.add_key(Key(f"key{user.name}", user.name, digest=f"{number:064}"))

    async def act(self, number: int) -> None:
        """Do one thing."""
        self.now += self.chance.choice((0, 1, 1000, HOUR))
        dice = self.chance.random()
        if dice < 0.3 or not self.jobs:
            await self._order(number)
        elif dice < 0.95:
            await self._move(number)
        else:
            await self._edit()

    async def _order(self, number: int) -> None:
        user = self.chance.choice(list(self.users.values()))
        caller = Caller(user, Key(f"key{user.name}", user.name, digest=""))
        limits = self._limits(user)
        price = Money(self.chance.choice((1, 85_000, 333_333, 2_000_000)))
        order = an_order(number, caller, quote=price, limits=limits)
        held = await self.ledger.reserve(order, self.now)
        stands = await self.ledger.standings(limits, CALENDAR, self.now)
        if isinstance(held, Reserved):
            self.jobs[held.job.id] = held.job
            # R1: nothing that was let in passes a limit; late corrections alone may.
            late = [s for s in stands if s.left < ZERO]
            assert late == []
        else:
            assert held.standing.left < price

    def _limits(self, user: User) -> Sequence[Limit]:
        own = [limit(Money(3_000_000), Scope.USER, user.name, w) for w in ("hour", "day", "24h")]
        team = [limit(Money(9_000_000), Scope.TEAM, user.team, "week")] if user.team else []
        key = limit(Money(8_000_000), Scope.KEY, f"key{user.name}", "month")
        return [key, *own, *team, limit(Money(30_000_000), Scope.ORGANIZATION, "organization")]

    async def _move(self, number: int) -> None:
        job = self.chance.choice(list(self.jobs.values())[-60:])
        possible = [event for state, event in JOB_TABLE if state is job.state]
        if not possible:
            return
        event = self.chance.choice(possible)
        facts = {"queue_id": f"q{number}"} if event in (Event.ACCEPT, Event.IDENTIFY) else {}
        cheaper = self.chance.random() < 0.2 and event in (Event.STORE, Event.FAIL_BILLED)
        settle_as = Money(job.quote.micros // 2) if cheaper else None
        try:
            self.jobs[job.id] = await self.ledger.advance(
                job.id, event, self.now, facts=facts, settle_as=settle_as
            )
        except IllegalEvent:
            assert await self.ledger.job(job.id) == job

    async def _edit(self) -> None:
        name = self.chance.choice(list(self.users))
        team = self.chance.choice((None, "film", "sound"))
        self.users[name] = await self.ledger.change_user(name, {"team": team})

    async def check(self) -> None:
        """The ledger agrees with itself and with what it said job by job."""
        verdict = await self.ledger.verify()
        assert verdict.is_sound, verdict
        wanted: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for job in self.jobs.values():
            for place, amount in enumerate((job.settled, job.reserved, job.in_doubt)):
                wanted[job.user][place] += amount.micros
        for row in await self.ledger.spend("user", None, None):
            found = [row.settled.micros, row.reserved.micros, row.in_doubt.micros]
            assert found == wanted[row.name]


async def test_a_reservation_tells_the_shares_it_lifts_its_windows_to(ledger: Ledger) -> None:
    day = replace(limit(Money(170_000)), warn_at=(50, 100))
    month = replace(limit(Money(1_000_000), window="month"), warn_at=(10, 20))
    quiet = limit(PRICE, window="week")
    found: list[list[tuple[str, int]]] = []
    for number in range(2):
        grown = replace(quiet, amount=Money((number + 1) * PRICE.micros))
        order = an_order(number, limits=(day, month, grown))
        held = await ledger.reserve(order, NOON)
        assert isinstance(held, Reserved)
        found.append([(each.limit.window, each.percent) for each in held.passed])
    # 0.085 of 0.17 and of 1, then 0.17 of both; the third window wants nothing told.
    assert found == [[("day", 50)], [("day", 100), ("month", 10)]]


@pytest.mark.parametrize(("at", "fits"), [(NOON - 1, False), (NOON, True), (NOON + HOUR - 1, True)])
async def test_a_grant_raises_from_its_making_until_its_end_exclusive(
    ledger: Ledger, at: int, fits: bool
) -> None:
    end = NOON + HOUR
    grant = Grant("g1", Scope.USER, "anna", "day", PRICE, end, "why", "admin", created_at=NOON)
    await ledger.add_grant(grant)
    day = limit(ZERO)
    assert isinstance(await ledger.reserve(an_order(1, limits=[day]), at), Reserved) is fits
    assert isinstance(await ledger.reserve(an_order(2, limits=[day]), end), Overrun)


async def test_a_rolling_window_that_is_full_says_when_its_oldest_job_leaves_it(
    ledger: Ledger,
) -> None:
    room = limit(Money(2 * PRICE.micros), window="24h")
    for number, at in enumerate((NOON, NOON + HOUR)):
        await reserve(ledger, an_order(number, limits=[room]), at)
    refused = await ledger.reserve(an_order(3, limits=[room]), NOON + 2 * HOUR)
    assert isinstance(refused, Overrun)
    leaves = NOON + 24 * HOUR
    assert refused.standing.resets_at == leaves
    assert isinstance(await ledger.reserve(an_order(4, limits=[room]), leaves - 1), Overrun)
    assert isinstance(await ledger.reserve(an_order(5, limits=[room]), leaves), Reserved)


async def test_a_share_is_one_of_the_limit_with_its_grants(ledger: Ledger) -> None:
    grant = Grant(
        "g1", Scope.USER, "anna", "day", PRICE, NOON + HOUR, "trailer", "admin", created_at=NOON
    )
    await ledger.add_grant(grant)
    day = replace(limit(PRICE), warn_at=(50, 100))
    held = await ledger.reserve(an_order(1, limits=(day,)), NOON)
    assert isinstance(held, Reserved)
    assert [(each.percent, each.ceiling) for each in held.passed] == [(50, Money(170_000))]


def an_adoption(number: int, **changes: Any) -> Adoption:
    """A job bought elsewhere for 0.085 dollars an hour ago."""
    bought = Adoption(
        id=f"job{number}",
        queue_id=f"elsewhere{number}",
        caller=ANNA,
        model="wan",
        price=PRICE,
        created_at=NOON - HOUR,
    )
    return replace(bought, **changes)


async def test_an_adopted_job_is_in_the_making_and_its_price_spent_once(ledger: Ledger) -> None:
    job = await ledger.adopt(an_adoption(1), NOON, "admin")
    assert (job.state, job.settled, job.reserved) == (State.PROCESSING, PRICE, ZERO)
    assert await ledger.job("elsewhere1") == job
    entries = await ledger.entries_of(job.id)
    assert [str(entry.kind) for entry in entries] == ["reserve", "settle"]
    assert {entry.actor for entry in entries} == {"admin"}
    assert (await ledger.verify()).is_sound
    await ledger.advance(job.id, Event.FINISH, NOON)
    stored = await ledger.advance(job.id, Event.STORE, NOON)
    assert (stored.settled, len(await ledger.entries_of(job.id))) == (PRICE, 2)


async def test_an_adopted_job_belongs_to_the_windows_it_was_bought_in(ledger: Ledger) -> None:
    budgets = [limit(PRICE, window="day"), limit(PRICE, window="hour"), limit(PRICE, window="2h")]
    before = await ledger.reserve(an_order(1, limits=budgets), NOON)
    assert isinstance(before, Reserved)
    await ledger.advance("job1", Event.GIVE_UP, NOON)
    await ledger.adopt(an_adoption(2), NOON, "admin")
    standings = await ledger.standings(budgets, CALENDAR, NOON)
    assert [standing.settled for standing in standings] == [PRICE, ZERO, PRICE]
    refused = await ledger.reserve(an_order(3, limits=budgets), NOON)
    assert isinstance(refused, Overrun)
    assert (await ledger.verify()).is_sound


async def test_a_limit_that_is_used_up_does_not_keep_a_job_from_being_adopted(
    ledger: Ledger,
) -> None:
    budget = [limit(PRICE)]
    await ledger.reserve(an_order(1, limits=budget), NOON)
    await ledger.adopt(an_adoption(2), NOON, "admin")
    (standing,) = await ledger.standings(budget, CALENDAR, NOON)
    assert standing.used == PRICE + PRICE
    assert (await ledger.verify()).is_sound


async def test_the_same_queue_id_is_adopted_once(ledger: Ledger) -> None:
    await ledger.adopt(an_adoption(1), NOON, "admin")
    with pytest.raises(AlreadyThere):
        await ledger.adopt(an_adoption(2, queue_id="elsewhere1"), NOON, "admin")
    assert await ledger.job("job2") is None
    assert await ledger.entry_count() == 2
    assert (await ledger.verify()).is_sound


async def test_a_refund_of_an_adopted_job_is_a_correction(ledger: Ledger) -> None:
    job = await ledger.adopt(an_adoption(1), NOON, "admin")
    await ledger.advance(job.id, Event.FAIL_REFUNDED, NOON)
    *_, last = await ledger.entries_of(job.id)
    assert (str(last.kind), last.settled) == ("correct", -PRICE)
    assert last.corrects is not None
    assert (await ledger.verify()).is_sound


async def test_a_correction_is_an_entry_that_names_the_last_and_moves_every_window(
    ledger: Ledger,
) -> None:
    windows = [limit(Money(1_000_000)), limit(Money(9_000_000), Scope.TEAM, "film", "total")]
    job = await reserve(ledger, an_order(1, limits=windows))
    events = (Event.SEND, Event.ACCEPT, Event.FAIL_BILLED)
    ended = await advance(ledger, job, *events, failure_status=422)
    before = await ledger.entries_of(job.id)
    # An overrun: more than was ever reserved.
    cost = Money(PRICE.micros + 11_000)
    billed: Any = {"reason": "billed so", "actor": "reconcile", "seen": ended.state}
    corrected = await ledger.correct(job.id, cost, NOON, **billed)
    assert (corrected.settled, corrected.state, corrected.reason) == (cost, ended.state, None)
    *same, new = await ledger.entries_of(job.id)
    assert same == before
    assert (new.kind, new.settled, new.corrects) == ("correct", Money(11_000), before[-1].id)
    assert (new.reason, new.actor) == ("billed so", "reconcile")
    again = await ledger.correct(job.id, cost, NOON, **billed)
    assert again == corrected
    free = await ledger.correct(job.id, ZERO, NOON, **{**billed, "reason": "given back"})
    assert free.settled == ZERO
    assert len(await ledger.entries_of(job.id)) == len(before) + 2
    stands = await ledger.standings(windows, CALENDAR, NOON)
    assert [s.used for s in stands] == [ZERO, ZERO]
    assert (await ledger.verify()).is_sound


async def test_spending_by_day_counts_the_days_of_a_place(ledger: Ledger) -> None:
    """Around the night in which Rome's clocks go forward, 29 March 2026."""
    moments = ["28T22:59", "28T23:00", "29T21:59", "29T22:00"]
    for number, moment in enumerate(moments):
        at = int(datetime.fromisoformat(f"2026-03-{moment}Z").timestamp() * 1000)
        await reserve(ledger, an_order(number), at)
    here = await ledger.spend("day", None, None, timezone=ZoneInfo("Europe/Rome"))
    assert [(row.name, row.jobs) for row in here] == [
        ("2026-03-28", 1),
        ("2026-03-29", 2),
        ("2026-03-30", 1),
    ]
    there = await ledger.spend("day", None, None)
    assert [(row.name, row.jobs) for row in there] == [("2026-03-28", 2), ("2026-03-29", 2)]


async def test_only_settled_money_is_corrected(ledger: Ledger) -> None:
    held = await reserve(ledger, an_order(1))
    doubted = await advance(
        ledger, await reserve(ledger, an_order(2)), Event.SEND, Event.LOSE_ANSWER
    )
    released = await advance(ledger, await reserve(ledger, an_order(3)), Event.GIVE_UP)
    for job in (held, doubted, released):
        with pytest.raises(IllegalEvent):
            await ledger.correct(job.id, Money(1), NOON, **ASKED, seen=job.state)
        assert await ledger.job(job.id) == job
    with pytest.raises(IllegalEvent):
        await ledger.correct(held.id, Money(-1), NOON, **ASKED, seen=held.state)
    with pytest.raises(Unknown):
        await ledger.correct("job9", ZERO, NOON, **ASKED, seen=held.state)


async def test_a_job_that_is_not_as_it_was_seen_is_neither_moved_nor_corrected(
    ledger: Ledger,
) -> None:
    """What was decided between the reading and the writing stands, whatever the table allows."""
    doubted = await advance(
        ledger, await reserve(ledger, an_order(1)), Event.SEND, Event.LOSE_ANSWER
    )
    settled = await ledger.advance(doubted.id, Event.DECIDE_BILLED, NOON, actor="anna")
    unbilled = Event.DECIDE_UNBILLED
    with pytest.raises(IllegalEvent, match=r"was in_doubt .* is settled_in_doubt"):
        await ledger.advance(doubted.id, unbilled, NOON, **ASKED, seen=doubted.state)
    with pytest.raises(IllegalEvent, match=r"was in_doubt .* is settled_in_doubt"):
        await ledger.correct(doubted.id, ZERO, NOON, **ASKED, seen=doubted.state)
    assert await ledger.job(doubted.id) == settled
    released = await ledger.advance(doubted.id, unbilled, NOON, **ASKED, seen=settled.state)
    assert released.state is State.RELEASED_IN_DOUBT
    assert (await ledger.verify()).is_sound


@pytest.mark.parametrize(
    ("events", "found", "state"),
    [
        ((Event.SEND, Event.REFUSE), Event.FIND_BILLED, State.SETTLED_IN_DOUBT),
        (
            (Event.SEND, Event.LOSE_ANSWER, Event.DECIDE_UNBILLED),
            Event.DECIDE_BILLED,
            State.SETTLED_IN_DOUBT,
        ),
        (
            (Event.SEND, Event.ACCEPT, Event.FAIL_REFUNDED),
            Event.FIND_BILLED,
            State.FAILED_BILLED,
        ),
    ],
)
async def test_money_that_was_released_and_billed_is_settled_for_what_was_billed(
    ledger: Ledger, events: tuple[Event, ...], found: Event, state: State
) -> None:
    job = await advance(ledger, await reserve(ledger, an_order(1)), *events)
    cost = Money(71_000)
    billed = await ledger.advance(job.id, found, NOON, reason="the bill", settle_as=cost)
    assert (billed.state, billed.settled, billed.holding) == (state, cost, "settled")
    assert (await ledger.entries_of(job.id))[-1].corrects is not None
    assert (await ledger.verify()).is_sound


async def test_a_failure_that_the_bill_shows_refunded_gives_the_money_back(ledger: Ledger) -> None:
    events = (Event.SEND, Event.ACCEPT, Event.FAIL_BILLED)
    job = await advance(ledger, await reserve(ledger, an_order(1)), *events)
    back = await ledger.advance(job.id, Event.FIND_UNBILLED, NOON, reason="the bill")
    assert (back.state, back.settled, back.holding) == ("failed_refunded", ZERO, "released")
    assert (await ledger.verify()).is_sound
