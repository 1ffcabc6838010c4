"""Reservations whose rows their group has not written yet: rows of one kind go in one statement.

Whoever is to read the database has them written first, and so does a commit: nobody ever reads
without them. Nothing here decides or commits.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gateway.ports import LedgerBroken
from gateway.storage.memory import NotWritten
from gateway.storage.new_jobs import JobRow, insert_jobs

_INSERT_ENTRY = (
    "INSERT INTO entries (job, at, reserved, reason, kind, in_doubt, settled) "
    "VALUES (?, ?, ?, ?, 'reserve', 0, 0)"
)
_MOVE = "UPDATE balances SET reserved = reserved + ? WHERE number = ?"


class Unwritten:
    """What a group holds back; only the writer's thread uses it."""

    def __init__(self) -> None:
        self._jobs: list[JobRow] = []
        self._reasons: list[str | None] = []
        self._balances: list[Sequence[int]] = []
        self._kept = 0
        self.taken = 0
        """Reservations that were ever held back."""
        self.changes = 0
        """Rows that writing what was held back has changed, as SQLite counts them."""

    def add(self, job: JobRow, reason: str | None, balances: Sequence[int]) -> None:
        """Hold back a reservation, its entry's reason, and the numbers of the balances it moves."""
        self._jobs.append(job)
        self._reasons.append(reason)
        self._balances.append(balances)
        self.taken += 1

    def binds(self, user: str, idempotency_key: str) -> bool:
        """Whether an Idempotency-Key is taken by what is held back."""
        return any(
            job.idempotency_key == idempotency_key and job.user == user for job in self._jobs
        )

    def keep(self) -> None:
        """What was added last stands."""
        self._kept = len(self._jobs)

    def undo(self) -> None:
        """What was added since the last `keep` never was."""
        del self._jobs[self._kept :], self._reasons[self._kept :], self._balances[self._kept :]

    def forget(self) -> None:
        """Nothing of it ever was."""
        self._kept = 0
        self.undo()

    def write(self, connection: sqlite3.Connection) -> None:
        """Write all that is held back; `NotWritten`, and then some of it may be, where a constraint
        of the database objects."""
        if not self._jobs:
            return
        jobs, reasons, balances = self._jobs, self._reasons, self._balances
        self._jobs, self._reasons, self._balances, self._kept = [], [], [], 0
        before = connection.total_changes
        try:
            insert_jobs(connection, jobs)
            _insert_entries(connection, jobs, reasons)
            _move(connection, _summed(jobs, balances))
        except LedgerBroken as error:
            raise NotWritten(str(error)) from error
        self.changes += connection.total_changes - before


def _insert_entries(
    connection: sqlite3.Connection, jobs: Sequence[JobRow], reasons: Sequence[str | None]
) -> None:
    entries = [
        (job.id, job.created_at, job.reserved, reason)
        for job, reason in zip(jobs, reasons, strict=True)
    ]
    try:
        connection.executemany(_INSERT_ENTRY, entries)
    except sqlite3.IntegrityError as error:
        raise LedgerBroken(f"an entry broke a constraint: {error}") from error


def _move(connection: sqlite3.Connection, moves: Sequence[tuple[int, int]]) -> None:
    if moves and connection.executemany(_MOVE, moves).rowcount != len(moves):
        raise LedgerBroken("a balance that was there is gone")


class WrittenFirst:
    """Reads and writes at once, after what is held back was written."""

    __slots__ = ("_connection", "_unwritten")

    def __init__(self, connection: sqlite3.Connection, unwritten: Unwritten) -> None:
        self._connection = connection
        self._unwritten = unwritten

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """As of a connection."""
        self._unwritten.write(self._connection)
        return self._connection.execute(sql, values)


def _summed(jobs: list[JobRow], balances: list[Sequence[int]]) -> list[tuple[int, int]]:
    """What each balance is moved by, and its number."""
    sums: Counter[int] = Counter()
    for job, numbers in zip(jobs, balances, strict=True):
        for number in numbers:
            sums[number] += job.reserved
    return [(micros, number) for number, micros in sums.items()]
