"""Opening the database file: one process at a time, undamaged, at our schema, for one upstream."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from gateway.ports import DatabaseLocked, DatabaseRefused
from gateway.storage import backup, migrate
from gateway.storage.checks import check_whole, upstream_of
from gateway.storage.migrate import Step
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


def read_only(path: Path) -> str:
    """How to open a database for reading; its folder may be named anything."""
    return f"{path.absolute().as_uri()}?mode=ro"


def prepare(
    path: Path, upstream: str | None, now: int, steps: Sequence[Step] | None = None
) -> sqlite3.Connection:
    """The write connection of a database that may be used; else `DatabaseRefused`.

    None for the upstream takes the database as it is, whichever it belongs to. Schema steps that
    it lacks are applied, after a copy of it was put beside it.
    """
    _begin_closed_to_others(path)
    connection = connect(path)
    try:
        check_whole(connection, path)
        bring_up_to_date(connection, path, now, steps or migrate.read_steps())
        if upstream is not None:
            _check_upstream(connection, path, upstream)
    except BaseException:
        connection.close()
        raise
    return connection


def _begin_closed_to_others(path: Path) -> None:
    """Make a new file that only its owner reads: links to videos at Venice are in it while their
    jobs are open. SQLite gives the files beside it the same mode."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError:
        # It is there already, as whoever made it wants it, or cannot be made: opening it says why.
        return


def bring_up_to_date(
    connection: sqlite3.Connection, path: Path, now: int, steps: Sequence[Step]
) -> Path | None:
    """Apply the steps that a database lacks; the copy made before, where it was not new."""
    missing = migrate.pending(connection, steps)
    if not missing:
        return None
    copy = None
    if version := migrate.version_of(connection):
        copy = backup.copied(path, backup.beside(path, f"version-{version}", now))
    migrate.apply(connection, missing, now)
    return copy


def _check_upstream(connection: sqlite3.Connection, path: Path, upstream: str) -> None:
    found = upstream_of(connection)
    if found is None:
        connection.execute("INSERT INTO meta VALUES ('upstream', ?)", (upstream,))
    elif found != upstream:
        raise DatabaseRefused(
            f"{path} belongs to {found}, not to {upstream}: real and simulated money never "
            "share a database. Use another VGW_DATA_DIR."
        )
