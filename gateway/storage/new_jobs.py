"""The row of a job as it begins.

Nothing is decided here; what is inserted stands or falls with its transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.job import Holding, State
from gateway.ports import LedgerBroken
from gateway.records import Job, Order
from gateway.storage.rows import encode

_RESERVED, _HELD = State.RESERVED.value, Holding.RESERVED.value


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


def ordered(order: Order, at: int, remaining: int | None) -> JobRow:
    """The row of an order that is held from a moment on; of its tightest window so many
    micro-dollars remain. It is what `Reserved.job` says.

    Plain texts: any other type SQLite first asks to adapt itself.
    """
    caller = order.caller
    user, micros = caller.user, order.quote.micros
    return JobRow(
        order.id,
        at,
        micros,
        user.name,
        order.idempotency_key,
        caller.key.counts_as,
        user.team,
        order.model,
        _RESERVED,
        _HELD,
        micros,
        remaining,
        order.body_digest,
        json.dumps(order.tags) if order.tags else "[]",
        order.policy,
        order.policy_version,
        order.seconds,
        order.resolution,
        order.upstream_key,
    )


def row_of(job: Job) -> JobRow:
    """The row of a job that begins otherwise."""
    return JobRow(*(encode(getattr(job, name)) for name in JobRow._fields))
