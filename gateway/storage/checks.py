"""What a database file must be before anything is done with it: whole, of a schema this program
knows, and of one upstream. Nothing here changes a database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.ports import DatabaseRefused
from gateway.storage.migrate import Step, pending, version_of


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is in a database."""

    version: int
    upstream: str | None
    users: int
    jobs: int
    entries: int


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection; `DatabaseRefused` where there is no file, or it is no database."""
    if not path.is_file():
        raise DatabaseRefused(f"There is no database at {path}.")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise DatabaseRefused(f"{path} cannot be read as a database: {error}") from error


def check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """`DatabaseRefused` for a damaged file."""
    found = connection.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise DatabaseRefused(f"{path} is damaged: {found}. Restore a backup.")


def inventory(connection: sqlite3.Connection, path: Path, steps: Sequence[Step]) -> Inventory:
    """What a whole database of ours holds; else `DatabaseRefused`. An older schema is fine."""
    check_whole(connection, path)
    version = version_of(connection)
    if version == 0:
        raise DatabaseRefused(f"{path} is no database of this gateway.")
    pending(connection, steps)
    counts = [
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("users", "jobs", "entries")
    ]
    return Inventory(version, upstream_of(connection), *counts)


def upstream_of(connection: sqlite3.Connection) -> str | None:
    """Whose money is in it; None where nothing was ever bought with it."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'upstream'").fetchone()
    return None if row is None else str(row[0])
