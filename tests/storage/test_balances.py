"""What the writer remembers of balances is what the rows say, and both are what the jobs add up to:
to the millisecond, and whatever is undone.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import Calendar, Limit, Scope, Span, overruns, rolling_seconds, window_at
from gateway.core.job import JOB_TABLE, Event, IllegalEvent
from gateway.core.money import Money
from gateway.core.policy import ORGANIZATION_NAME
from gateway.records import Caller, Grant, Job, Key, Order, Overrun, Reserved, User
from gateway.storage.balances import PLACES_REMEMBERED_MAX
from gateway.storage.database import prepare
from gateway.storage.room import Room
from gateway.storage.sums import HOUR_MS, Reader, Rolling, derive
from gateway.storage.transactions import Transactions
from gateway.storage.verification import verify
from tests.storage.conftest import NOON

CALENDAR = Calendar()
WINDOWS = ("hour", "day", "total", "1s", "90m", "24h", "2d")
USERS = ("anna", "ben")
SHARED = ((Scope.TEAM, "film"), (Scope.ORGANIZATION, ORGANIZATION_NAME))
SCOPES = {user: ((Scope.KEY, f"{user}key"), (Scope.USER, user), *SHARED) for user in USERS}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The write connection of a new database."""
    with closing(prepare(tmp_path / "gateway.db", "a stand-in", NOON)) as opened:
        yield opened


def an_order(
    number: int, price: int = 1_000, amount: int = 10**9, models: str = "*", user: str = "anna"
) -> Order:
    """An order that touches every window of every scope."""
    limits = [
        Limit(scope, who, who, window, Money(amount), models)
        for scope, who in SCOPES[user]
        for window in WINDOWS
    ]
    return Order(
        id=f"job{number}",
        caller=Caller(User(user, team="film"), Key(f"{user}key", user, digest="")),
        model="wan-2" if number % 2 else "sora",
        body_digest=f"{number:064}",
        idempotency_key=None,
        quote=Money(price),
        limits=limits,
        calendar=CALENDAR,
    )


class _Undone(Exception):
    """What a function of the test raises after it has written."""


