"""The stand-in's memory: one SQLite file, or none. It keeps rows and decides nothing.

Every write is committed before the call returns, so that killing the process loses nothing.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).with_name("schema.sql")
FILE_NAME = "simulator.db"


class Store:
    """All of the stand-in's SQL goes through here; rows come back as ``sqlite3.Row``."""

    def __init__(self, data_dir: Path | None) -> None:
        if data_dir is not None:
            data_dir.mkdir(parents=True, exist_ok=True)
        place = ":memory:" if data_dir is None else str(data_dir / FILE_NAME)
        self._connection = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        # A killed process loses nothing the kernel has taken, so no write waits for the disk.
        self._connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;")
        self._connection.executescript(SCHEMA.read_text(encoding="utf-8"))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside, or none of them."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def insert(self, table: str, **values: Any) -> int:
        """Add a row and return its number."""
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - our own names
        row = self._connection.execute(statement, tuple(values.values())).lastrowid
        assert row is not None
        return row

    def execute(self, statement: str, *values: Any) -> None:
        """Run one writing statement."""
        self._connection.execute(statement, values)

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query, if any."""
        row: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
        return row

    def next_number(self, table: str) -> int:
        """The number the next row of ``table`` will get; never one that was used before."""
        row = self.row("SELECT seq FROM sqlite_sequence WHERE name = ?", table)
        return 1 if row is None else row["seq"] + 1

    def close(self) -> None:
        self._connection.close()
