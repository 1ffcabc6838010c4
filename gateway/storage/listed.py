"""The SQL of lists that grow for ever: a page at a time, by an index where one knows the answer,
else by a walk from where the page begins to where it is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.job import Entry, State
from gateway.records import Acts
from gateway.storage import marks, rows

END = 2**62
"""No row has a greater number, and no moment is later."""
Asked = tuple[str, list[Any]]


def jobs(
    *,
    states: Sequence[State],
    user: str | None,
    team: str | None,
    model: str | None,
    key: str | None,
    since: int | None,
    until: int | None,
    delivered: bool | None,
    suspicious: bool | None,
    before: str | None,
    limit: int,
) -> Asked:
    """Newest first."""
    clauses = _wanted(
        {
            "team = ?": team,
            "model = ?": model,
            "key_id = ?": key,
            "(delivered_at IS NOT NULL) = ?": delivered,
            "is_suspicious = ?": suspicious,
        }
    )
    if states:
        clauses.append((f"state IN ({', '.join('?' * len(states))})", list(states)))
    has_period = since is not None or until is not None
    period = [0 if since is None else since, END if until is None else until]
    within = " AND created_at >= ? AND created_at < ?" if has_period else ""
    if user is not None:
        values = [user, *period] if has_period else [user]
        clauses.append((f"number IN ({_OF_USER.format(within=within)})", values * 2))
    elif has_period:
        clauses.append((f"number IN ({_WITHIN})", period))
    if before is not None:
        clauses.append(("number < (SELECT number FROM jobs WHERE id = ?)", [before]))
    return _page(rows.SELECT_JOB, clauses, "number DESC", limit)


# Each half by its own index: what is held lies by time, for every reservation writes it.
_OF_USER = (
    "SELECT number FROM jobs INDEXED BY jobs_by_user "
    "WHERE user = ? AND holding <> 'reserved'{within} UNION ALL "
    "SELECT number FROM jobs INDEXED BY jobs_held "
    "WHERE user = ? AND holding = 'reserved'{within}"
)
_WITHIN = "SELECT number FROM jobs INDEXED BY jobs_by_time WHERE created_at >= ? AND created_at < ?"


def entries(after: int, *, job: str | None, kind: Entry | None, limit: int) -> Asked:
    """Oldest first; of one job by its index."""
    clauses = _wanted({"job = ?": job, "kind = ?": kind})
    by_job = "" if job is None else " INDEXED BY entries_by_job"
    return _page(f"{rows.SELECT_ENTRY}{by_job}", [*clauses, ("id > ?", [after])], "id", limit)


def audits(which: Acts, before: int | None, limit: int) -> Asked:
    """Newest first."""
    clauses = _wanted(
        {
            "number < ?": before,
            "actor = ?": which.actor,
            "act = ?": which.act,
            "target = ?": which.target,
            "at >= ?": which.since,
            "at < ?": which.until,
        }
    )
    return _page(marks.SELECT_AUDIT, clauses, "number DESC", limit)


def _wanted(values: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    return [(clause, [value]) for clause, value in values.items() if value is not None]


def _page(select: str, clauses: Sequence[tuple[str, list[Any]]], order: str, limit: int) -> Asked:
    where = f" WHERE {' AND '.join(clause for clause, _ in clauses)}" if clauses else ""
    values = [value for _, more in clauses for value in more]
    return f"{select}{where} ORDER BY {order} LIMIT ?", [*values, limit]
