"""What the writer tells those who remember the database between transactions, and asks of them.

Nobody but the writer's thread calls it.
"""

from __future__ import annotations

import sqlite3
from typing import Protocol

from gateway.ports import LedgerBroken


class Memory(Protocol):
    """What the functions remember of the database between them, in the writer's thread."""

    def keep(self) -> None:
        """The last function's writing stands, so far."""

    def undo(self) -> None:
        """The last function's writing is undone."""

    def forget(self) -> None:
        """A whole group's writing is undone."""

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what functions have held back; `NotWritten` where that breaks a constraint."""

    def changes(self, connection: sqlite3.Connection) -> int:
        """A count that moves when a function writes or holds back, and not when `write` does."""


class NotWritten(LedgerBroken):
    """What functions had held back cannot be written."""


class NoMemory:
    """For functions that remember nothing."""

    def keep(self) -> None:
        """Nothing to do."""

    undo = forget = keep

    def write(self, _connection: sqlite3.Connection) -> None:
        """Nothing to do."""

    def changes(self, connection: sqlite3.Connection) -> int:
        """What SQLite itself counts."""
        return connection.total_changes
