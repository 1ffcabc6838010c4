"""The one thread that writes to SQLite: whole transactions as functions, committed in groups.

A function that fails leaves nothing behind and harms no neighbour: most write nothing before they
fail; where one did, its group is undone and run again, each inside a SAVEPOINT of its own. All of
a group become durable by one fsync, and only then does anybody hear.
Whatever goes wrong in the thread, nobody waits for ever: it answers, and then refuses.
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
from typing import Any, Protocol, TypeVar

from gateway.ports import LedgerBroken, LedgerFailure, LedgerFull

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


class Memory(Protocol):
    """What the functions remember of the database between them, in the writer's thread."""

    def keep(self) -> None:
        """The last function's writing stands, so far."""

    def undo(self) -> None:
        """The last function's writing is undone."""

    def forget(self) -> None:
        """A whole group's writing is undone."""


class NoMemory:
    """For functions that remember nothing."""

    def keep(self) -> None:
        """Nothing to do."""

    undo = forget = keep


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
    if isinstance(error, sqlite3.IntegrityError):
        return LedgerBroken(f"a write would break a constraint: {error}")
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return LedgerBroken(f"the database is damaged ({error})")
    return LedgerFailure(f"the database could not write ({code or type(error).__name__}: {error})")


def _told(error: Exception) -> Exception:
    """What its caller is told of an error in a transaction."""
    if isinstance(error, sqlite3.Error):
        return translate(error)
    if isinstance(error, AssertionError):
        return LedgerBroken(f"an assertion failed: {error}")
    return error


class Writer:
    """Runs functions in the writer thread and awaits their durable result."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        observe_commit: Callable[[float], None] | None = None,
        observe_broken: Callable[[str], None] | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._connection = connection
        self._memory: Memory = memory or NoMemory()
        self._cursor = connection.cursor()
        self._observe_commit = observe_commit or (lambda _seconds: None)
        self._observe_broken = observe_broken or (lambda _why: None)
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._door = threading.Lock()
        self._ended: str | None = None
        """Why nothing is written any more; changed, and obeyed, behind the door."""
        self._has_log = True
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="ledger-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` once it is durable.

        What `work` raises is raised here, with nothing of it written; `LedgerFailure` where the
        commit itself failed, `LedgerBroken` where the thread has ended. Cancelling the caller does
        not stop the transaction.
        """
        task = _Task(work, self._loop.create_future())
        with self._door:
            if self._ended is not None:
                raise LedgerBroken(self._ended)
            self._tasks.put(task)
        result: T = await task.future
        return result

    def close(self) -> None:
        """Finish what is queued, then close the connection; the last checkpoint happens here."""
        with self._door:
            self._ended = self._ended or "the ledger is closed"
            self._tasks.put(None)
        self._thread.join()

    def _serve(self) -> None:
        is_last = False
        while not is_last:
            group: list[_Task] = []
            try:
                is_last = self._gather(group)
                if group:
                    seconds = self._commit(group)
                    self._report(group)
                    group = []
                    self._observe_commit(seconds)
            except BaseException as error:  # noqa: BLE001 - or all who wait would wait for ever
                is_last = True
                self._break_down(group, error)
        self._connection.close()

    def _break_down(self, group: list[_Task], error: BaseException) -> None:
        """Fail all who wait, and all who come."""
        why = f"the writer's thread has failed ({type(error).__name__}: {error})"
        with self._door:
            self._ended = why
            while not self._tasks.empty():
                task = self._tasks.get_nowait()
                group += [] if task is None else [task]
        for task in group:
            task.error = LedgerBroken(why)
        self._report(group, broken=why)

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

    def _gather(self, group: list[_Task]) -> bool:
        """Wait for a task and take all that are there; whether these are the last."""
        task = self._next()
        while task is not None:
            group.append(task)
            if len(group) >= GROUP_MAX:
                return False
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return False
        return True

    def _commit(self, group: list[_Task]) -> float:
        """Run a group of tasks and make them durable; the seconds it took."""
        started = time.perf_counter()
        self._has_log = True
        try:
            self._connection.execute(_BEGIN)
            failed = self._run_together(group)
            if failed is not None:
                self._connection.execute(_BEGIN)
                for task in group:
                    # The one that failed is not tried again: what it found would be lost.
                    if task is not failed:
                        self._run_apart(task)
            self._connection.execute(_COMMIT)
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute(_ROLLBACK)
            self._memory.forget()
            for task in group:
                task.error = translate(error)
        return time.perf_counter() - started

    def _run_together(self, group: list[_Task]) -> _Task | None:
        """Run a group without SAVEPOINTs, which copy every page they change.

        Where a task failed after it had written, that task, and all of the group is undone.
        """
        connection, memory = self._connection, self._memory
        for task in group:
            changes = connection.total_changes
            try:
                task.result = task.work(connection)
            except Exception as error:  # noqa: BLE001 - told to whoever awaits it
                task.error = _told(error)
                if not connection.in_transaction or connection.total_changes != changes:
                    if connection.in_transaction:
                        connection.execute(_ROLLBACK)
                    memory.forget()
                    return task
                memory.undo()
            else:
                memory.keep()
        return None

    def _run_apart(self, task: _Task) -> None:
        task.result = task.error = None
        execute = self._cursor.execute
        execute(_SAVE)
        try:
            task.result = task.work(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                # SQLite itself gave the transaction up (a full disk, for one): none of it stands.
                raise sqlite3.OperationalError(str(error)) from error
            execute(_UNDO)
            self._memory.undo()
            task.error = _told(error)
        else:
            self._memory.keep()
        execute(_KEEP)

    def _report(self, group: list[_Task], broken: str | None = None) -> None:
        """Tell everybody on the loop; and of a broken ledger whoever stops the spending."""

        def deliver() -> None:
            why = broken
            for task in group:
                task.deliver()
                if isinstance(task.error, LedgerBroken):
                    why = why or str(task.error)
            if why is not None:
                self._observe_broken(why)

        try:
            self._loop.call_soon_threadsafe(deliver)
        except RuntimeError:
            # The loop is closed: nobody awaits these any more, and they are durable.
            return
