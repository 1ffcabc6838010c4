"""The ledger's transactions on money and jobs, each a function over the write connection.

They run inside the writer's SAVEPOINT: what they raise undoes all they did. Nothing here commits.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.budget import (
    Calendar,
    Limit,
    Passed,
    Span,
    Standing,
    least_left,
    overruns,
    passed,
)
from gateway.core.job import Entry, Event, Holding, State, next_state
from gateway.core.money import Money
from gateway.core.movement import Amounts, Movement, correction, movement
from gateway.ports import AlreadyThere, LedgerBroken, Unknown
from gateway.records import Adoption, Grant, Job, Order, Overrun, Reserved
from gateway.storage import grants, rows
from gateway.storage.adoption import ADOPTED, as_reserved, taken_over
from gateway.storage.balances import Balances, Room, scopes_of
from gateway.storage.sums import Spans

IDEMPOTENCY_MS = 24 * 3_600_000
"""How long an Idempotency-Key is remembered."""

_INSERT_JOB = (
    "INSERT INTO jobs (id, user, key_id, team, model, state, holding, quote, reserved, remaining, "
    "created_at, body_digest, idempotency_key, tags, policy, policy_version, seconds, resolution, "
    "upstream_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_ENTRY = (
    "INSERT INTO entries (job, kind, at, reserved, in_doubt, settled, reason, actor, corrects) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Transactions:
    """What the writer thread remembers between transactions: time, spans and balances."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        last = connection.execute("SELECT max(at) FROM entries").fetchone()[0]
        self._last_at: int = last or 0
        self._spans = Spans()
        self.balances = Balances()
        """To be told by the writer what stands and what is undone."""

    def ledger_time(self, at: int) -> int:
        """The given moment, or the last entry's where the clock went back since."""
        self._last_at = max(self._last_at, at)
        return self._last_at

    def reserve(self, connection: sqlite3.Connection, order: Order, at: int) -> Reserved | Overrun:
        """Hold an order's quote in every window it touches, or in none."""
        at = self.ledger_time(at)
        cursor = connection.cursor()
        if order.idempotency_key is not None:
            _take_idempotency_key(cursor, order.caller.user.name, order.idempotency_key, at)
        spans = self._spans_of(order.limits, order.calendar, at)
        room = self.balances.room(cursor, order.limits, spans, at)
        left = [each for each, _ceiling in room]
        observed: Sequence[Standing] = ()
        if not left or min(left) >= order.quote.micros:
            remaining = _remaining(order, left)
        else:
            # Something lacks room: the core says what that means, by all that is known of it.
            standings = self.balances.standings(cursor, order.limits, spans, at)
            enforced = [s for s in standings if not s.limit.only_observed]
            over = overruns(enforced, order.quote)
            if over:
                return Overrun(over[0])
            remaining = least_left(enforced, order.quote)
            observed = overruns([s for s in standings if s.limit.only_observed], order.quote)
        job = _new_job(order, at, remaining)
        _insert_job(cursor, job)
        held = Movement(Entry.RESERVE, Holding.RESERVED, reserved=order.quote)
        self._write_entry(cursor, job, held, at, reason=order.remark, actor=None)
        return Reserved(job, observed, _passed(order, spans, room, at))

    def adopt(self, connection: sqlite3.Connection, adoption: Adoption, at: int, actor: str) -> Job:
        """Take over a job bought elsewhere: begun and ended at once, for its price is spent."""
        at = self.ledger_time(at)
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM jobs WHERE queue_id = ?", (adoption.queue_id,))
        if cursor.fetchone() is not None:
            raise AlreadyThere(f"there is a job {adoption.queue_id} already")
        job = as_reserved(adoption, at)
        _insert_job(cursor, job)
        began = Movement(Entry.RESERVE, Holding.RESERVED, reserved=job.quote)
        self._write_entry(cursor, job, began, at, reason=ADOPTED, actor=actor)
        changes = taken_over(job, adoption)
        _guarded_update(connection, job, changes)
        ended = Movement(Entry.SETTLE, Holding.SETTLED, -job.quote, settled=job.quote)
        self._write_entry(cursor, job, ended, at, reason=ADOPTED, actor=actor)
        return replace(job, **changes)

    def standings(
        self,
        connection: sqlite3.Connection,
        limits: Sequence[Limit],
        calendar: Calendar,
        at: int,
        *,
        keep: bool = False,
    ) -> list[Standing]:
        """How limits stand at a moment; what had to be added up may be kept as balances."""
        at = max(self._last_at, at)
        spans = self._spans_of(limits, calendar, at)
        return self.balances.standings(connection.cursor(), limits, spans, at, keep=keep)

    def add_grant(self, connection: sqlite3.Connection, grant: Grant) -> None:
        """Raise a limit."""
        self.balances.forget_grants()
        grants.add(connection, grant)

    def revoke_grant(self, connection: sqlite3.Connection, grant_id: str, at: int) -> Grant:
        """End a grant."""
        self.balances.forget_grants()
        return grants.revoke(connection, grant_id, at)

    def _spans_of(self, limits: Sequence[Limit], calendar: Calendar, at: int) -> list[Span]:
        return [self._spans.at(limit.window, at, calendar) for limit in limits]

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
    ) -> Job:
        """Move a job by one event and its money with it; `IllegalEvent` changes nothing."""
        job = find_job(connection, job_id)
        state = next_state(job.state, event)
        change = movement(job.holding, state, _amounts(job), settle_as)
        at = self.ledger_time(at)
        changes = {"state": state, **facts, **_ending(job, state, at), **_moved(job, change)}
        if reason is not None:
            changes["reason"] = reason
        _guarded_update(connection, job, changes)
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
    ) -> Job:
        """Make a settled job's settlement its real cost; its state and its reason stay."""
        job = find_job(connection, job_id)
        change = correction(job.holding, _amounts(job), cost)
        if change is None:
            return job
        at = self.ledger_time(at)
        changes = _moved(job, change)
        _guarded_update(connection, job, changes)
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
        corrects = _entry_to_correct(cursor, job) if change.kind is Entry.CORRECT else None
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


