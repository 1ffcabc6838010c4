"""What is remembered of the database itself: short texts by name, and whom administration knows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from gateway.ports import Unknown
from gateway.records import AdminKey, AuditRow, VideoTotals

SELECT_ADMIN_KEY = "SELECT id, name, role, digest, created_at, revoked_at FROM admin_keys"
SELECT_AUDIT = "SELECT number, at, actor, act, target, detail FROM audit"
SELECT_VIDEO_TOTALS = (
    "SELECT count(*), coalesce(sum(video_bytes), 0), "
    "count(*) FILTER (WHERE delivered_at IS NULL), "
    "coalesce(sum(video_bytes) FILTER (WHERE delivered_at IS NULL), 0) "
    "FROM jobs WHERE state = 'stored'"
)


def set_mark(connection: sqlite3.Connection, name: str, value: str | None) -> None:
    """Remember a text under a name, or forget it."""
    if value is None:
        connection.execute("DELETE FROM meta WHERE name = ?", (name,))
        return
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def admin_key_of(row: Sequence[Any]) -> AdminKey:
    """A row of `SELECT_ADMIN_KEY`."""
    return AdminKey(*row)


def revoke_admin_key(connection: sqlite3.Connection, name: str, at: int) -> AdminKey:
    """End an administrator's key; `Unknown` where there is none of that name that opens."""
    done = connection.execute(
        "UPDATE admin_keys SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL", (at, name)
    )
    if done.rowcount != 1:
        raise Unknown(f"there is no admin key {name} that opens anything")
    row = connection.execute(f"{SELECT_ADMIN_KEY} WHERE name = ?", (name,)).fetchone()
    return admin_key_of(row)


def audit_of(row: Sequence[Any]) -> AuditRow:
    """A row of `SELECT_AUDIT`."""
    return AuditRow(*row)


def video_totals_of(row: Sequence[Any]) -> VideoTotals:
    """The row of `SELECT_VIDEO_TOTALS`."""
    return VideoTotals(*row)
