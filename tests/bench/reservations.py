"""Durable reservations over four windows: the ledger beside the bare writer, on the same disk."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from gateway.core.budget import Calendar, Limit, Scope
from gateway.core.money import Money
from gateway.records import Caller, Key, Order, Reserved, User
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.bench.bare_writer import LIMIT, BareWriter
from tests.bench.rounds import Comparison, compare

GOAL = 0.3
IN_FLIGHT = {1: 400, 32: 4_000, 256: 12_000}
"""How many at once, and how many in all in one turn."""
USERS, TEAMS = 32, 4
PRICE = Money(500_000)
AMOUNT = Money(LIMIT)
AT = 1_767_225_600_000
"""The first moment of 2026; the windows do not move while it is measured."""
CALENDAR = Calendar()

ReserveOne = Callable[[int], Awaitable[bool]]


def compare_reservations(folder: Path, turns: int, share: float) -> list[Comparison]:
    """One comparison for each number in flight; `share` shortens the turns."""
    loop = uvloop.new_event_loop()
    try:
        ledger = loop.run_until_complete(
            SqliteLedger.open(folder / "ledger.db", upstream="bench", now=1)
        )
        bare = loop.run_until_complete(_open_bare(folder / "bare.db"))
        numbers = itertools.count()

        async def by_ledger(number: int) -> bool:
            return isinstance(await ledger.reserve(_order(number), AT), Reserved)

        async def by_bare(number: int) -> bool:
            return await bare.reserve(f"job-{number:020}", _names(number), PRICE.micros)

        def rate(reserve: ReserveOne, in_flight: int) -> float:
            count = max(in_flight, round(IN_FLIGHT[in_flight] * share))
            return loop.run_until_complete(_rate(reserve, in_flight, count, numbers))

        found = [
            compare(
                f"durable reservations, {in_flight} in flight",
                "reservations/s",
                lambda n=in_flight: rate(by_ledger, n),  # type: ignore[misc]
                lambda n=in_flight: rate(by_bare, n),  # type: ignore[misc]
                turns=turns,
                goal=GOAL if in_flight == max(IN_FLIGHT) else None,
            )
            for in_flight in IN_FLIGHT
        ]
        verification = loop.run_until_complete(ledger.verify())
        assert verification.is_sound, verification.problems
        bare.close()
        loop.run_until_complete(ledger.close())
        return found
    finally:
        loop.close()


async def _open_bare(path: Path) -> BareWriter:
    return BareWriter(path, {name for number in range(USERS) for name in _names(number)})


async def _rate(
    reserve: ReserveOne, in_flight: int, count: int, numbers: itertools.count[int]
) -> float:
    left = iter(range(count))

    async def one_client() -> None:
        for _ in left:
            assert await reserve(next(numbers)), "a reservation within all limits was refused"

    started = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(in_flight)))
    return count / (time.perf_counter() - started)


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
        calendar=CALENDAR,
        policy_version="1",
        seconds=5,
        resolution="720p",
        upstream_key="0123456789abcdef",
    )
