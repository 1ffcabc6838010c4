"""Places: never more than there are, in the order of asking, and as many as the policy says now."""

from __future__ import annotations

import asyncio

from gateway.places import IMPATIENT_MAX, Places
from tests.upstream.still_clock import settle


class Room:
    """Guests that stay until they are sent away."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.places = Places(lambda: self.count)
        self.inside: list[int] = []
        self.doors: dict[int, asyncio.Event] = {}
        self.guests: dict[int, asyncio.Task[None]] = {}

    async def _stay(self, guest: int) -> None:
        async with self.places.one():
            self.inside.append(guest)
            await self.doors[guest].wait()
            self.inside.remove(guest)

    async def enter(self, *guests: int) -> None:
        for guest in guests:
            self.doors[guest] = asyncio.Event()
            self.guests[guest] = asyncio.create_task(self._stay(guest))
        await settle()

    async def emptied(self) -> None:
        """Return in the very turn in which the last one has left."""
        while self.inside:  # noqa: ASYNC110 - an event would come a turn later
            await asyncio.sleep(0)

    async def leave(self, *guests: int) -> None:
        for guest in guests:
            self.doors[guest].set()
        await settle()


async def test_places_are_given_in_the_order_of_asking() -> None:
    room = Room(2)
    await room.enter(1, 2, 3, 4)
    assert room.inside == [1, 2]
    assert not room.places.take_now()
    await room.leave(2)
    assert room.inside == [1, 3]
    await room.leave(1, 3, 4)
    assert room.inside == []
    assert room.places.take_now()


async def test_the_number_of_places_is_that_of_the_moment() -> None:
    room = Room(1)
    await room.enter(1, 2, 3)
    room.count = 3
    assert not room.places.take_now()  # those who wait come first
    await settle()
    assert room.inside == [1, 2, 3]
    room.count = 1
    await room.leave(1, 2)
    assert not room.places.take_now()
    await room.leave(3)
    assert room.places.take_now()


async def test_who_stops_waiting_takes_no_place() -> None:
    room = Room(1)
    await room.enter(1, 2, 3)
    room.guests[2].cancel()
    await settle()
    room.doors[1].set()
    await settle()
    assert room.inside == [3]
    # Cancelled in the very moment in which the place came free.
    await room.enter(4)
    room.doors[3].set()
    await room.emptied()
    room.guests[4].cancel()
    await settle()
    assert room.places.take_now()


async def test_the_impatient_wait_only_so_long_and_only_so_many() -> None:
    room = Room(1)
    await room.enter(1)
    enough = asyncio.Event()

    async def patience() -> None:
        await enough.wait()

    waiting = [
        asyncio.create_task(room.places.take_soon(patience)) for _ in range(IMPATIENT_MAX + 1)
    ]
    await settle()
    assert [task.done() for task in waiting] == [False] * IMPATIENT_MAX + [True]
    await room.leave(1)
    assert await waiting[0]
    room.places.give_back()
    await settle()
    assert await waiting[1]
    enough.set()
    assert not any([await task for task in waiting[2:]])
    room.places.give_back()
    assert room.places.take_now()
    assert not room.places.take_now()


async def test_an_impatient_one_that_is_cancelled_takes_no_place() -> None:
    room = Room(1)
    await room.enter(1)

    async def patience() -> None:
        await asyncio.Event().wait()

    for is_let_in in (False, True):
        waiting = asyncio.create_task(room.places.take_soon(patience))
        await settle()
        if is_let_in:
            room.doors[1].set()
            await room.emptied()
        waiting.cancel()
        await settle()
        assert waiting.cancelled()
    assert room.places.take_now()
