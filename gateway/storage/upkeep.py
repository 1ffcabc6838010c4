"""What is done to a database as a whole, by who has its file: backups, restoring, schema steps.

Whatever changes it holds the lock, so never while a gateway runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.storage import backup, checks, database, migrate, writer
from gateway.storage.backup import Restored
from gateway.storage.checks import Inventory
from gateway.storage.migrate import Step


@dataclass(frozen=True, slots=True)
class SchemaReport:
    """The schema of a database: its version, the steps it lacks or lacked, and the copy made."""

    version: int
    steps: tuple[str, ...]
    backup: Path | None = None


class Upkeep:
    """The upkeep of one database; `steps` are ours unless others are given."""

    def __init__(self, path: Path, steps: Sequence[Step] | None = None) -> None:
        self._path = path
        self._steps = steps or migrate.read_steps()

    def back_up(self, target: Path) -> Inventory:
        """Copy the database, also while a gateway works on it; `DatabaseRefused` where not."""
        return backup.back_up(self._path, target, self._steps)

    def restore(self, source: Path, now: int, waits: str) -> Restored:
        """Put a backup in the database's place; `DatabaseLocked` while a gateway runs."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            return backup.restore(self._path, source, self._steps, now, waits)

    def missing(self) -> SchemaReport:
        """What the database lacks; a gateway may be running on it."""
        with checks.reading(self._path) as connection:
            found = migrate.pending(connection, self._steps)
            version = migrate.version_of(connection)
        return SchemaReport(version, tuple(step.name for step in found))

    def migrate(self, now: int) -> SchemaReport:
        """Apply what the database lacks, a copy first; `DatabaseLocked` while a gateway runs."""
        before = self.missing()
        if not before.steps:
            return before
        with self._locked():
            connection = writer.connect(self._path)
            try:
                checks.check_whole(connection, self._path)
                copy = database.bring_up_to_date(connection, self._path, now, self._steps)
                return SchemaReport(migrate.version_of(connection), before.steps, copy)
            finally:
                connection.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = database.FileLock(self._path)
        try:
            yield
        finally:
            lock.release()
