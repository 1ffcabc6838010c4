"""What moves with a job: its row, guarded by where it stood, and what its new state brings along.

Which state and which amounts those are, `core/` has decided.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from gateway.core.job import State
from gateway.core.movement import Amounts, Movement
from gateway.ports import AlreadyThere, LedgerBroken
from gateway.records import Job
from gateway.storage import rows


def amounts_of(job: Job) -> Amounts:
    """A job's money, as movements take it."""
    return Amounts(job.quote, job.reserved, job.in_doubt, job.settled)


def moved(job: Job, change: Movement | None) -> dict[str, Any]:
    """Where a job's money is after a movement."""
    if change is None:
        return {}
    return {
        "holding": change.holding,
        "reserved": job.reserved + change.reserved,
        "in_doubt": job.in_doubt + change.in_doubt,
        "settled": job.settled + change.settled,
    }


def ending(job: Job, state: State, at: int) -> dict[str, Any]:
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
        case State.IN_DOUBT:
            return {"doubted_at": at}
        case State.PROCESSING if job.ended_at is not None:
            return {"ended_at": None, "copy_gone": False}
        case _:
            return {}


def guarded_update(connection: sqlite3.Connection, job: Job, changes: Mapping[str, Any]) -> None:
    """Change a job that stands as it was read; `LedgerBroken` where it has moved since."""
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


def entry_to_correct(cursor: sqlite3.Cursor, job: Job) -> int:
    """The entry that a correction of a job names: its last."""
    row = cursor.execute("SELECT max(id) FROM entries WHERE job = ?", (job.id,)).fetchone()
    if row[0] is None:
        raise LedgerBroken(f"job {job.id} has no entry to correct")
    found: int = row[0]
    return found
