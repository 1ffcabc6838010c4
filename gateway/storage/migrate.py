"""Brings a database to the newest schema, forward only, each step checksummed and whole.

A database that is newer than this program, or whose past steps differ from ours, is refused.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from gateway.ports import DatabaseRefused

_NAMES_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered schema file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the step's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_steps(folder: Traversable | None = None) -> list[Step]:
    """The schema files of a folder, in order; ours where none is named."""
    folder = folder or resources.files("gateway.storage") / "schema"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Step(int(f.name[:_NAMES_DIGITS]), f.name, f.read_text("utf-8")) for f in files]


def version_of(connection: sqlite3.Connection) -> int:
    """The last step that a database has; 0 for one that has none, or is no database of ours."""
    return max(_done(connection), default=0)


def pending(connection: sqlite3.Connection, steps: Iterable[Step]) -> list[Step]:
    """The steps that a database lacks; `DatabaseRefused` where these steps did not make it."""
    done = _done(connection)
    known = {step.version: step for step in steps}
    newer = sorted(set(done) - set(known))
    if newer:
        raise DatabaseRefused(
            f"the database has schema version {newer[-1]}, newer than this program knows; "
            "run the version that made it, or a later one"
        )
    for step in known.values():
        if done.get(step.version, step.checksum) != step.checksum:
            raise DatabaseRefused(
                f"schema step {step.name} is not the one the database was made by"
            )
    return [step for step in known.values() if step.version not in done]


def _done(connection: sqlite3.Connection) -> dict[int, str]:
    """The checksum of each step that was applied, by version."""
    there = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'").fetchone()
    if there is None:
        return {}
    return dict(connection.execute("SELECT version, checksum FROM migrations").fetchall())


def apply(connection: sqlite3.Connection, steps: Sequence[Step], now: int) -> None:
    """Apply steps in order, each in one transaction: a crash leaves the version before it."""
    for step in steps:
        row = f"({step.version}, '{step.name}', '{step.checksum}', {int(now)})"
        script = f"BEGIN IMMEDIATE;\n{_TABLE};\n{step.sql}\n{_RECORD} {row};\nCOMMIT;"
        try:
            connection.executescript(script)
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise DatabaseRefused(
                f"schema step {step.name} does not fit this database ({error}); it is as it was "
                "before that step"
            ) from error


_TABLE = (
    "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, "
    "checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT"
)
_RECORD = "INSERT INTO migrations VALUES"
