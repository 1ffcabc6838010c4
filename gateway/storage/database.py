"""Opening the database file: one process at a time, undamaged, at our schema, for one upstream."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from gateway.ports import DatabaseLocked, DatabaseRefused
from gateway.storage.migrate import migrate
from gateway.storage.writer import connect


class FileLock:
    """One process per database: a lock file that also says where its owner listens."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._descriptor, 512, 0).decode("utf-8", "replace").strip()
            os.close(self._descriptor)
            raise DatabaseLocked(database, owner) from error
        self.say("")

    def say(self, text: str) -> None:
        """Leave a line for whoever finds the lock taken."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        """Let the next process in."""
        self.say("")
        os.close(self._descriptor)


def prepare(path: Path, upstream: str | None, now: int) -> sqlite3.Connection:
    """The write connection of a database that may be used; else `DatabaseRefused`.

    None for the upstream takes the database as it is, whichever it belongs to.
    """
    connection = connect(path)
    try:
        _check_whole(connection, path)
        migrate(connection, now)
        if upstream is not None:
            _check_upstream(connection, path, upstream)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_whole(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise DatabaseRefused(f"{path} is damaged: {found}. Restore a backup.")


def _check_upstream(connection: sqlite3.Connection, path: Path, upstream: str) -> None:
    row = connection.execute("SELECT value FROM meta WHERE name = 'upstream'").fetchone()
    if row is None:
        connection.execute("INSERT INTO meta VALUES ('upstream', ?)", (upstream,))
    elif row[0] != upstream:
        raise DatabaseRefused(
            f"{path} belongs to {row[0]}, not to {upstream}: real and simulated money never "
            "share a database. Use another VGW_DATA_DIR."
        )
