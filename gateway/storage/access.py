"""How storage reaches its database: one writer, and two readers that may not write.

Whatever keeps something in the database shares these; nothing else opens a connection.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import aiosqlite

from gateway.ports import LedgerFailure
from gateway.storage.writer import Writer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """The connections of one open database."""

    writer: Writer
    reader: aiosqlite.Connection
    """For what is asked on the way of a request: a job, a twin."""
    scanner: aiosqlite.Connection
    """For what may read much, so that nobody on the way waits behind it."""

    async def run(self, work: Callable[[sqlite3.Connection], T], *, holds_back: bool = False) -> T:
        """Do one transaction; it is durable when this returns. See `Writer.run`."""
        return await self.writer.run(work, holds_back=holds_back)

    async def rows(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        """Read little, quickly."""
        return await _read(self.reader, sql, values)

    async def scan(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        """Read much, behind nobody who is waited for."""
        return await _read(self.scanner, sql, values)

    async def close(self) -> None:
        """Readers first, then the writer with its last checkpoint."""
        await self.reader.close()
        await self.scanner.close()
        await asyncio.to_thread(self.writer.close)


async def _read(connection: aiosqlite.Connection, sql: str, values: Iterable[Any]) -> list[Any]:
    try:
        return list(await connection.execute_fetchall(sql, tuple(values)))
    except sqlite3.Error as error:
        raise LedgerFailure(f"the database could not be read: {error}") from error