def _take_idempotency_key(cursor: sqlite3.Cursor, user: str, key: str, at: int) -> None:
    """See that an Idempotency-Key is free; `AlreadyThere`, before anything is written, if not."""
    cursor.execute(
        "UPDATE jobs SET idempotency_key = NULL "
        "WHERE user = ? AND idempotency_key = ? AND created_at <= ?",
        (user, key, at - IDEMPOTENCY_MS),
    )
    cursor.execute("SELECT 1 FROM jobs WHERE user = ? AND idempotency_key = ?", (user, key))
    if cursor.fetchone() is not None:
        raise AlreadyThere("this Idempotency-Key is in use")


def _remaining(order: Order, left: Sequence[int]) -> Money | None:
    """What the tightest window has left after an order that every window has room for."""
    enforced = [
        each for limit, each in zip(order.limits, left, strict=True) if not limit.only_observed
    ]
    return Money(min(enforced) - order.quote.micros) if enforced else None


def _passed(order: Order, spans: Sequence[Span], room: Sequence[Room], at: int) -> list[Passed]:
    """The shares of its windows that an order lifts them to."""
    price = order.quote.micros
    found = []
    for limit, span, (left, ceiling) in zip(order.limits, spans, room, strict=True):
        if limit.warn_at and ceiling > 0:
            used = ceiling - left
            found += passed(limit, span, at, ceiling=ceiling, used=used, price=price)
    return found


def _new_job(order: Order, at: int, remaining: Money | None) -> Job:
    return Job(
        id=order.id,
        user=order.caller.user.name,
        key_id=order.caller.key.counts_as,
        team=order.caller.user.team,
        model=order.model,
        state=State.RESERVED,
        holding=Holding.RESERVED,
        created_at=at,
        body_digest=order.body_digest,
        idempotency_key=order.idempotency_key,
        quote=order.quote,
        reserved=order.quote,
        remaining=remaining,
        tags=order.tags,
        policy=order.policy,
        policy_version=order.policy_version,
        seconds=order.seconds,
        resolution=order.resolution,
        upstream_key=order.upstream_key,
    )


def _insert_job(cursor: sqlite3.Cursor, job: Job) -> None:
    try:
        cursor.execute(
            _INSERT_JOB,
            (
                job.id,
                job.user,
                job.key_id,
                job.team,
                job.model,
                str(job.state),
                str(job.holding),
                job.quote.micros,
                job.reserved.micros,
                None if job.remaining is None else job.remaining.micros,
                job.created_at,
                job.body_digest,
                job.idempotency_key,
                json.dumps(job.tags) if job.tags else "[]",
                job.policy,
                job.policy_version,
                job.seconds,
                job.resolution,
                job.upstream_key,
            ),
        )
    except sqlite3.IntegrityError as error:
        raise LedgerBroken(f"a new job broke a constraint: {error}") from error


def _amounts(job: Job) -> Amounts:
    return Amounts(job.quote, job.reserved, job.in_doubt, job.settled)


def _moved(job: Job, change: Movement | None) -> dict[str, Any]:
    """Where a job's money is after a movement."""
    if change is None:
        return {}
    return {
        "holding": change.holding,
        "reserved": job.reserved + change.reserved,
        "in_doubt": job.in_doubt + change.in_doubt,
        "settled": job.settled + change.settled,
    }


def _ending(job: Job, state: State, at: int) -> dict[str, Any]:
    """What a state brings with it beside its money."""
    match state:
        case State.RELEASED | State.REFUSED | State.RELEASED_IN_DOUBT:
            # Nothing was bought: the key is free again and no answer is owed.
            return {
                "idempotency_key": None,
                "answer_owed": False,
                "ended_at": at,
                "copy_gone": True,
            }
        case State.FAILED_BILLED | State.FAILED_REFUNDED | State.LOST:
            return {"ended_at": at, "copy_gone": True, "download_url": None}
        case State.STALLED | State.UNDELIVERABLE:
            return {"ended_at": at, "download_url": None}
        case State.STORED | State.SETTLED_IN_DOUBT:
            return {"ended_at": at}
        case State.PROCESSING if job.ended_at is not None:
            return {"ended_at": None, "copy_gone": False}
        case _:
            return {}


def _guarded_update(connection: sqlite3.Connection, job: Job, changes: Mapping[str, Any]) -> None:
    money = {"state", "holding", "reserved", "in_doubt", "settled"}
    assigned, values = rows.assignments(changes, rows.JOB_FACTS | money)
    guard = (job.id, job.state, job.holding)
    try:
        done = connection.execute(
            f"UPDATE jobs SET {assigned} WHERE id = ? AND state = ? AND holding = ?",
            [*values, *guard],
        )
    except sqlite3.IntegrityError as error:
        if "jobs.queue_id" in str(error):
            raise AlreadyThere("another job has this queue_id") from error
        raise LedgerBroken(f"job {job.id} would break a constraint: {error}") from error
    if done.rowcount != 1:
        raise LedgerBroken(f"job {job.id} was no longer {job.state} when it was to move")


def _entry_to_correct(cursor: sqlite3.Cursor, job: Job) -> int:
    row = cursor.execute("SELECT max(id) FROM entries WHERE job = ?", (job.id,)).fetchone()
    if row[0] is None:
        raise LedgerBroken(f"job {job.id} has no entry to correct")
    found: int = row[0]
    return found
