"""Durable reservations over four windows: the ledger beside the bare writer, beside aiosqlite call
by call, and beside itself with a past of a million jobs; all on the same disk.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from gateway.core.budget import Calendar, Limit, Scope
from gateway.core.money import Money
from gateway.records import Caller, Key, Order, Reserved, User
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.bench import old_jobs
from tests.bench.bare_writer import LIMIT, BareWriter
from tests.bench.call_by_call import CallByCall
from tests.bench.rounds import Comparison, compare

GOAL, GOAL_CALL_BY_CALL, GOAL_OLD = 0.5, 10.0, 0.8
IN_FLIGHT = {1: 400, 32: 4_000, 256: 12_000}
"""How many at once, and how many in all in one turn."""
MANY = max(IN_FLIGHT)
CALL_BY_CALL = 1_000
"""So many are enough of the slow one."""
OLD_JOBS = 1_000_000
USERS, TEAMS = 32, 4
PRICE = Money(500_000)
AMOUNT = Money(LIMIT)
AT = 1_767_225_600_000
"""The first moment of 2026; the windows do not move while it is measured."""
EACH_MS = 8
"""Reservations in one of its milliseconds."""


@dataclass(frozen=True)
class Way:
    """A way to reserve."""

    order: Callable[[int], Any]
    """What it takes, by a number; made before the time is taken."""
    reserve: Callable[[Any], Awaitable[bool]]


@dataclass(frozen=True)
class Ways:
    """Four of them."""

    ledger: Way
    bare: Way
    call_by_call: Way
    old_ledger: Way


def compare_reservations(folder: Path, turns: int, share: float) -> list[Comparison]:
    """One comparison for each number in flight, and three at the most; `share` shortens the turns,
    and the past."""
    loop = uvloop.new_event_loop()
    stack = AsyncExitStack()
    try:
        ways = loop.run_until_complete(_open(stack, folder, round(OLD_JOBS * share)))
        return list(_compared(loop, ways, turns, share))
    finally:
        loop.run_until_complete(stack.aclose())
        loop.close()


def _compared(
    loop: asyncio.AbstractEventLoop, ways: Ways, turns: int, share: float
) -> Iterator[Comparison]:
    numbers = itertools.count()

    def run(way: Way, in_flight: int, count: int) -> _Run:
        count = max(in_flight, round(count * share))
        return loop.run_until_complete(_run(way, in_flight, count, numbers))

    def rate(way: Way, in_flight: int, count: int = 0) -> float:
        return run(way, in_flight, count or IN_FLIGHT[in_flight]).rate

    def wait(way: Way) -> float:
        return run(way, MANY, IN_FLIGHT[MANY]).p99_ms

    unit = "reservations/s"
    for in_flight in IN_FLIGHT:
        yield compare(
            f"durable reservations, {in_flight} in flight",
            unit,
            lambda n=in_flight: rate(ways.ledger, n),  # type: ignore[misc]
            lambda n=in_flight: rate(ways.bare, n),  # type: ignore[misc]
            turns=turns,
            goal=GOAL,
        )
    yield compare(
        f"the 99th of 100 waits for one, {MANY} in flight",
        "ms",
        lambda: wait(ways.ledger),
        lambda: wait(ways.bare),
        turns=turns,
        goal=None,
        is_wait=True,
    )
    yield compare(
        f"durable reservations, {MANY} in flight, beside aiosqlite call by call",
        unit,
        lambda: rate(ways.ledger, MANY),
        lambda: rate(ways.call_by_call, MANY, CALL_BY_CALL),
        turns=turns,
        goal=GOAL_CALL_BY_CALL,
    )
    yield compare(
        f"durable reservations, {MANY} in flight, {OLD_JOBS:,} old jobs beside none",
        unit,
        lambda: rate(ways.old_ledger, MANY),
        lambda: rate(ways.ledger, MANY),
        turns=turns,
        goal=GOAL_OLD,
    )


async def _open(stack: AsyncExitStack, folder: Path, old: int) -> Ways:
    names = {name for number in range(USERS) for name in _names(number)}
    ledger = await _open_ledger(stack, folder / "ledger.db")
    old_jobs.fill(folder / "old.db", old, AT)
    old_ledger = await _open_ledger(stack, folder / "old.db")
    bare = BareWriter(folder / "bare.db", names)
    stack.callback(bare.close)
    call_by_call = await CallByCall.open(folder / "calls.db", names)
    stack.push_async_callback(call_by_call.close)

    def into(ledger: SqliteLedger) -> Way:
        async def reserve(order: tuple[Order, int]) -> bool:
            return isinstance(await ledger.reserve(*order), Reserved)

        return Way(lambda number: (_order(number), AT + number // EACH_MS), reserve)

    def bare_order(number: int) -> tuple[str, tuple[str, ...], int]:
        return f"job-{number:020}", _names(number), PRICE.micros

    return Ways(
        into(ledger),
        Way(bare_order, lambda order: bare.reserve(*order)),
        Way(bare_order, lambda order: call_by_call.reserve(*order)),
        into(old_ledger),
    )


async def _open_ledger(stack: AsyncExitStack, path: Path) -> SqliteLedger:
    ledger = await SqliteLedger.open(path, upstream=old_jobs.UPSTREAM, now=1)

    async def prove_and_close() -> None:
        verification = await ledger.verify()
        await ledger.close()
        assert verification.is_sound, verification.problems

    stack.push_async_callback(prove_and_close)
    return ledger


@dataclass(frozen=True)
class _Run:
    rate: float
    p99_ms: float


async def _run(way: Way, in_flight: int, count: int, numbers: itertools.count[int]) -> _Run:
    orders = iter([way.order(next(numbers)) for _ in range(count)])
    waits: list[float] = []

    async def one_client() -> None:
        for order in orders:
            asked = time.perf_counter()
            assert await way.reserve(order), "a reservation within all limits was refused"
            waits.append(time.perf_counter() - asked)

    started = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(in_flight)))
    rate = count / (time.perf_counter() - started)
    waits.sort()
    return _Run(rate, waits[len(waits) * 99 // 100] * 1000)


def _names(number: int) -> tuple[str, ...]:
    user = number % USERS
    return (f"key-{user}", f"user-{user}", f"team-{user % TEAMS}", "organization")


_SCOPES = (Scope.KEY, Scope.USER, Scope.TEAM, Scope.ORGANIZATION)
_LIMITS = [
    [
        Limit(scope, name, name, "month", AMOUNT)
        for scope, name in zip(_SCOPES, _names(number), strict=True)
    ]
    for number in range(USERS)
]
_CALLERS = [
    Caller(User(names[1], team=names[2]), Key(names[0], names[1], digest=""))
    for names in map(_names, range(USERS))
]


def _order(number: int) -> Order:
    return Order(
        id=f"job-{number:020}",
        caller=_CALLERS[number % USERS],
        model="wan-2.2-a14b-text-to-video",
        body_digest=f"{number:064x}",
        idempotency_key=None,
        quote=PRICE,
        limits=_LIMITS[number % USERS],
        # One for each, as a gateway's orders have it.
        calendar=Calendar(),
        policy_version="1",
        seconds=5,
        resolution="720p",
        upstream_key="0123456789abcdef",
    )
