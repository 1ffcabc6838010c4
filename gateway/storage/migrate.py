"""Brings a database to the newest schema, forward only, each step checksummed and whole.

A database that is newer than this program, or whose past steps differ from ours, is refused.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from importlib import resources

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


def steps() -> list[Step]:
    """The schema files, in order."""
    folder = resources.files("gateway.storage") / "schema"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Step(int(f.name[:_NAMES_DIGITS]), f.name, f.read_text("utf-8")) for f in files]


def migrate(connection: sqlite3.Connection, now: int) -> list[str]:
    """Apply what is missing; the names of the steps that were applied."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, "
        "checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT"
    )
    done = dict(connection.execute("SELECT version, checksum FROM migrations").fetchall())
    known = {step.version: step for step in steps()}
    newer = sorted(set(done) - set(known))
    if newer:
        raise DatabaseRefused(
            f"the database has schema version {newer[-1]}, newer than this program knows; "
            "run the version that made it, or a later one"
        )
    applied = []
    for step in known.values():
        if step.version not in done:
            _apply(connection, step, now)
            applied.append(step.name)
        elif done[step.version] != step.checksum:
            raise DatabaseRefused(
                f"schema step {step.name} is not the one the database was made by"
            )
    return applied


def _apply(connection: sqlite3.Connection, step: Step, now: int) -> None:
    """One step in one transaction: a crash leaves the version before it."""
    row = f"({step.version}, '{step.name}', '{step.checksum}', {int(now)})"
    connection.executescript(
        f"BEGIN IMMEDIATE;\n{step.sql}\nINSERT INTO migrations VALUES {row};\nCOMMIT;"
    )
