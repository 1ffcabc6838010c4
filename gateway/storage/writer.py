"""The one thread that writes to SQLite: whole transactions as functions, committed in groups.

Each function runs inside a SAVEPOINT of its own, so that one that fails leaves nothing behind and
harms no neighbour; all of a group become durable by one fsync, and only then does anybody hear.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gateway.ports import LedgerFailure, LedgerFull

T = TypeVar("T")
GROUP_MAX = 512
"""Transactions in one commit: enough to share an fsync, few enough that the first waits little."""
WAL_PAGES_MAX = 4_000
"""About 16 MB of log before a checkpoint, which this thread alone does."""
IDLE_SECONDS = 1.0
"""Of silence before the log is emptied: what was deleted, a link for one, must not linger in it."""
BUSY_MS = 5_000
STATEMENTS_CACHED = 256
PAGES_CACHED_KIB = 32 * 1024
"""The upper levels of every index of a million jobs, so that a reservation reads no disk."""

_BEGIN, _COMMIT, _ROLLBACK = "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"
_SAVE, _KEEP, _UNDO = "SAVEPOINT one", "RELEASE one", "ROLLBACK TO one"


@dataclass(slots=True)
class _Task:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None

    def deliver(self) -> None:
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


def connect(path: Path) -> sqlite3.Connection:
    """The write connection: durable at every commit, constraints enforced."""
    connection = sqlite3.connect(
        path, isolation_level=None, cached_statements=STATEMENTS_CACHED, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    # Whatever the build's default: what is deleted is overwritten.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES_MAX}")
    connection.execute(f"PRAGMA cache_size = -{PAGES_CACHED_KIB}")
    # What a SAVEPOINT may have to undo stays in memory: as a file it costs more than the writing.
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def translate(error: sqlite3.Error) -> LedgerFailure:
    """A SQLite error in our own words."""
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_FULL" or "disk is full" in str(error):
        return LedgerFull("the disk that holds the database is full")
    return LedgerFailure(f"the database could not write ({code or type(error).__name__}: {error})")


class Writer:
    """Runs functions in the writer thread and awaits their durable result."""

    def __init__(
        self, connection: sqlite3.Connection, observe_commit: Callable[[float], None] | None = None
    ) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._observe_commit = observe_commit or (lambda _seconds: None)
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._has_log = True
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="ledger-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` once it is durable.

        What `work` raises is raised here, with nothing of it written; `LedgerFailure` where the
        commit itself failed. Cancelling the caller does not stop the transaction.
        """
        task = _Task(work, self._loop.create_future())
        self._tasks.put(task)
        result: T = await task.future
        return result

    def close(self) -> None:
        """Finish what is queued, then close the connection; the last checkpoint happens here."""
        self._tasks.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            group, is_last = self._gather(self._next())
            if group:
                self._commit(group)
                self._report(group)
            if is_last:
                self._connection.close()
                return

    def _next(self) -> _Task | None:
        while True:
            try:
                return self._tasks.get(timeout=IDLE_SECONDS if self._has_log else None)
            except queue.Empty:
                self._empty_log()

    def _empty_log(self) -> None:
        """Move the whole log into the database and cut it off; readers in the way: later."""
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            row = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._has_log = bool(row[0])
        except sqlite3.Error:
            # A full or broken disk is told to whoever writes next.
            return
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def _gather(self, first: _Task | None) -> tuple[list[_Task], bool]:
        group: list[_Task] = []
        task = first
        while task is not None:
            group.append(task)
            if len(group) >= GROUP_MAX:
                return group, False
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, group: list[_Task]) -> None:
        started = time.perf_counter()
        self._has_log = True
        try:
            self._connection.execute(_BEGIN)
            for task in group:
                self._run_one(task)
            self._connection.execute(_COMMIT)
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute(_ROLLBACK)
            for task in group:
                task.error = translate(error)
        self._observe_commit(time.perf_counter() - started)

    def _run_one(self, task: _Task) -> None:
        execute = self._cursor.execute
        execute(_SAVE)
        try:
            task.result = task.work(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                # SQLite itself gave the transaction up (a full disk, for one): none of it stands.
                raise sqlite3.OperationalError(str(error)) from error
            execute(_UNDO)
            task.error = translate(error) if isinstance(error, sqlite3.OperationalError) else error
        execute(_KEEP)

    def _report(self, group: list[_Task]) -> None:
        def deliver() -> None:
            for task in group:
                task.deliver()

        try:
            self._loop.call_soon_threadsafe(deliver)
        except RuntimeError:
            # The loop is closed: nobody awaits these any more, and they are durable.
            return
