"""A job as it begins: what an order becomes when it is held, and its row.

It decides nothing; what it inserts stands or falls with its transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.job import Holding, State
from gateway.core.money import Money
from gateway.ports import LedgerBroken
from gateway.records import Job, Order


class JobRow(NamedTuple):
    """A new job as its row, by the columns' names."""

    id: str
    created_at: int
    reserved: int
    user: str
    idempotency_key: str | None
    key_id: str
    team: str | None
    model: str
    state: str
    holding: str
    quote: int
    remaining: int | None
    body_digest: str
    tags: str
    policy: str
    policy_version: str
    seconds: int | None
    resolution: str | None
    upstream_key: str | None


_INSERT = (
    f"INSERT INTO jobs ({', '.join(JobRow._fields)}) "
    f"VALUES ({', '.join('?' * len(JobRow._fields))})"
)
_TALLY = (
    "INSERT INTO tallies VALUES (?, ?, 'reserved', ?, ?, 0, 0, 0) ON CONFLICT DO UPDATE SET "
    "jobs = jobs + excluded.jobs, reserved = reserved + excluded.reserved"
)


def insert_jobs(connection: sqlite3.Connection, jobs: Sequence[JobRow]) -> None:
    """Insert jobs that begin, and count them among those there are; `LedgerBroken` where a
    constraint objects.

    A trigger follows their every later move; counting each as it came cost as much as its row.
    """
    counted: dict[tuple[str, str], list[int]] = {}
    for job in jobs:
        tally = counted.setdefault((job.team or "", job.model), [0, 0])
        tally[0] += 1
        tally[1] += job.reserved
    try:
        connection.executemany(_INSERT, jobs)
        connection.executemany(_TALLY, [(*kind, *tally) for kind, tally in counted.items()])
    except sqlite3.IntegrityError as error:
        raise LedgerBroken(f"a new job broke a constraint: {error}") from error


def new_job(order: Order, at: int, remaining: Money | None) -> Job:
    """An order that is held from a moment on."""
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


def row_of(job: Job) -> JobRow:
    """A new job's row. Plain texts: any other type SQLite first asks to adapt itself."""
    return JobRow(
        job.id,
        job.created_at,
        job.reserved.micros,
        job.user,
        job.idempotency_key,
        job.key_id,
        job.team,
        job.model,
        job.state.value,
        job.holding.value,
        job.quote.micros,
        None if job.remaining is None else job.remaining.micros,
        job.body_digest,
        json.dumps(job.tags) if job.tags else "[]",
        job.policy,
        job.policy_version,
        job.seconds,
        job.resolution,
        job.upstream_key,
    )
