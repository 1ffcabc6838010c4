"""The proof of the books: all that is kept as a sum is summed again, and compared.

It reads one moment of the database, through whatever connection it is given, and mends nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from gateway.core.budget import Scope
from gateway.core.money import Money
from gateway.core.policy import ORGANIZATION_NAME
from gateway.records import Verification
from gateway.storage.sums import SCOPE_COLUMNS

PROBLEMS_SHOWN_MAX = 100
"""Enough to see a pattern; the first one already stops spending."""

_JOBS = (
    "SELECT jobs.id, jobs.reserved - coalesce(summed.reserved, 0) AS reserved_off, "
    "jobs.in_doubt - coalesce(summed.in_doubt, 0) AS in_doubt_off, "
    "jobs.settled - coalesce(summed.settled, 0) AS settled_off "
    "FROM jobs LEFT JOIN (SELECT job, sum(reserved) AS reserved, sum(in_doubt) AS in_doubt, "
    "sum(settled) AS settled FROM entries GROUP BY job) AS summed ON summed.job = jobs.id "
    "WHERE reserved_off <> 0 OR in_doubt_off <> 0 OR settled_off <> 0"
)
_STRAYS = (
    "SELECT job, sum(abs(reserved) + abs(in_doubt) + abs(settled)) FROM entries "
    "WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = entries.job) GROUP BY job"
)
# One scope's jobs in the order in which its balances ask for them, narrow and without a look-up:
# the jobs themselves have no index by team, and rows of half a kilobyte.
_SORT = (
    "CREATE TEMP TABLE sorted (who TEXT, created_at INTEGER, number INTEGER, model TEXT, "
    "reserved INTEGER, in_doubt INTEGER, settled INTEGER, "
    "PRIMARY KEY (who, created_at, number)) WITHOUT ROWID"
)
_FILL = (
    "INSERT INTO sorted SELECT {who}, created_at, number, model, reserved, in_doubt, settled "
    "FROM jobs WHERE {who} IS NOT NULL ORDER BY 1, 2, 3"
)
_BALANCES = (
    "SELECT balances.number, scope || ' ' || balances.id || ' from ' || starts_at, "
    "balances.reserved - coalesce(sum(sorted.reserved), 0) AS reserved_off, "
    "balances.in_doubt - coalesce(sum(sorted.in_doubt), 0) AS in_doubt_off, "
    "balances.settled - coalesce(sum(sorted.settled), 0) AS settled_off "
    "FROM balances LEFT JOIN sorted ON who = balances.id AND created_at >= starts_at "
    "AND created_at < ends_at AND (models = '*' OR model GLOB models) "
    "WHERE scope = ? GROUP BY balances.number "
    "HAVING reserved_off <> 0 OR in_doubt_off <> 0 OR settled_off <> 0"
)
TALLIED = (
    "SELECT coalesce(team, '') AS team, model, state, count(*), sum(reserved), sum(in_doubt), "
    "sum(settled), coalesce(sum(video_bytes), 0) FROM jobs GROUP BY 1, 2, 3"
)
_TALLIES = "SELECT * FROM tallies WHERE jobs > 0"


def verify(connection: sqlite3.Connection) -> Verification:
    """Re-derive every job's amounts from its entries, and every balance from its jobs.

    Each in one statement, during which the interpreter is free for others.
    """
    found = [*differing_jobs(connection)]
    for _, name, off in differing_balances(connection):
        found.append((f"balance of {name} differs by {off} micro-dollars", sum(map(abs, off))))
    drift = sum(amount for _, amount in found)
    problems = [problem for problem, _ in found]
    problems += [
        f"jobs of {row[:3]} are tallied otherwise than they are: {row[3:]}"
        for row in connection.execute(
            f"SELECT * FROM ({TALLIED} EXCEPT {_TALLIES}) "
            f"UNION ALL SELECT * FROM ({_TALLIES} EXCEPT {TALLIED})"
        )
    ]
    entries = connection.execute("SELECT count(*) FROM entries").fetchone()[0]
    return Verification(entries, Money(drift), tuple(problems[:PROBLEMS_SHOWN_MAX]))


def differing_jobs(connection: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    """Jobs and entries that do not agree: what is wrong, and by how many micro-dollars."""
    for job, *off in connection.execute(_JOBS):
        yield f"job {job} differs from its entries by {off} micro-dollars", sum(map(abs, off))
    for job, amount in connection.execute(_STRAYS):
        yield f"there are entries of {job}, which is no job", amount


def differing_balances(connection: sqlite3.Connection) -> Iterator[tuple[int, str, list[int]]]:
    """Balances that are not the sums of their jobs: number, name, by how much each sum is off."""
    for scope in Scope:
        who = SCOPE_COLUMNS.get(scope, f"'{ORGANIZATION_NAME}'")
        connection.execute(_SORT)
        connection.execute(_FILL.format(who=who))
        for number, name, *off in connection.execute(_BALANCES, (scope.value,)).fetchall():
            yield number, name, off
        connection.execute("DROP TABLE sorted")
