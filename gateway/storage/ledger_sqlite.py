"""The ledger on SQLite: one writer thread, read-only readers, and a lock on the file.

It keeps what it is told in whole transactions; it decides nothing about money that `core/` does
not decide.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

import aiosqlite
import structlog

from gateway.core.budget import Calendar, Limit, Standing
from gateway.core.job import Entry, Event, State
from gateway.core.money import Money
from gateway.core.pacing import CallClass
from gateway.core.retention import KeepRules
from gateway.ports import AlreadyThere, DatabaseRefused, LedgerBroken, LedgerFailure, Unknown
from gateway.records import (
    Acts,
    AdminKey,
    Adoption,
    AuditRow,
    EntryRow,
    Grant,
    Job,
    Key,
    Order,
    Overrun,
    RecordedCall,
    Refusal,
    Reserved,
    Spend,
    Totals,
    User,
    Verification,
    VideoTotals,
)
from gateway.storage import grants, listed, marks, repeated, rows, spending, transactions
from gateway.storage.access import Access
from gateway.storage.database import FileLock, prepare, read_only
from gateway.storage.migrate import Step
from gateway.storage.repair import repair
from gateway.storage.verification import verify
from gateway.storage.writer import PAGES_CACHED_KIB, Writer

GATE_CALLS_KEPT_MS = 5 * 60_000
"""Longer than any rate window; older calls say nothing any more."""
PRUNE_EVERY = 200
"""Recorded calls between two clean-ups of old ones."""
REFUSALS_KEPT_MS = 90 * 86_400_000
REFUSALS_OF_A_USER_MAX = 1_000
"""More than anybody reads; a client that asks again and again fills the disk with no more."""
ENTRIES_PAGE = 1_000
CHORES_PAGE = 200
"""Jobs that one round of a chore looks at: a second's work at most."""
_PRUNE_REFUSALS = (
    "DELETE FROM refusals WHERE user = ? AND number <= "
    "(SELECT number FROM refusals WHERE user = ? ORDER BY number DESC LIMIT 1 OFFSET ?)"
)
_log = structlog.get_logger(__name__)