class _Run:
    """Transactions as the writer runs them, some undone alone and some with all their group."""

    def __init__(self, connection: sqlite3.Connection, chance: random.Random) -> None:
        self.connection = connection
        self.chance = chance
        self.money = Transactions(connection)
        self.jobs: dict[str, Job] = {}
        self.now = NOON
        self.number = 0
        self.refused = 0
        self.asked = 0
        """Limits that orders were judged by, and of these the ones whose rows had to be found: of
        windows that do not roll."""
        self.found_anew = 0
        self.timezone = ZoneInfo("UTC")
        self.rules: dict[str, Sequence[Limit]] = {}
        self._watch()

    @property
    def calendar(self) -> Calendar:
        """Another one for each order, and mostly an equal one: as the policies give it."""
        if self.chance.random() < 0.01:
            self.timezone = ZoneInfo(self.chance.choice(("UTC", "Asia/Kolkata")))
        return Calendar(self.timezone)

    def _watch(self) -> None:
        """Compare what every order is judged by with the jobs themselves."""
        balances = self.money.balances
        room, used = balances.room, balances._used

        def compared(
            reader: Reader, limits: Sequence[Limit], calendar: Calendar, at: int
        ) -> list[Room]:
            found = room(reader, limits, calendar, at)
            self.asked += sum(rolling_seconds(limit.window) is None for limit in limits)
            for limit, (left, ceiling) in zip(limits, found, strict=True):
                span = window_at(limit.window, at, calendar)
                taken = sum(derive(reader, limit.scope, limit.id, span, limit.models))
                assert left == (ceiling - taken if ceiling > 0 else -1), limit
            return found

        def counted(reader: Reader, limit: Limit, calendar: Calendar, at: int) -> int:
            self.found_anew += rolling_seconds(limit.window) is None
            return used(reader, limit, calendar, at)

        balances.room = compared  # type: ignore[method-assign]
        balances._used = counted  # type: ignore[method-assign]

    def group(self) -> None:
        """Some functions and their commit, which may fail."""
        before = dict(self.jobs)
        self.connection.execute("BEGIN IMMEDIATE")
        run = self.chance.choice((self._together, self._apart))
        is_whole = all(run() for _ in range(self.chance.randrange(1, 6)))
        self.money.write(self.connection)
        if not is_whole or self.chance.random() < 0.1:
            self.connection.execute("ROLLBACK")
            self.money.forget()
            self.jobs = before
        else:
            self.connection.execute("COMMIT")
        if self.chance.random() < 0.05:
            self.money = Transactions(self.connection)
            self._watch()

    def _together(self) -> bool:
        """One function of many that hold back; False where the whole group is to be undone."""
        before, changes = dict(self.jobs), self.money.changes(self.connection)
        try:
            self._function()
        except (_Undone, IllegalEvent):
            self.jobs = before
            if self.money.changes(self.connection) != changes:
                return False
            self.money.undo()
        else:
            self.money.keep()
        return True

    def _apart(self) -> bool:
        """One function inside a SAVEPOINT of its own."""
        before = dict(self.jobs)
        self.connection.execute("SAVEPOINT one")
        try:
            self._function()
            self.money.write(self.connection)
        except (_Undone, IllegalEvent):
            self.connection.execute("ROLLBACK TO one")
            self.money.undo()
            self.jobs = before
        else:
            self.money.keep()
        self.connection.execute("RELEASE one")
        return True

    def _function(self) -> None:
        for _ in range(self.chance.randrange(1, 3)):
            self._act()
        if self.chance.random() < 0.1:
            raise _Undone

    def _act(self) -> None:
        # Clocks go on, sometimes jump, and go back, which the ledger's time does not.
        jumps = (60_000, HOUR_MS, 5 * HOUR_MS, -HOUR_MS) if self.chance.random() < 0.1 else (0, 1)
        self.now += self.chance.choice(jumps)
        dice = self.chance.random()
        if dice < 0.5 and self.jobs:
            # All but reservations find everything written.
            self.money.write(self.connection)
        if dice < 0.05:
            far = self.now + self.chance.choice((0, 30 * HOUR_MS))
            keep = self.chance.random() < 0.5
            limits = an_order(0, user=self.chance.choice(USERS)).limits
            self.money.standings(limits, self.calendar, far, keep=keep)
        elif dice < 0.1:
            self._grant()
        elif dice < 0.5 and self.jobs:
            self._advance()
        else:
            self._order()

    def _grant(self) -> None:
        self.number += 1
        scope, who = self.chance.choice(SCOPES[self.chance.choice(USERS)])
        window = self.chance.choice((*WINDOWS, "all"))
        name, until = f"grant{self.number}", self.now + 3 * HOUR_MS
        grant = Grant(name, scope, who, window, Money(500), until, "", "", self.now)
        self.money.add_grant(self.connection, grant)

    def _order(self) -> None:
        self.number += 1
        price, user = self.chance.choice((0, 1, 700)), self.chance.choice(USERS)
        if user not in self.rules or self.chance.random() < 0.1:
            # Rules are edited all the time: full windows have room again, and then none.
            amount = self.chance.choice((2_000, 10**9))
            models = self.chance.choice(("*", "*", "wan-*", "[!w]*", "so?a"))
            windows = self.chance.sample(WINDOWS, self.chance.randrange(len(WINDOWS) + 1))
            limits = an_order(0, amount=amount, models=models, user=user).limits
            self.rules[user] = [limit for limit in limits if limit.window in windows]
        order = an_order(self.number, price, user=user)
        order = replace(order, limits=self.rules[user], calendar=self.calendar)
        held = self.money.reserve(self.connection, order, self.now)
        if isinstance(held, Reserved):
            self.jobs[held.job.id] = held.job
        else:
            assert isinstance(held, Overrun)
            self.refused += 1

    def _advance(self) -> None:
        job = self.chance.choice(list(self.jobs.values()))
        event = self.chance.choice([e for s, e in JOB_TABLE if s is job.state] or [Event.SEND])
        self.jobs[job.id] = self.money.advance(
            self.connection,
            job.id,
            event,
            self.now,
            facts={},
            reason=None,
            actor=None,
            settle_as=self.chance.choice((None, Money(350))),
        )

    def check(self) -> None:
        """Memory, rows and jobs agree."""
        assert self.money.balances.differences(self.connection) == []
        found = verify(self.connection)
        assert found.is_sound, found
        at = self.money.ledger_time(self.now)
        limits = [limit for user in USERS for limit in an_order(0, user=user).limits]
        calendar = self.calendar
        for stands in self.money.standings(limits, calendar, at):
            limit = stands.limit
            span = window_at(limit.window, at, calendar)
            wanted = derive(self.connection, limit.scope, limit.id, span, limit.models)
            kept = (stands.reserved.micros, stands.in_doubt.micros, stands.settled.micros)
            assert kept == wanted, limit


