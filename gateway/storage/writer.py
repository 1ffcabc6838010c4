"""The one thread that writes to SQLite: whole transactions as functions, committed in groups.

A function that fails leaves nothing behind and harms no neighbour: most write nothing before they
fail; where one did, its group is undone and run again, each inside a SAVEPOINT of its own. What
functions hold back is written before one that does not, and before the commit. All of a group
become durable by one fsync, and only then does anybody hear.
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
from typing import Any, TypeVar

from gateway.ports import LedgerBroken
from gateway.storage.failures import told, translate
from gateway.storage.memory import Memory, NoMemory, NotWritten

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


class _GroupUndone(Exception):
    """A group cannot be written as a whole; `by` are the tasks that failed."""

    def __init__(self, by: list[_Task]) -> None:
        self.by = by
        super().__init__()


@dataclass(slots=True, eq=False)
class _Task:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    holds_back: bool = False
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

    async def run(self, work: Callable[[sqlite3.Connection], T], *, holds_back: bool = False) -> T:
        """The result of `work` once it is durable.

        One that `holds_back` neither reads nor writes but through its memory, which writes what
        others have held back where it must; before any other that is written.
        What `work` raises is raised here, with nothing of it written; `LedgerFailure` where the
        commit itself failed, `LedgerBroken` where the thread has ended. Cancelling the caller does
        not stop the transaction.
        """
        task = _Task(work, self._loop.create_future(), holds_back)
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
            try:
                self._run_together(group)
            except _GroupUndone as undone:
                self._undo()
                self._connection.execute(_BEGIN)
                for task in group:
                    # Who failed is not tried again: what was found would be lost.
                    if task not in undone.by:
                        self._run_apart(task)
            self._connection.execute(_COMMIT)
        except sqlite3.Error as error:
            self._undo()
            for task in group:
                task.error = translate(error)
        return time.perf_counter() - started

    def _run_together(self, group: list[_Task]) -> None:
        """Run a group without SAVEPOINTs, which copy every page they change.

        `_GroupUndone` where a task failed after it had written, or where what was held back cannot
        be written: then all who hold back have failed.
        """
        connection, memory = self._connection, self._memory
        try:
            for task in group:
                if not task.holds_back:
                    memory.write(connection)
                changes = memory.changes(connection)
                try:
                    task.result = task.work(connection)
                except NotWritten:
                    raise
                except Exception as error:
                    task.error = told(error)
                    if not connection.in_transaction or memory.changes(connection) != changes:
                        raise _GroupUndone([task]) from error
                    memory.undo()
                else:
                    memory.keep()
            memory.write(connection)
        except NotWritten as error:
            holding = [task for task in group if task.holds_back]
            for task in holding:
                task.error = error
            raise _GroupUndone(holding) from error

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute(_ROLLBACK)
        self._memory.forget()

    def _run_apart(self, task: _Task) -> None:
        task.result = task.error = None
        execute = self._cursor.execute
        execute(_SAVE)
        try:
            task.result = task.work(self._connection)
            self._memory.write(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                # SQLite itself gave the transaction up (a full disk, for one): none of it stands.
                raise sqlite3.OperationalError(str(error)) from error
            execute(_UNDO)
            self._memory.undo()
            task.error = told(error)
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
