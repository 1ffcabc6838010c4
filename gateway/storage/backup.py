"""Copies of the database: made while a gateway runs, put back only while none does.

A copy is whole, durable and under its name, or not there at all. Videos are not in it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.core.job import Event, State
from gateway.ports import DatabaseRefused
from gateway.records import SPENDING_WAITS
from gateway.storage import checks
from gateway.storage.checks import Inventory
from gateway.storage.marks import set_mark
from gateway.storage.migrate import Step, apply, pending
from gateway.storage.transactions import Transactions
from gateway.storage.writer import connect


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, and where the database that it replaced is kept, if there was one."""

    found: Inventory
    replaced: Path | None


def back_up(database: Path, target: Path, steps: Sequence[Step]) -> Inventory:
    """Write a copy of a database under a name that is free; what is in the copy.

    Nobody is held up: it is one read of one moment. `DatabaseRefused` with the reason.
    """
    if target.exists():
        raise DatabaseRefused(f"{target} is there already: give a name that is free.")
    temporary = copied(database, target.with_name(f".{target.name}.{secrets.token_hex(4)}"))
    try:
        with checks.reading(temporary) as connection:
            found = checks.inventory(connection, temporary, steps)
        _publish(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return found


def restore(database: Path, source: Path, steps: Sequence[Step], now: int, waits: str) -> Restored:
    """Put a backup in the database's place, marked so that spending waits, and why.

    Only for who holds the database's lock. `DatabaseRefused` for a file that is not fit; the
    database is then as it was. A kill at any moment leaves either the one or the other.
    """
    temporary = database.with_name(f".{database.name}.{secrets.token_hex(4)}")
    try:
        with checks.reading(source) as connection:
            found = checks.inventory(connection, source, steps)
        _check_same_upstream(database, source, found)
        copied(source, temporary)
        _make_ready(temporary, source, steps, now, waits)
        replaced = _set_aside(database, now)
        temporary.rename(database)
        _sync(database.parent)
    finally:
        for suffix in ("", "-wal", "-shm"):
            temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
    return Restored(found, replaced)


def beside(database: Path, word: str, now: int) -> Path:
    """A dated name in the database's folder: `gateway-20261122T093407Z-replaced.db`."""
    stamp = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    name = database.with_name(f"{database.stem}-{stamp}-{word}{database.suffix}")
    return name if not name.exists() else name.with_stem(f"{name.stem}-{secrets.token_hex(2)}")


def copied(database: Path, copy: Path) -> Path:
    """A durable copy of one moment, without what was deleted and lingers in free pages."""
    try:
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with checks.reading(database) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        _sync(copy)
    except (DatabaseRefused, OSError) as error:
        copy.unlink(missing_ok=True)
        if isinstance(error, DatabaseRefused):
            raise
        raise DatabaseRefused(f"{copy.parent} cannot be written to: {error.strerror}.") from error
    return copy


def _publish(temporary: Path, target: Path) -> None:
    """Give a file its name, unless somebody else took that meanwhile."""
    try:
        target.hardlink_to(temporary)
    except FileExistsError:
        raise DatabaseRefused(f"{target} is there already: give a name that is free.") from None
    except OSError:
        # A file system without second names, as network shares and memory sticks have.
        temporary.rename(target)
    _sync(target.parent)


def _check_same_upstream(database: Path, source: Path, found: Inventory) -> None:
    if not database.exists():
        return
    try:
        with checks.reading(database) as connection:
            upstream = checks.upstream_of(connection)
    except DatabaseRefused:
        # A database that cannot be read is the very reason to restore one.
        return
    if None not in (upstream, found.upstream) and upstream != found.upstream:
        raise DatabaseRefused(
            f"{source} belongs to {found.upstream}, the database to {upstream}: real and "
            "simulated money never take each other's place. Use another VGW_DATA_DIR."
        )


def _make_ready(copy: Path, source: Path, steps: Sequence[Step], now: int, waits: str) -> None:
    """Bring a copy to our schema and mark it, so that nothing is bought before somebody looked."""
    connection = connect(copy)
    try:
        apply(connection, pending(connection, steps), now)
        connection.execute("BEGIN IMMEDIATE")
        _doubt_what_was_reserved(connection, now)
        set_mark(connection, SPENDING_WAITS, waits)
        connection.execute(
            "INSERT INTO audit (at, actor, act, target, detail) VALUES (?, ?, ?, ?, '{}')",
            (now, "admin", "database.restore", source.name),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise DatabaseRefused(f"{source} cannot be used as a database: {error}") from error
    finally:
        connection.close()
    _sync(copy)


def _doubt_what_was_reserved(connection: sqlite3.Connection, now: int) -> None:
    """What was only reserved when the backup was made may have been sent since.

    Its outcome is not known: as if being sent, the next start puts it in doubt.
    """
    money = Transactions(connection)
    reserved = connection.execute("SELECT id FROM jobs WHERE state = ?", (State.RESERVED,))
    for (job_id,) in reserved.fetchall():
        money.advance(
            connection,
            job_id,
            Event.SEND,
            now,
            facts={},
            reason="it may have been sent after the backup was made",
            actor=None,
            settle_as=None,
            seen=State.RESERVED,
        )


def _set_aside(database: Path, now: int) -> Path | None:
    """Keep the present database under a second name; it stays until another takes its place."""
    if not database.exists():
        return None
    kept = beside(database, "replaced", now)
    try:
        # Emptied into the database, the log cannot be mistaken for the next one's.
        connection = connect(database)
        connection.close()
    except sqlite3.Error:
        pass
    kept.hardlink_to(database)
    for suffix in ("-wal", "-shm"):
        rest = database.with_name(database.name + suffix)
        if rest.exists():
            rest.rename(kept.with_name(kept.name + suffix))
    _sync(database.parent)
    return kept


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
