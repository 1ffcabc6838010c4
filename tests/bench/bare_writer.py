"""The baseline for reservations: the least that holds money durably in four balances.

One thread, group commit, a SAVEPOINT per transaction, the same pragmas as the ledger; four guarded
balance updates, one job and one entry. It knows no windows, grants, constraints or job table.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from pathlib import Path

from gateway.storage.writer import GROUP_MAX, connect

SCHEMA = """
CREATE TABLE balances (name TEXT PRIMARY KEY, used INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE jobs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, user TEXT, quote INTEGER)
    STRICT;
CREATE TABLE entries (id INTEGER PRIMARY KEY, job TEXT, at INTEGER, reserved INTEGER) STRICT;
"""
MOVE = "UPDATE balances SET used = used + ? WHERE name = ? AND used + ? <= ?"
LIMIT = 10**15

_Task = tuple[str, tuple[str, ...], int, asyncio.Future[bool]]


class BareWriter:
    """Reserves in four balances, or in none."""

    def __init__(self, path: Path, balances: set[str]) -> None:
        self._connection = connect(path)
        self._connection.executescript(SCHEMA)
        self._connection.executemany(
            "INSERT INTO balances VALUES (?, 0)", [(name,) for name in sorted(balances)]
        )
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    async def reserve(self, job: str, names: tuple[str, ...], price: int) -> bool:
        """Whether it fits; it is durable then."""
        future: asyncio.Future[bool] = self._loop.create_future()
        self._tasks.put((job, names, price, future))
        return await future

    def close(self) -> None:
        """Finish what is queued."""
        self._tasks.put(None)
        self._thread.join()
        self._connection.close()

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            group = [task]
            while len(group) < GROUP_MAX and not self._tasks.empty():
                more = self._tasks.get()
                if more is None:
                    self._tasks.put(None)
                    break
                group.append(more)
            self._connection.execute("BEGIN IMMEDIATE")
            done = [(future, self._one(job, names, price)) for job, names, price, future in group]
            self._connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_tell, done)

    def _one(self, job: str, names: tuple[str, ...], price: int) -> bool:
        execute = self._connection.execute
        execute("SAVEPOINT one")
        for name in names:
            if execute(MOVE, (price, name, price, LIMIT)).rowcount != 1:
                execute("ROLLBACK TO one")
                execute("RELEASE one")
                return False
        execute("INSERT INTO jobs (id, user, quote) VALUES (?, ?, ?)", (job, names[1], price))
        execute("INSERT INTO entries (job, at, reserved) VALUES (?, 0, ?)", (job, price))
        execute("RELEASE one")
        return True


def _tell(done: list[tuple[asyncio.Future[bool], bool]]) -> None:
    for future, fits in done:
        future.set_result(fits)
