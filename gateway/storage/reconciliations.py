"""Comparisons with Venice's bill as they are kept, and the jobs that a bill is compared with.

It reads jobs and never changes one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

from gateway.core.charges import BilledJob
from gateway.core.job import Holding, State
from gateway.core.money import Money
from gateway.records import Disagreement, Reconciliation
from gateway.storage.access import Access

LATE_MS = 3_600_000
"""An order is sent within its deadline of being reserved; an hour before is looked at, by the index
on the time of reservation."""
IDS_AT_ONCE = 500
_COLUMNS = (
    "number, started_at, ended_at, actor, since, until, is_complete, is_whole, rows, jobs, drift, "
    "corrected, counts, otherwise, findings"
)
_MONEY = ("ours", "billed")
_WAS_SENT = "state NOT IN ('reserved', 'released')"
_SENT_AT = "coalesce(sent_at, created_at)"
"""A reservation out of a backup may have been sent since, and nobody knows when."""


class SqliteReconciliations:
    """`ports.Reconciliations` in the ledger's own database."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def sent(self, since: int) -> list[BilledJob]:
        """The jobs that were sent from a moment on, oldest first."""
        found = await self._access.scan(
            f"SELECT id, queue_id, model, state, {_SENT_AT}, quote, holding, settled, accepted_at, "
            "CASE WHEN queue_id IS NULL THEN (SELECT min(at) FROM entries WHERE job = jobs.id "
            "AND kind = 'doubt') END, user FROM jobs "
            f"WHERE created_at >= ? AND {_SENT_AT} >= ? AND {_WAS_SENT} ORDER BY 5",
            (since - LATE_MS, since),
        )
        return [_billed_job(row) for row in found]

    async def known(self, queue_ids: Collection[str]) -> set[str]:
        """Which of these are queue_ids of jobs of ours."""
        ids, found = list(queue_ids), set()
        for start in range(0, len(ids), IDS_AT_ONCE):
            some = ids[start : start + IDS_AT_ONCE]
            rows = await self._access.scan(
                f"SELECT queue_id FROM jobs WHERE queue_id IN ({', '.join('?' * len(some))})", some
            )
            found |= {row[0] for row in rows}
        return found

    async def sent_before(self, at: int) -> int | None:
        """When the last job before a moment was sent."""
        return await self._moment(
            f"SELECT {_SENT_AT} FROM jobs WHERE created_at < ? AND {_WAS_SENT} "
            "ORDER BY created_at DESC LIMIT 1",
            at,
        )

    async def first_sent(self) -> int | None:
        """When the oldest job was sent."""
        return await self._moment(
            f"SELECT {_SENT_AT} FROM jobs WHERE {_WAS_SENT} ORDER BY created_at LIMIT 1"
        )

    async def oldest_doubt(self) -> int | None:
        """When the oldest job in doubt was sent."""
        return await self._moment(f"SELECT min({_SENT_AT}) FROM jobs WHERE state = 'in_doubt'")

    async def models(self) -> set[str]:
        """The models of all jobs."""
        return {row[0] for row in await self._access.scan("SELECT DISTINCT model FROM tallies")}

    async def _moment(self, sql: str, *values: int) -> int | None:
        rows = await self._access.scan(sql, values)
        return rows[0][0] if rows else None

    async def keep(self, run: Reconciliation) -> Reconciliation:
        """Keep a comparison; it comes back with its number."""
        values = (
            run.started_at,
            run.ended_at,
            run.actor,
            run.since,
            run.until,
            int(run.is_complete),
            int(run.is_whole),
            run.rows,
            run.jobs,
            run.drift.micros,
            run.corrected.micros,
            json.dumps(run.counts),
            json.dumps(run.otherwise),
            json.dumps([_plain(each) for each in run.findings]),
        )
        names = _COLUMNS.removeprefix("number, ")

        def work(connection: sqlite3.Connection) -> int:
            done = connection.execute(
                f"INSERT INTO reconciliations ({names}) VALUES ({', '.join('?' * len(values))})",
                values,
            )
            return done.lastrowid or 0

        return replace(run, number=await self._access.run(work))

    async def page(self, before: int | None, limit: int) -> list[Reconciliation]:
        """Newest first, a page at a time."""
        return await self._read(
            "WHERE number < ? ORDER BY number DESC LIMIT ?",
            2**62 if before is None else before,
            limit,
        )

    async def find(self, number: int) -> Reconciliation | None:
        """One comparison."""
        found = await self._read("WHERE number = ?", number)
        return found[0] if found else None

    async def last_whole(self) -> Reconciliation | None:
        """The newest one since which nothing was left out."""
        found = await self._read("WHERE is_whole = 1 ORDER BY number DESC LIMIT 1")
        return found[0] if found else None

    async def _read(self, where: str, *values: int) -> list[Reconciliation]:
        rows = await self._access.scan(f"SELECT {_COLUMNS} FROM reconciliations {where}", values)
        return [_run(row) for row in rows]


def _billed_job(row: Sequence[Any]) -> BilledJob:
    job_id, queue_id, model, state, sent_at, quote, holding, settled, accepted, lost, user = row
    paid = Money(quote if holding == Holding.RESERVED else settled)
    state, quote = State(state), Money(quote)
    return BilledJob(job_id, queue_id, model, state, sent_at, quote, paid, accepted, lost, user)


def _plain(found: Disagreement) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(found).items() if value is not None}
    amounts = {name: getattr(found, name) for name in _MONEY}
    return fields | {name: money.micros for name, money in amounts.items() if money is not None}


def _found(fields: dict[str, Any]) -> Disagreement:
    amounts = {name: Money(fields[name]) for name in _MONEY if name in fields}
    return Disagreement(**{**fields, **amounts})


def _run(row: Sequence[Any]) -> Reconciliation:
    *fields, drift, corrected, counts, otherwise, findings = row
    number, started_at, ended_at, actor, since, until, is_complete, is_whole, *sizes = fields
    walked, jobs = sizes
    return Reconciliation(
        number=number,
        started_at=started_at,
        ended_at=ended_at,
        actor=actor,
        since=since,
        until=until,
        is_complete=bool(is_complete),
        is_whole=bool(is_whole),
        rows=walked,
        jobs=jobs,
        drift=Money(drift),
        corrected=Money(corrected),
        counts=json.loads(counts),
        otherwise=json.loads(otherwise),
        findings=[_found(each) for each in json.loads(findings)],
    )