@pytest.mark.parametrize("groups", [150, pytest.param(3_000, marks=pytest.mark.torture)])
@pytest.mark.parametrize("places", [PLACES_REMEMBERED_MAX, 5])
def test_memory_rows_and_jobs_agree_whatever_is_undone(
    connection: sqlite3.Connection,
    groups: int,
    places: int,
    chance: random.Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where there is room for no more than one of the users and a bit of the other."""
    monkeypatch.setattr("gateway.storage.balances.PLACES_REMEMBERED_MAX", places)
    run = _Run(connection, chance)
    for number in range(groups):
        run.group()
        if number % (groups // 150) == 0:
            run.check()
    run.check()
    # Both happen from the first group to the last, or little was shown.
    assert min(len(run.jobs), run.refused) > groups // 5
    # And what is remembered was what they were judged by, where there was room to remember it.
    if places == PLACES_REMEMBERED_MAX:
        assert run.asked - run.found_anew > run.asked // 8


_MOMENTS = st.lists(
    st.tuples(st.integers(0, 4 * HOUR_MS), st.integers(1, 1_000)), min_size=1, max_size=12
)


@given(
    jobs=_MOMENTS,
    later=_MOMENTS,
    looks=st.lists(st.integers(0, 3 * HOUR_MS), min_size=1, max_size=6),
    length=st.sampled_from((1_000, 60_000, HOUR_MS - 1, HOUR_MS, HOUR_MS + 1, 3 * HOUR_MS)),
)
def test_a_rolling_window_is_exact_to_the_millisecond(
    jobs: list[tuple[int, int]], later: list[tuple[int, int]], looks: list[int], length: int
) -> None:
    """Against a sum over all jobs, while time goes on and jobs come."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(
            "CREATE TABLE jobs (created_at INTEGER, key_id TEXT, model TEXT, reserved INTEGER, "
            "in_doubt INTEGER, settled INTEGER)"
        )
        insert = "INSERT INTO jobs VALUES (?, 'anna', 'wan', ?, 0, 0)"
        known = sorted(jobs)
        connection.executemany(insert, known)
        rolling = Rolling(Scope.KEY, "anna", "*")
        at = known[-1][0]
        coming = sorted(later)
        for pause in sorted(looks):
            at += pause
            span = Span(at - length + 1, at + 1)
            wanted = [job for job in known if span.holds(job[0])]
            assert rolling.sums(connection, span)[0] == sum(amount for _, amount in wanted)
            assert rolling.oldest(connection, span) == min(
                (when for when, _ in wanted), default=None
            )
            if coming:
                _, amount = coming.pop(0)
                connection.execute(insert, (at, amount))
                rolling.move(at, (amount, 0, 0))
                known.append((at, amount))


def test_what_forbids_is_judged_as_the_core_judges_it(connection: sqlite3.Connection) -> None:
    money = Transactions(connection)
    number = 0
    for amount in (0, 1, 999, 1_000, 1_001):
        for price in (0, 1, 1_000):
            number += 1
            order = an_order(number, price)
            order = replace(order, limits=[Limit(Scope.USER, "anna", "anna", "day", Money(amount))])
            stands = money.standings(order.limits, CALENDAR, NOON)
            held = money.reserve(connection, order, NOON)
            assert isinstance(held, Overrun) is bool(overruns(stands, order.quote))


def test_a_day_is_judged_by_the_calendar_of_its_order(connection: sqlite3.Connection) -> None:
    """It is evening where the money was spent, and a new day further east."""
    money, evening = Transactions(connection), NOON + 6 * HOUR_MS
    limits = [Limit(Scope.USER, "anna", "anna", "day", Money(1_000))]
    west, east = CALENDAR, Calendar(ZoneInfo("Asia/Kolkata"))

    def is_taken(number: int, price: int, at: int, calendar: Calendar) -> bool:
        order = replace(an_order(number, price), limits=limits, calendar=calendar)
        return isinstance(money.reserve(connection, order, at), Reserved)

    assert is_taken(1, 700, NOON, west)
    assert is_taken(2, 300, evening, east)
    # Its own day is full, though the one that was asked about last is not.
    assert not is_taken(3, 300, evening, west)
    assert is_taken(4, 700, evening, east)
    assert not is_taken(5, 1, evening, east)


def test_what_is_in_doubt_takes_room_from_what_comes(connection: sqlite3.Connection) -> None:
    money = Transactions(connection)
    limits = [Limit(Scope.USER, "anna", "anna", "day", Money(1_000))]

    def reserve(number: int, price: int) -> Reserved | Overrun:
        order = replace(an_order(number, price), limits=limits)
        return money.reserve(connection, order, NOON)

    held = reserve(1, 700)
    assert isinstance(held, Reserved)
    money.write(connection)
    for event in (Event.SEND, Event.LOSE_ANSWER):
        money.advance(
            connection, held.job.id, event, NOON, facts={}, reason=None, actor=None, settle_as=None
        )
    # The second is judged by the jobs, the third by what is remembered of that.
    assert isinstance(reserve(2, 1), Reserved)
    assert isinstance(reserve(3, 300), Overrun)
    assert isinstance(reserve(4, 299), Reserved)
