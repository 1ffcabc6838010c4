"""The ledger's transactions on money and jobs, each a function over the write connection.

What they raise undoes all they did, by the writer's doing. A reservation's rows are held back for
its group; everything else is written at once. Nothing here commits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.budget import (
    Calendar,
    Limit,
    Standing,
    least_left,
    overruns,
)
from gateway.core.job import Entry, Event, Holding, IllegalEvent, State, next_state
from gateway.core.money import Money
from gateway.core.movement import Movement, correction, movement
from gateway.ports import AlreadyThere, Unknown
from gateway.records import Adoption, Grant, Job, Order, Overrun, Reserved
from gateway.storage import grants, repeated, rows
from gateway.storage.adoption import ADOPTED, as_reserved, taken_over
from gateway.storage.balances import Balances, scopes_of
from gateway.storage.job_moves import (
    amounts_of,
    ending,
    entry_to_correct,
    guarded_update,
    moved,
)
from gateway.storage.new_jobs import insert_jobs, ordered, row_of
from gateway.storage.room import passed_by, tightest
from gateway.storage.unwritten import Unwritten, WrittenFirst

IDEMPOTENCY_MS = 24 * 3_600_000
"""How long an Idempotency-Key is remembered."""

_INSERT_ENTRY = (
    "INSERT INTO entries (job, kind, at, reserved, in_doubt, settled, reason, actor, corrects) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Transactions:
    """What the writer thread remembers between transactions: time, spans and balances."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        last = connection.execute("SELECT max(at) FROM entries").fetchone()[0]
        self._last_at: int = last or 0
        self.balances = Balances()
        self._unwritten = Unwritten()
        self._reader = WrittenFirst(connection, self._unwritten)

    # as `memory.Memory`, told and asked by the writer

    def keep(self) -> None:
        """What the last function did stands."""
        self.balances.keep()
        self._unwritten.keep()

    def undo(self) -> None:
        """What the last function did is undone."""
        self.balances.undo()
        self._unwritten.undo()

    def forget(self) -> None:
        """What a whole group of functions did is undone."""
        self.balances.forget()
        self._unwritten.forget()

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what reservations have held back."""
        self._unwritten.write(connection)

    def changes(self, connection: sqlite3.Connection) -> int:
        """A count that moves when a function writes or holds back, and not when `write` does."""
        return connection.total_changes - self._unwritten.changes + self._unwritten.taken

    # the transactions

    def ledger_time(self, at: int) -> int:
        """The given moment, or the last entry's where the clock went back since."""
        self._last_at = max(self._last_at, at)
        return self._last_at

    def reserve(self, connection: sqlite3.Connection, order: Order, at: int) -> Reserved | Overrun:
        """Hold an order's quote in every window it touches, or in none.

        Its rows are held back: they are written by `write`, or before anything is read.
        """
        at = self.ledger_time(at)
        caller = order.caller
        if order.idempotency_key is not None:
            self._take_idempotency_key(connection, caller.user.name, order.idempotency_key, at)
        reader = self._reader
        room = self.balances.room(reader, order.limits, order.calendar, at)
        least = tightest(order.limits, room)
        observed: Sequence[Standing] = ()
        if least.left >= order.quote.micros:
            remaining = least.remaining(order.quote)
        else:
            # Something lacks room: the core says what that means, by all that is known of it.
            standings = self.balances.standings(reader, order.limits, order.calendar, at)
            enforced = [s for s in standings if not s.limit.only_observed]
            over = overruns(enforced, order.quote)
            if over:
                return Overrun(over[0])
            remaining = least_left(enforced, order.quote)
            observed = overruns([s for s in standings if s.limit.only_observed], order.quote)
        row = ordered(order, at, None if remaining is None else remaining.micros)
        who = (row.key_id, row.user, row.team)
        numbers = self.balances.take(reader, who, at, row.model, row.reserved)
        self._unwritten.add(row, order.remark, numbers)
        if not least.warns:
            return Reserved(order, at, remaining, observed)
        spans = self.balances.spans(order.limits, order.calendar, at)
        return Reserved(order, at, remaining, observed, passed_by(order, spans, room, at))

    def _take_idempotency_key(
        self, connection: sqlite3.Connection, user: str, key: str, at: int
    ) -> None:
        """See that an Idempotency-Key is free; `AlreadyThere`, before anything is written, if not.

        Nothing held back is old enough to lose its key here, so it need not be written first.
        """
        repeated.unbind(connection, user, key, at - IDEMPOTENCY_MS)
        taken = connection.execute(
            "SELECT 1 FROM jobs WHERE user = ? AND idempotency_key = ?", (user, key)
        )
        if self._unwritten.binds(user, key) or taken.fetchone() is not None:
            raise AlreadyThere("this Idempotency-Key is in use")

    def adopt(self, connection: sqlite3.Connection, adoption: Adoption, at: int, actor: str) -> Job:
        """Take over a job bought elsewhere: begun and ended at once, for its price is spent."""
        self.write(connection)
        at = self.ledger_time(at)
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM jobs WHERE queue_id = ?", (adoption.queue_id,))
        if cursor.fetchone() is not None:
            raise AlreadyThere(f"there is a job {adoption.queue_id} already")
        job = as_reserved(adoption, at)
        insert_jobs(connection, [row_of(job)])
        began = Movement(Entry.RESERVE, Holding.RESERVED, reserved=job.quote)
        self._write_entry(cursor, job, began, at, reason=ADOPTED, actor=actor)
        changes = taken_over(job, adoption)
        guarded_update(connection, job, changes)
        ended = Movement(Entry.SETTLE, Holding.SETTLED, -job.quote, settled=job.quote)
        self._write_entry(cursor, job, ended, at, reason=ADOPTED, actor=actor)
        return replace(job, **changes)

    def standings(
        self,
        limits: Sequence[Limit],
        calendar: Calendar,
        at: int,
        *,
        keep: bool = False,
    ) -> list[Standing]:
        """How limits stand at a moment; what had to be added up may be kept as balances."""
        at = max(self._last_at, at)
        return self.balances.standings(self._reader, limits, calendar, at, keep=keep)

    def add_grant(self, connection: sqlite3.Connection, grant: Grant) -> None:
        """Raise a limit."""
        self.balances.forget_grants()
        grants.add(connection, grant)

    def revoke_grant(self, connection: sqlite3.Connection, grant_id: str, at: int) -> Grant:
        """End a grant."""
        self.balances.forget_grants()
        return grants.revoke(connection, grant_id, at)

    def advance(
        self,
        connection: sqlite3.Connection,
        job_id: str,
        event: Event,
        at: int,
        *,
        facts: Mapping[str, Any],
        reason: str | None,
        actor: str | None,
        settle_as: Money | None,
        seen: State | None = None,
    ) -> Job:
        """Move a job by one event and its money with it; `IllegalEvent` changes nothing."""
        self.write(connection)
        job = _as_seen(find_job(connection, job_id), seen)
        state = next_state(job.state, event)
        change = movement(job.holding, state, amounts_of(job), settle_as)
        at = self.ledger_time(at)
        changes = {"state": state, **facts, **ending(job, state, at), **moved(job, change)}
        if reason is not None:
            changes["reason"] = reason
        guarded_update(connection, job, changes)
        if change is not None:
            cursor = connection.cursor()
            self._write_entry(cursor, job, change, at, reason=reason, actor=actor)
        return replace(job, **changes)

    def correct(
        self,
        connection: sqlite3.Connection,
        job_id: str,
        cost: Money,
        at: int,
        *,
        reason: str,
        actor: str,
        seen: State,
    ) -> Job:
        """Make a settled job's settlement its real cost; its state and its reason stay."""
        self.write(connection)
        job = _as_seen(find_job(connection, job_id), seen)
        change = correction(job.holding, amounts_of(job), cost)
        if change is None:
            return job
        at = self.ledger_time(at)
        changes = moved(job, change)
        guarded_update(connection, job, changes)
        self._write_entry(connection.cursor(), job, change, at, reason=reason, actor=actor)
        return replace(job, **changes)

    def _write_entry(
        self,
        cursor: sqlite3.Cursor,
        job: Job,
        change: Movement,
        at: int,
        *,
        reason: str | None,
        actor: str | None,
    ) -> None:
        corrects = entry_to_correct(cursor, job) if change.kind is Entry.CORRECT else None
        cursor.execute(
            _INSERT_ENTRY,
            (
                job.id,
                str(change.kind),
                at,
                change.reserved.micros,
                change.in_doubt.micros,
                change.settled.micros,
                reason,
                actor,
                corrects,
            ),
        )
        scopes = scopes_of(job.key_id, job.user, job.team)
        self.balances.move(cursor, scopes, job.created_at, job.model, change, at=at)


def _as_seen(job: Job, seen: State | None) -> Job:
    """The job, where it is as whoever judged it saw it; `IllegalEvent` where it has moved since."""
    if seen is not None and job.state is not seen:
        raise IllegalEvent(f"the job was {seen} when it was judged, and is {job.state}")
    return job


def note(connection: sqlite3.Connection, job_id: str, facts: Mapping[str, Any]) -> Job:
    """Record facts that move neither state nor money."""
    assigned, values = rows.assignments(facts, rows.JOB_FACTS)
    connection.execute(f"UPDATE jobs SET {assigned} WHERE id = ?", [*values, job_id])
    return find_job(connection, job_id)


def find_job(connection: sqlite3.Connection, job_id: str) -> Job:
    """The job by its own id, or `Unknown`."""
    row = connection.execute(f"{rows.SELECT_JOB} WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise Unknown(f"there is no job {job_id}")
    return rows.job_of(row)
