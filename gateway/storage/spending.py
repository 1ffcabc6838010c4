"""Who spent what: sums over jobs, by user, team, key, model, tag or day."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import Any

import aiosqlite

from gateway.core.job import State
from gateway.core.local_days import offsets
from gateway.core.money import Money
from gateway.records import Spend, Totals

SPEND_BY = ("user", "team", "key", "model", "tag", "day")

_GROUPS = {
    "user": "user",
    "team": "coalesce(team, '')",
    "key": "key_id",
    "model": "model",
    "tag": "coalesce(tag.value, '')",
}

_TOTALS = (
    "SELECT (SELECT json_group_array(json_array(state, reserved, in_doubt, settled, jobs, bytes)) "
    "FROM (SELECT state, sum(reserved) AS reserved, sum(in_doubt) AS in_doubt, "
    "sum(settled) AS settled, sum(jobs) AS jobs, sum(video_bytes) AS bytes "
    "FROM tallies WHERE jobs > 0 GROUP BY state)), "
    "(SELECT json_group_array(json_array(team, model, settled)) "
    "FROM (SELECT team, model, sum(settled) AS settled "
    "FROM tallies WHERE jobs > 0 GROUP BY team, model))"
)
"""One statement, so that both halves are of one moment, and one row: for each of thousands the
interpreter's lock would be let go and waited for."""


async def spend(
    reader: aiosqlite.Connection,
    by: str,
    since: int | None,
    until: int | None,
    user: str | None = None,
    *,
    timezone: tzinfo = UTC,
) -> list[Spend]:
    """Rows of spending, the largest first; days in order, those of the time zone.

    `since` is in, `until` is out, both in Unix milliseconds of the reservation. Jobs count where
    any of their money is or was held for them and not released. With `user`, only that user's.
    """
    group = await _day(reader, timezone) if by == "day" else _GROUPS[by]
    source = "jobs LEFT JOIN json_each(jobs.tags) AS tag" if by == "tag" else "jobs"
    order = "1" if by == "day" else "2 DESC, 1"
    values: Sequence[Any] = (since or 0, until if until is not None else 2**62, user, user)
    cursor = await reader.execute(
        f"SELECT {group}, coalesce(sum(settled), 0), coalesce(sum(reserved), 0), "
        "coalesce(sum(in_doubt), 0), count(*) FILTER (WHERE holding <> 'released') "
        f"FROM {source} WHERE created_at >= ? AND created_at < ? "
        "AND (? IS NULL OR user = ?) "
        f"GROUP BY {group} ORDER BY {order}",
        values,
    )
    found = await cursor.fetchall()
    await cursor.close()
    return [Spend(row[0], Money(row[1]), Money(row[2]), Money(row[3]), row[4]) for row in found]


async def _day(reader: aiosqlite.Connection, timezone: tzinfo) -> str:
    """The expression for the day of a job where the organization is."""
    ((first, last),) = await reader.execute_fetchall(
        "SELECT coalesce(min(created_at), 0), coalesce(max(created_at), 0) FROM jobs"
    )
    ahead = "0"
    for since, offset in offsets(timezone, first, last):
        ahead = f"iif(created_at >= {since}, {offset}, {ahead})"
    return f"strftime('%Y-%m-%d', (created_at + {ahead}) / 1000, 'unixepoch')"


async def totals(reader: aiosqlite.Connection) -> Totals:
    """What metrics show, in one read: one moment of the ledger."""
    ((by_state, by_team),) = await reader.execute_fetchall(_TOTALS)
    # In micro-dollars: there are as many rows as teams times models, and as states.
    reserved = in_doubt = video_bytes = 0
    settled_in: Counter[str] = Counter()
    jobs: Counter[str] = Counter()
    for state, held, doubted, spent, count, stored in json.loads(by_state):
        reserved += held
        in_doubt += doubted
        video_bytes += stored if state == State.STORED else 0
        jobs[state] = count
        settled_in[state] = spent
    settled = {(team, model): Money(spent) for team, model, spent in json.loads(by_team)}
    return Totals(
        Money(reserved),
        Money(in_doubt),
        settled,
        {state: jobs[state] for state in State},
        video_bytes,
        {state: Money(settled_in[state]) for state in State},
    )
