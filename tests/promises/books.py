"""A running gateway's books, read from its database without a lock: for looking, never writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from gateway.records import Job
from gateway.storage import balances, rows
from tests.gateway_process import GatewayProcess

MICROS = Decimal(1_000_000)


@contextmanager
def reading(gateway: GatewayProcess) -> Iterator[sqlite3.Connection]:
    """One moment of a gateway's database."""
    path = gateway.data_dir / "gateway.db"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    try:
        # One read of everything: entries and balances of one moment.
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()


def assert_books_balance(gateway: GatewayProcess) -> None:
    """Every balance, derived again from the entries, differs by nothing."""
    with reading(gateway) as connection:
        found = balances.verify(connection)
    assert found.is_sound, found


def jobs_of(gateway: GatewayProcess) -> list[Job]:
    """All jobs, oldest first."""
    with reading(gateway) as connection:
        found = connection.execute(f"{rows.SELECT_JOB} ORDER BY created_at, id").fetchall()
    return [rows.job_of(row) for row in found]


def job_of(gateway: GatewayProcess, any_id: str) -> Job:
    """One job, by either id."""
    return next(job for job in jobs_of(gateway) if any_id in (job.id, job.queue_id))


def settled(gateway: GatewayProcess) -> Decimal:
    """What all jobs together did cost, in dollars."""
    return Decimal(sum(job.settled.micros for job in jobs_of(gateway))) / MICROS