class SqliteLedger:
    """`ports.Ledger` on one SQLite file."""

    def __init__(
        self,
        path: Path,
        lock: FileLock,
        access: Access,
        money: transactions.Transactions,
    ) -> None:
        self._path = path
        self._lock = lock
        self.access = access
        self._money = money
        self._calls_recorded = 0

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        upstream: str | None,
        now: int,
        observe_commit: Callable[[float], None] | None = None,
        observe_broken: Callable[[str], None] | None = None,
        steps: Sequence[Step] | None = None,
    ) -> SqliteLedger:
        """Open, or make, the database; `DatabaseRefused` where it may not be used.

        `upstream` is stamped into a new database, and must be the same ever after: real and
        simulated money never share one. None takes a database as it is, for administration.
        `observe_broken` is told whenever one of the ledger's own assertions trips.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            connection = await asyncio.to_thread(prepare, path, upstream, now, steps)
            readers = [await aiosqlite.connect(read_only(path), uri=True) for _ in range(2)]
            money = transactions.Transactions(connection)
            writer = Writer(connection, observe_commit, observe_broken, money)
            return cls(path, lock, Access(writer, *readers), money)
        except sqlite3.Error as error:
            lock.release()
            raise DatabaseRefused(f"{path} cannot be used as a database: {error}") from error
        except BaseException:
            lock.release()
            raise

    def announce(self, text: str) -> None:
        """Say in the lock file where this process listens."""
        self._lock.say(text)

    async def close(self) -> None:
        """Readers first, then the writer with its last checkpoint, then the lock."""
        await self.access.close()
        self._lock.release()

    # people

    async def add_user(self, user: User) -> None:
        """Add a user; `AlreadyThere` where the name is taken."""
        values = (user.name, user.team, user.policy, user.email, user.disabled_at, user.created_at)

        def work(connection: sqlite3.Connection) -> None:
            _insert(connection, "users", values, f"there is a user {user.name} already")

        await self.access.run(work)

    async def change_user(self, name: str, changes: Mapping[str, Any]) -> User:
        """Change a user's team, policy, email or disabling; money stays where it is."""
        assigned, values = rows.assignments(changes, rows.USER_CHANGES)

        def work(connection: sqlite3.Connection) -> User:
            connection.execute(f"UPDATE users SET {assigned} WHERE name = ?", [*values, name])
            found = _one(connection, f"SELECT {rows.USER_COLUMNS} FROM users WHERE name = ?", name)
            if found is None:
                raise Unknown(f"there is no user {name}")
            return rows.user_of(found)

        return await self.access.run(work)

    async def users(self) -> list[User]:
        """All users, by name."""
        found = await self.access.rows(f"SELECT {rows.USER_COLUMNS} FROM users ORDER BY name")
        return [rows.user_of(row) for row in found]

    async def add_key(self, key: Key) -> None:
        """Add a key; `Unknown` where its user is not there."""

        def work(connection: sqlite3.Connection) -> None:
            if _one(connection, "SELECT 1 FROM users WHERE name = ?", key.user) is None:
                raise Unknown(f"there is no user {key.user}")
            _insert(connection, "keys", rows.key_row(key), "there is such a key already")

        await self.access.run(work)

    async def change_key(self, key_id: str, changes: Mapping[str, Any]) -> Key:
        """Change what may change of a key, its revocation above all."""
        assigned, values = rows.assignments(changes, rows.KEY_CHANGES)

        def work(connection: sqlite3.Connection) -> Key:
            connection.execute(f"UPDATE keys SET {assigned} WHERE id = ?", [*values, key_id])
            found = _one(connection, f"SELECT {rows.KEY_COLUMNS} FROM keys WHERE id = ?", key_id)
            if found is None:
                raise Unknown(f"there is no key {key_id}")
            return rows.key_of(found)

        return await self.access.run(work)

    async def keys(self) -> list[Key]:
        """All keys, oldest first, revoked ones too."""
        found = await self.access.rows(
            f"SELECT {rows.KEY_COLUMNS} FROM keys ORDER BY created_at, id"
        )
        return [rows.key_of(row) for row in found]

    async def admin_keys(self) -> list[AdminKey]:
        """All administrators' keys, by name, revoked ones too."""
        found = await self.access.rows(f"{marks.SELECT_ADMIN_KEY} ORDER BY name")
        return [marks.admin_key_of(row) for row in found]

    async def add_admin_key(self, key: AdminKey) -> None:
        """Add an administrator's key; `AlreadyThere` where the name is taken."""
        values = (key.id, key.name, key.role, key.digest, key.created_at, key.revoked_at)

        def work(connection: sqlite3.Connection) -> None:
            _insert(connection, "admin_keys", values, f"there is an admin key {key.name} already")

        await self.access.run(work)

    async def revoke_admin_key(self, name: str, at: int) -> AdminKey:
        """See `ports.Ledger.revoke_admin_key`."""
        return await self.access.run(
            lambda connection: marks.revoke_admin_key(connection, name, at)
        )

    async def add_grant(self, grant: Grant) -> None:
        """Raise a limit."""
        await self.access.run(lambda connection: self._money.add_grant(connection, grant))

    async def revoke_grant(self, grant_id: str, at: int) -> Grant:
        """See `ports.Ledger.revoke_grant`."""
        return await self.access.run(
            lambda connection: self._money.revoke_grant(connection, grant_id, at)
        )

    async def grants(self) -> list[Grant]:
        """All grants, newest first, ended ones too."""
        return [grants.grant_of(row) for row in await self.access.rows(grants.SELECT)]

    # money

    async def reserve(self, order: Order, at: int) -> Reserved | Overrun:
        """See `ports.Ledger.reserve`."""
        return await self.access.run(
            lambda connection: self._money.reserve(connection, order, at), holds_back=True
        )

    async def advance(
        self,
        job_id: str,
        event: Event,
        at: int,
        *,
        facts: Mapping[str, Any] | None = None,
        reason: str | None = None,
        actor: str | None = None,
        settle_as: Money | None = None,
        seen: State | None = None,
    ) -> Job:
        """See `ports.Ledger.advance`."""
        return await self.access.run(
            lambda connection: self._money.advance(
                connection,
                job_id,
                event,
                at,
                facts=facts or {},
                reason=reason,
                actor=actor,
                settle_as=settle_as,
                seen=seen,
            )
        )

    async def adopt(self, adoption: Adoption, at: int, actor: str) -> Job:
        """See `ports.Ledger.adopt`."""
        return await self.access.run(
            lambda connection: self._money.adopt(connection, adoption, at, actor)
        )

    async def correct(
        self, job_id: str, cost: Money, at: int, *, reason: str, actor: str, seen: State
    ) -> Job:
        """See `ports.Ledger.correct`."""
        return await self.access.run(
            lambda connection: self._money.correct(
                connection, job_id, cost, at, reason=reason, actor=actor, seen=seen
            )
        )

    async def note(self, job_id: str, facts: Mapping[str, Any]) -> Job:
        """See `ports.Ledger.note`."""
        return await self.access.run(
            lambda connection: transactions.note(connection, job_id, facts)
        )

    async def standings(
        self, limits: Sequence[Limit], calendar: Calendar, at: int, *, keep: bool = False
    ) -> list[Standing]:
        """How limits stand now; it makes balances only where they are to be kept."""

        def work(_connection: sqlite3.Connection) -> list[Standing]:
            return self._money.standings(limits, calendar, at, keep=keep)

        return await self.access.run(work)

    async def spend(
        self,
        by: str,
        since: int | None,
        until: int | None,
        user: str | None = None,
        *,
        timezone: tzinfo = UTC,
    ) -> list[Spend]:
        """See `ports.Ledger.spend`."""
        scanner = self.access.scanner
        return await spending.spend(scanner, by, since, until, user, timezone=timezone)

    async def totals(self) -> Totals:
        """The sums that metrics show, all of one moment."""
        return await spending.totals(self.access.scanner)

    async def verify(self) -> Verification:
        """Re-derive all amounts and balances, at one moment and beside the writer.

        Only the comparison with what the writer remembers, a short one, is its own work.
        """
        found = await asyncio.to_thread(_verified, self._path)
        others = await self.access.run(self._money.balances.differences)
        return replace(found, problems=(*found.problems, *others))

    async def repair(self) -> int:
        """See `ports.Ledger.repair`."""

        def work(connection: sqlite3.Connection) -> int:
            self._money.balances.forget()
            return repair(connection)

        return await self.access.run(work)

    async def entry_count(self) -> int:
        """How many entries there are: ids have no gaps, for none is ever deleted."""
        return int((await self.access.rows("SELECT coalesce(max(id), 0) FROM entries"))[0][0])

    async def entries(
        self,
        after: int = 0,
        *,
        job: str | None = None,
        kind: Entry | None = None,
        at_once: int = ENTRIES_PAGE,
    ) -> AsyncIterator[EntryRow]:
        """See `ports.Ledger.entries`."""
        last = after
        while page := await self.access.scan(
            *listed.entries(last, job=job, kind=kind, limit=at_once)
        ):
            for row in page:
                yield rows.entry_of(row)
            last = page[-1][0]

    async def entries_of(self, job_id: str) -> list[EntryRow]:
        """A job's entries, oldest first."""
        found = await self.access.rows(f"{rows.SELECT_ENTRY} WHERE job = ? ORDER BY id", (job_id,))
        return [rows.entry_of(row) for row in found]

    # jobs

    async def job(self, id_or_queue_id: str) -> Job | None:
        """A job by its own id or by Venice's."""
        found = await self.access.rows(
            f"{rows.SELECT_JOB} WHERE id = ? OR queue_id = ?", (id_or_queue_id, id_or_queue_id)
        )
        return rows.job_of(found[0]) if found else None

    async def jobs(
        self,
        *,
        states: Iterable[State] = (),
        user: str | None = None,
        team: str | None = None,
        model: str | None = None,
        key: str | None = None,
        since: int | None = None,
        until: int | None = None,
        delivered: bool | None = None,
        suspicious: bool | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """See `ports.Ledger.jobs`."""
        asked = listed.jobs(
            states=list(states),
            user=user,
            team=team,
            model=model,
            key=key,
            since=since,
            until=until,
            delivered=delivered,
            suspicious=suspicious,
            before=before,
            limit=limit,
        )
        return [rows.job_of(row) for row in await self.access.scan(*asked)]

    async def twins(self, key_id: str, body_digest: str, since: int, known_since: int) -> list[Job]:
        """See `ports.Ledger.twins`."""
        asked = repeated.twins(key_id, body_digest, since, known_since)
        return [rows.job_of(row) for row in await self.access.rows(*asked)]

    async def idempotent(self, user: str, idempotency_key: str, since: int) -> Job | None:
        """See `ports.Ledger.idempotent`."""
        found = await self.access.rows(*repeated.bound(user, idempotency_key, since))
        return rows.job_of(found[0]) if found else None

    async def purgeable(self, rules: KeepRules, now: int) -> list[Job]:
        """Jobs whose time has come, the longest stored first.

        Of evicted ones those whose copy Venice still has: it goes when ours would have gone.
        """
        due = (
            "((delivered_at IS NULL AND stored_at <= ?) OR max(stored_at, delivered_at) <= ? "
            "OR (? AND (completed_at IS NOT NULL "
            "OR (delete_wanted AND max(stored_at, delivered_at) <= ?))))"
        )
        values = (
            now - rules.keep_undelivered,
            now - rules.keep,
            rules.purge_on_complete,
            now - rules.grace,
        )
        found = await self.access.scan(
            f"{rows.SELECT_JOB} INDEXED BY jobs_with_videos WHERE state = 'stored' AND {due} "
            f"UNION ALL {rows.SELECT_JOB} INDEXED BY jobs_with_copies WHERE state = 'evicted' "
            f"AND copy_gone = 0 AND ended_at IS NOT NULL AND {due} ORDER BY stored_at LIMIT ?",
            (*values, *values, CHORES_PAGE),
        )
        return [rows.job_of(row) for row in found]

    async def stored_ids(self) -> list[str]:
        """The ids of all jobs whose video is stored."""
        return [
            row[0] for row in await self.access.scan("SELECT id FROM jobs WHERE state = 'stored'")
        ]

    async def video_totals(self) -> VideoTotals:
        """How many videos are stored, and how many of them nobody has yet."""
        return marks.video_totals_of((await self.access.scan(marks.SELECT_VIDEO_TOTALS))[0])

    async def copies(self, resting: Collection[str] = ()) -> list[Job]:
        """Jobs whose copy at Venice is needed no more and not gone yet, the oldest first.

        An evicted video may be asked for again, so its copy stays for that; a private one's link
        cannot be followed twice.
        """
        found = await self.access.scan(
            f"{rows.SELECT_JOB} INDEXED BY jobs_with_copies "
            "WHERE copy_gone = 0 AND ended_at IS NOT NULL AND (state IN ('stored', 'purged') "
            "OR (state = 'evicted' AND (completed_at IS NOT NULL OR is_private = 1))) "
            "AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY ended_at LIMIT ?",
            (json.dumps(list(resting)), CHORES_PAGE),
        )
        return [rows.job_of(row) for row in found]

    # the rest

    async def record_call(self, call: RecordedCall) -> None:
        """Remember an upstream call, durably, before it is made."""
        values = (call.call_class, call.user, call.at, call.failed_at)
        self._calls_recorded += 1
        prune = self._calls_recorded % PRUNE_EVERY == 0

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO gate_calls (class, user, at, failed_at) VALUES (?, ?, ?, ?)", values
            )
            if prune:
                old = call.at - GATE_CALLS_KEPT_MS
                connection.execute("DELETE FROM gate_calls WHERE at < ?", (old,))

        await self.access.run(work)

    async def recorded_calls(self, since: int) -> list[RecordedCall]:
        """Upstream calls from a moment on, oldest first."""
        found = await self.access.rows(
            "SELECT class, user, at, failed_at FROM gate_calls WHERE at >= ? ORDER BY at", (since,)
        )
        return [RecordedCall(CallClass(row[0]), *row[1:]) for row in found]

    async def refuse(
        self,
        *,
        at: int,
        user: str,
        key_id: str,
        code: str,
        rule: str,
        model: str,
        amount: Money | None,
    ) -> None:
        """See `ports.Ledger.refuse`."""
        values = (at, user, key_id, code, rule, model, rows.encode(amount))

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO refusals (at, user, key_id, code, rule, model, amount) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            connection.execute("DELETE FROM refusals WHERE at < ?", (at - REFUSALS_KEPT_MS,))
            connection.execute(_PRUNE_REFUSALS, (user, user, REFUSALS_OF_A_USER_MAX))

        try:
            await self.access.run(work)
        except LedgerFailure as error:
            _log.warning("refusal.not_kept", user=user, code=code, error=str(error))

    async def refusals(self, user: str, before: int | None, limit: int) -> list[Refusal]:
        """A user's refusals, newest first, a page at a time."""
        found = await self.access.scan(
            f"{rows.SELECT_REFUSAL} WHERE user = ? AND number < ? ORDER BY number DESC LIMIT ?",
            (user, 2**62 if before is None else before, limit),
        )
        return [rows.refusal_of(row) for row in found]

    async def audit(self, *, at: int, actor: str, act: str, target: str, detail: str) -> None:
        """Keep an administrative act."""
        values = (at, actor, act, target, detail)
        await self.access.run(
            lambda connection: connection.execute(
                "INSERT INTO audit (at, actor, act, target, detail) VALUES (?, ?, ?, ?, ?)", values
            )
        )

    async def audits(self, which: Acts, before: int | None, limit: int) -> list[AuditRow]:
        """See `ports.Ledger.audits`."""
        asked = listed.audits(which, before, limit)
        return [marks.audit_of(row) for row in await self.access.scan(*asked)]

    async def mark(self, name: str) -> str | None:
        """What is remembered of the database itself under a name."""
        found = await self.access.rows("SELECT value FROM meta WHERE name = ?", (name,))
        return found[0][0] if found else None

    async def set_mark(self, name: str, value: str | None) -> None:
        """Remember a text under a name, or forget it."""
        await self.access.run(lambda connection: marks.set_mark(connection, name, value))


def _verified(path: Path) -> Verification:
    """Verify one moment of a database, on a connection of its own."""
    reading = read_only(path)
    try:
        with closing(sqlite3.connect(reading, uri=True, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA cache_size = -{PAGES_CACHED_KIB}")
            connection.execute("BEGIN")
            return verify(connection)
    except sqlite3.Error as error:
        raise LedgerFailure(f"the database could not be read: {error}") from error


def _one(connection: sqlite3.Connection, sql: str, value: str) -> Any:
    return connection.execute(sql, (value,)).fetchone()


def _insert(connection: sqlite3.Connection, table: str, values: Sequence[Any], taken: str) -> None:
    marks = ", ".join("?" * len(values))
    try:
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)
    except sqlite3.IntegrityError as error:
        if "UNIQUE" in str(error) or "PRIMARY" in str(error):
            raise AlreadyThere(taken) from error
        raise LedgerBroken(f"{table}: {error}") from error
