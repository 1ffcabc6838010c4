"""The other baseline for reservations: what one writes at first, a transaction of awaited calls.

The same durability, tables and guarded updates as the bare writer; but every statement is a call of
its own to aiosqlite, and every reservation commits alone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiosqlite

from tests.bench.bare_writer import LIMIT, MOVE, SCHEMA


class CallByCall:
    """Reserves in four balances, or in none."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, balances: set[str]) -> CallByCall:
        """A new database with these balances."""
        connection = await aiosqlite.connect(path, isolation_level=None)
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = FULL")
        await connection.executescript(SCHEMA)
        await connection.executemany(
            "INSERT INTO balances VALUES (?, 0)", [(name,) for name in sorted(balances)]
        )
        return cls(connection)

    async def reserve(self, job: str, names: tuple[str, ...], price: int) -> bool:
        """Whether it fits; it is durable then."""
        execute = self._connection.execute
        async with self._one_at_a_time:
            await execute("BEGIN IMMEDIATE")
            for name in names:
                moved = await execute(MOVE, (price, name, price, LIMIT))
                if moved.rowcount != 1:
                    await execute("ROLLBACK")
                    return False
            await execute(
                "INSERT INTO jobs (id, user, quote) VALUES (?, ?, ?)", (job, names[1], price)
            )
            await execute("INSERT INTO entries (job, at, reserved) VALUES (?, 0, ?)", (job, price))
            await execute("COMMIT")
        return True

    async def close(self) -> None:
        """Close the database."""
        await self._connection.close()
