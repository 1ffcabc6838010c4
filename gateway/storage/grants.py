"""Grants: limits raised for a time. They are added and ended, never changed, and move no money."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from gateway.core.budget import Scope
from gateway.core.money import Money
from gateway.ports import Unknown
from gateway.records import Grant

_COLUMNS = "id, scope, scope_id, window, amount, until, why, actor, created_at, revoked_at"
SELECT = f"SELECT {_COLUMNS} FROM grants ORDER BY created_at DESC, id"


def grant_of(row: Sequence[Any]) -> Grant:
    """A row of `SELECT`."""
    grant_id, scope, scope_id, window, amount, *rest = row
    return Grant(grant_id, Scope(scope), scope_id, window, Money(amount), *rest)


def add(connection: sqlite3.Connection, grant: Grant) -> None:
    """Keep a new grant."""
    connection.execute(
        "INSERT INTO grants VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            grant.id,
            grant.scope,
            grant.scope_id,
            grant.window,
            grant.amount.micros,
            grant.until,
            grant.why,
            grant.actor,
            grant.created_at,
            grant.revoked_at,
        ),
    )


def revoke(connection: sqlite3.Connection, grant_id: str, at: int) -> Grant:
    """End a grant; `Unknown` where there is none that is not ended already."""
    done = connection.execute(
        "UPDATE grants SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL AND until > ?",
        (at, grant_id, at),
    )
    if done.rowcount != 1:
        raise Unknown(f"there is no grant {grant_id} that has not ended")
    row = connection.execute(f"SELECT {_COLUMNS} FROM grants WHERE id = ?", (grant_id,)).fetchone()
    return grant_of(row)
