"""`ports.Outbox` on the ledger's database: notices, their deliveries and every try.

It reads jobs and entries to find what happened, and never changes them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gateway.core.job import Entry
from gateway.core.notices import Attempt, Delivery, Notice, Telling, Webhook
from gateway.records import Job
from gateway.storage import rows
from gateway.storage.access import Access
from gateway.storage.marks import set_mark

FORGOTTEN_A_ROUND = 500
"""Old notices let go in one transaction: a few milliseconds of the writer's time."""

_SELECT_DELIVERY = (
    "SELECT d.number, d.receiver, d.state, d.attempts, d.since, d.next_at, d.ended_at, "
    "d.last_status, d.last_why, n.id, n.key, n.event, n.subject, n.at, n.team, n.user, n.facts "
    "FROM deliveries AS d JOIN notices AS n ON n.number = d.notice"
)
_JOB = ", ".join(f"j.{column}" for column in rows.JOB_COLUMNS)


class SqliteOutbox:
    """The outbox beside the ledger's tables."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def post(
        self, posted: Sequence[tuple[Notice, Sequence[str]]], marks: Mapping[str, str | None]
    ) -> None:
        """See `ports.Outbox.post`."""

        def work(connection: sqlite3.Connection) -> None:
            for notice, receivers in posted:
                if receivers:
                    _keep(connection, notice, receivers)
            for name, value in marks.items():
                set_mark(connection, name, value)

        await self._access.run(work)

    async def due(self, at: int, resting: Collection[str], limit: int) -> list[Delivery]:
        """See `ports.Outbox.due`."""
        found = await self._access.rows(
            f"{_SELECT_DELIVERY} WHERE d.next_at <= ? "
            "AND d.receiver NOT IN (SELECT value FROM json_each(?)) ORDER BY d.next_at LIMIT ?",
            (at, json.dumps(list(resting)), limit),
        )
        return [_delivery_of(row) for row in found]

    async def tried(self, delivery: Delivery, attempt: Attempt, next_at: int | None) -> None:
        """See `ports.Outbox.tried`."""
        state, ended_at = Telling.WAITING, None
        if next_at is None:
            state = Telling.DELIVERED if attempt.arrived else Telling.GIVEN_UP
            ended_at = attempt.at + attempt.took_ms
        values = (state, next_at, ended_at, attempt.status, attempt.why, delivery.number)

        def work(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "UPDATE deliveries SET state = ?, attempts = attempts + 1, next_at = ?, "
                "ended_at = ?, last_status = ?, last_why = ? WHERE number = ?",
                values,
            )
            if done.rowcount:
                connection.execute(
                    "INSERT INTO attempts (delivery, at, took_ms, status, why) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (delivery.number, attempt.at, attempt.took_ms, attempt.status, attempt.why),
                )

        await self._access.run(work)

    async def deliveries(
        self,
        *,
        event: str | None = None,
        receiver: str | None = None,
        state: Telling | None = None,
        notice: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """See `ports.Outbox.deliveries`."""
        asked = {
            "n.event = ?": event,
            "d.receiver = ?": receiver,
            "d.state = ?": state,
            "n.id = ?": notice,
            "d.number < ?": before,
        }
        given = {clause: value for clause, value in asked.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        found = await self._access.scan(
            f"{_SELECT_DELIVERY}{where} ORDER BY d.number DESC LIMIT ?", [*given.values(), limit]
        )
        return [_delivery_of(row) for row in found]

    async def attempts(self, delivery: int) -> list[Attempt]:
        """The tries of one delivery, oldest first."""
        found = await self._access.scan(
            "SELECT at, took_ms, status, why FROM attempts WHERE delivery = ? ORDER BY number",
            (delivery,),
        )
        return [Attempt(*row) for row in found]

    async def redeliver(self, notice_id: str, receiver: str | None, at: int) -> int:
        """See `ports.Outbox.redeliver`."""

        def work(connection: sqlite3.Connection) -> int:
            done = connection.execute(
                "UPDATE deliveries SET state = 'waiting', since = ?, next_at = ?, attempts = 0, "
                "ended_at = NULL WHERE notice = (SELECT number FROM notices WHERE id = ?) "
                "AND (? IS NULL OR receiver = ?)",
                (at, at, notice_id, receiver, receiver),
            )
            return done.rowcount

        return await self._access.run(work)

    async def forget(self, before: int) -> None:
        """See `ports.Outbox.forget`."""
        found = await self._access.rows(
            "SELECT number FROM notices WHERE at < ? ORDER BY at LIMIT ?",
            (before, FORGOTTEN_A_ROUND),
        )
        if not found:
            return
        gone = json.dumps([row[0] for row in found])
        old = "SELECT value FROM json_each(?)"

        def work(connection: sqlite3.Connection) -> None:
            theirs = f"SELECT number FROM deliveries WHERE notice IN ({old})"
            connection.execute(f"DELETE FROM attempts WHERE delivery IN ({theirs})", (gone,))
            connection.execute(f"DELETE FROM deliveries WHERE notice IN ({old})", (gone,))
            connection.execute(f"DELETE FROM notices WHERE number IN ({old})", (gone,))

        await self._access.run(work)

    async def ended_jobs(self, at: int, number: int, limit: int) -> list[tuple[int, Job]]:
        """See `ports.Outbox.ended_jobs`."""
        found = await self._access.rows(
            f"SELECT j.number, {_JOB} FROM jobs AS j WHERE j.ended_at >= ? "
            "AND (j.ended_at > ? OR j.number > ?) ORDER BY j.ended_at, j.number LIMIT ?",
            (at, at, number, limit),
        )
        return [(row[0], rows.job_of(row[1:])) for row in found]

    async def doubted_jobs(self, after: int, limit: int) -> tuple[list[tuple[int, Job]], int]:
        """See `ports.Outbox.doubted_jobs`."""
        last = (await self._access.rows("SELECT coalesce(max(id), 0) FROM entries"))[0][0]
        found = await self._access.rows(
            f"SELECT e.id, {_JOB} FROM entries AS e JOIN jobs AS j ON j.id = e.job "
            "WHERE e.id > ? AND e.id <= ? AND e.kind = ? ORDER BY e.id LIMIT ?",
            (after, last, Entry.DOUBT, limit),
        )
        jobs = [(row[0], rows.job_of(row[1:])) for row in found]
        return jobs, jobs[-1][0] if len(jobs) == limit else max(last, after)

    async def webhooks(self) -> list[Webhook]:
        """Every user's own webhook."""
        found = await self._access.rows("SELECT user, url, nonce, created_at FROM webhooks")
        return [Webhook(*row) for row in found]

    async def set_webhook(self, webhook: Webhook) -> None:
        """Keep a user's webhook in the place of any before."""
        values = (webhook.user, webhook.url, webhook.nonce, webhook.created_at)
        await self._access.run(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO webhooks VALUES (?, ?, ?, ?)", values
            )
        )

    async def remove_webhook(self, user: str) -> bool:
        """Forget a user's webhook; whether there was one."""
        done = await self._access.run(
            lambda connection: connection.execute("DELETE FROM webhooks WHERE user = ?", (user,))
        )
        return done.rowcount > 0


def _keep(connection: sqlite3.Connection, notice: Notice, receivers: Sequence[str]) -> None:
    facts = json.dumps(dict(notice.facts), ensure_ascii=False)
    done = connection.execute(
        "INSERT INTO notices (id, key, event, subject, at, team, user, facts) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            notice.id,
            notice.key,
            str(notice.event),
            notice.subject,
            notice.at,
            notice.team,
            notice.user,
            facts,
        ),
    )
    if done.rowcount == 1:
        connection.executemany(
            "INSERT INTO deliveries (notice, receiver, since, next_at) VALUES (?, ?, ?, ?)",
            [(done.lastrowid, receiver, notice.at, notice.at) for receiver in receivers],
        )


def _delivery_of(row: Sequence[Any]) -> Delivery:
    """A row of `_SELECT_DELIVERY`."""
    number, receiver, state, attempts, since, next_at, ended_at, status, why, *told = row
    *named, facts = told
    notice_id, key, event, subject, at, team, user = named
    return Delivery(
        number,
        Notice(notice_id, key, event, subject, at, team, user, json.loads(facts)),
        receiver,
        Telling(state),
        attempts,
        since,
        next_at,
        ended_at,
        status,
        why,
    )
