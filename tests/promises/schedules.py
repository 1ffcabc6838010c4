"""A program that races orders over a ledger until it is killed: schedule after schedule of fifty
requests at once, and after every commit what each window holds is added up from the entries.

It prints the number of each schedule that has ended, and ends badly where a limit was passed.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
from pathlib import Path

from gateway.core.budget import Calendar, Limit, Scope
from gateway.core.job import Event, IllegalEvent
from gateway.core.money import Money
from gateway.core.policy import ORGANIZATION_NAME
from gateway.records import Caller, Key, Order, Reserved, User
from gateway.storage.ledger_sqlite import SqliteLedger

REQUESTS = 50
DAY_MS = 86_400_000
FIRST_DAY = 1_790_035_200_000
"""A midnight in UTC: each schedule has a day of its own, so its windows begin empty."""
CALENDAR = Calendar()
PRICES = (1, 85_000, 333_333, 999_999)
LIVES = (
    (Event.GIVE_UP,),
    (Event.SEND, Event.REFUSE),
    (Event.SEND, Event.LOSE_ANSWER, Event.DECIDE_BILLED),
    (Event.SEND, Event.LOSE_ANSWER, Event.DECIDE_UNBILLED),
    (Event.SEND, Event.ACCEPT, Event.FAIL_REFUNDED),
    (Event.SEND, Event.ACCEPT, Event.FINISH, Event.STORE),
    (Event.SEND, Event.ACCEPT),
)
_USED = (
    "SELECT coalesce(sum(entries.reserved + entries.in_doubt + entries.settled), 0) "
    "FROM jobs JOIN entries ON entries.job = jobs.id WHERE created_at >= ? AND created_at < ? "
)
_COLUMNS = {Scope.KEY: "key_id", Scope.USER: "user", Scope.TEAM: "team"}


class Auditor:
    """Adds up the windows of the schedule at hand, on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self.limits: list[Limit] = []
        self.day = 0
        self.commits = 0

    def look(self, _seconds: float = 0.0) -> None:
        """After a commit, in the thread that made it."""
        if self._connection is None:
            name = f"file:{self._path}?mode=ro"
            self._connection = sqlite3.connect(name, uri=True, check_same_thread=False)
        self.commits += 1
        for limit in self.limits:
            column = _COLUMNS.get(limit.scope)
            values = (self.day, self.day + DAY_MS, *([limit.id] if column else []))
            where = f"AND {column} = ?" if column else ""
            (used,) = self._connection.execute(_USED + where, values).fetchone()
            if used > limit.amount.micros:
                sys.stderr.write(f"{limit} holds {used}\n")
                sys.stderr.flush()
                os._exit(3)


async def race(ledger: SqliteLedger, auditor: Auditor, number: int, chance: random.Random) -> None:
    """One schedule."""
    auditor.day = FIRST_DAY + number * DAY_MS
    callers = _callers(number)
    auditor.limits = _limits(callers, chance)
    orders = [_order(f"job{number}-{n}", auditor, callers, chance) for n in range(REQUESTS)]
    at = auditor.day + chance.randrange(1_000)
    await asyncio.gather(*(_live(ledger, order, at, chance) for order in orders))


def _callers(number: int) -> list[Caller]:
    names = [f"user{number}-{n}" for n in range(3)]
    teams = (f"film{number}", f"film{number}", None)
    return [
        Caller(User(name, team=team), Key(f"key-{name}", name, digest=name))
        for name, team in zip(names, teams, strict=True)
    ]


def _limits(callers: list[Caller], chance: random.Random) -> list[Limit]:
    def limit(scope: Scope, who: str) -> Limit:
        return Limit(scope, who, who, "day", Money(chance.choice((0, 85_000, 10**6, 5 * 10**6))))

    found = [limit(Scope.ORGANIZATION, ORGANIZATION_NAME)]
    for caller in callers:
        found += [limit(Scope.KEY, caller.key.id), limit(Scope.USER, caller.user.name)]
    return [*found, limit(Scope.TEAM, str(callers[0].user.team))]


def _order(name: str, auditor: Auditor, callers: list[Caller], chance: random.Random) -> Order:
    caller = chance.choice(callers)
    mine = {caller.key.id, caller.user.name, caller.user.team, ORGANIZATION_NAME}
    return Order(
        id=name,
        caller=caller,
        model="wan",
        body_digest=name,
        idempotency_key=None,
        quote=Money(chance.choice(PRICES)),
        limits=[limit for limit in auditor.limits if limit.id in mine],
        calendar=CALENDAR,
    )


async def _live(ledger: SqliteLedger, order: Order, at: int, chance: random.Random) -> None:
    """One request to its end, beside all the others."""
    for _ in range(chance.randrange(4)):
        await asyncio.sleep(0)
    held = await ledger.reserve(order, at)
    if not isinstance(held, Reserved):
        return
    for event in chance.choice(LIVES):
        facts = {"queue_id": f"q{order.id}"} if event is Event.ACCEPT else {}
        # Somebody else tries the same at the same time: one of the two is too late.
        both = (ledger.advance(order.id, event, at, facts=facts) for _ in range(2))
        done = await asyncio.gather(*both, return_exceptions=True)
        assert [type(each) for each in done].count(IllegalEvent) == 1, done


async def main(path: Path, seed: int, first: int, count: int) -> None:
    """Prove what the last life left, then race on."""
    auditor = Auditor(path)
    ledger = await SqliteLedger.open(
        path, upstream="a stand-in", now=FIRST_DAY, observe_commit=auditor.look
    )
    found = await ledger.verify()
    assert found.is_sound, found
    for number in range(first, first + count):
        await race(ledger, auditor, number, random.Random(f"{seed}:{number}"))
        print(number, auditor.commits, flush=True)
    found = await ledger.verify()
    assert found.is_sound, found
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
