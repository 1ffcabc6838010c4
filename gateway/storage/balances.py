"""Balances: how every window stands, how entries move them, and how they are proved.

A balance is a cache of sums over jobs; a row that does not exist yet is derived from them, and
one that exists moves in the same transaction as the entry that moves it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

from gateway.core import budget
from gateway.core.budget import Calendar, Limit, Scope, Span, Standing, window_at
from gateway.core.money import ZERO, Money
from gateway.core.movement import Movement
from gateway.core.policy import ORGANIZATION_NAME
from gateway.ports import Verification

SCOPE_COLUMNS = {Scope.KEY: "key_id", Scope.USER: "user", Scope.TEAM: "team"}
PROBLEMS_SHOWN_MAX = 100
"""Enough to see a pattern; the first one already stops spending."""

_READ = (
    "SELECT reserved, in_doubt, settled FROM balances "
    "WHERE scope = ? AND id = ? AND ends_at = ? AND starts_at = ? AND models = ?"
)
_MOVE = (
    "UPDATE balances SET reserved = reserved + ?, in_doubt = in_doubt + ?, settled = settled + ? "
    "WHERE scope = ? AND id = ? AND ends_at > ? AND starts_at <= ? "
    "AND (models = '*' OR ? GLOB models)"
)
WINDOWS_REMEMBERED = 1_024
"""Far more words for windows than any organization's policies have."""

Sums = tuple[int, int, int]
Reader = sqlite3.Connection | sqlite3.Cursor
"""Either reads; a connection makes a cursor for each statement, which a reservation can spare."""

rolling_seconds = lru_cache(WINDOWS_REMEMBERED)(budget.rolling_seconds)
"""Asked for each window of each reservation, of the same few words."""


class Spans:
    """Windows as spans, remembered while the moment stays inside them."""

    def __init__(self) -> None:
        self._calendar = Calendar()
        self._known: dict[str, Span] = {}

    def at(self, window: str, at: int, calendar: Calendar) -> Span:
        """The span of a window at a moment."""
        if rolling_seconds(window) is not None:
            return window_at(window, at, calendar)
        if calendar != self._calendar:
            self._calendar, self._known = calendar, {}
        known = self._known.get(window)
        if known is None or not known.holds(at):
            known = self._known[window] = window_at(window, at, calendar)
        return known


def derive(reader: Reader, scope: Scope, scope_id: str, span: Span, models: str) -> Sums:
    """The sums over jobs themselves."""
    column = SCOPE_COLUMNS.get(scope)
    whose = f"AND {column} = ?" if column else ""
    which = "" if models == "*" else "AND model GLOB ?"
    values: list[object] = [span.start, span.end]
    values += [scope_id] if column else []
    values += [] if models == "*" else [models]
    row = reader.execute(
        "SELECT coalesce(sum(reserved), 0), coalesce(sum(in_doubt), 0), coalesce(sum(settled), 0) "
        f"FROM jobs WHERE created_at >= ? AND created_at < ? {whose} {which}",
        values,
    ).fetchone()
    return (row[0], row[1], row[2])


def sums_of(reader: Reader, limit: Limit, span: Span, *, keep: bool) -> Sums:
    """How much of a limit's window is reserved, in doubt and settled.

    With `keep`, a balance that does not exist yet comes to be, and moves from then on.
    """
    if rolling_seconds(limit.window) is not None:
        return derive(reader, limit.scope, limit.id, span, limit.models)
    # SQLite takes a plain text at once; any other type it first asks to adapt itself.
    key = (str(limit.scope), limit.id, span.end, span.start, limit.models)
    row: Sums | None = reader.execute(_READ, key).fetchone()
    if row is not None:
        return row
    derived = derive(reader, limit.scope, limit.id, span, limit.models)
    if keep:
        reader.execute("INSERT INTO balances VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*key, *derived))
    return derived


def standings(
    connection: sqlite3.Connection,
    limits: Sequence[Limit],
    spans: Sequence[Span],
    at: int,
    *,
    keep: bool,
) -> list[Standing]:
    """How limits stand at a moment; with `keep`, balances that are not there come to be."""
    cursor = connection.cursor()
    any_grants = cursor.execute("SELECT 1 FROM grants LIMIT 1").fetchone() is not None
    found = []
    for limit, span in zip(limits, spans, strict=True):
        reserved, in_doubt, settled = sums_of(cursor, limit, span, keep=keep)
        found.append(
            Standing(
                limit,
                span,
                settled=Money(settled),
                reserved=Money(reserved),
                in_doubt=Money(in_doubt),
                granted=_granted(cursor, limit, at) if any_grants else ZERO,
                resets_at=_resets_at(cursor, limit, span),
            )
        )
    return found


def _granted(reader: Reader, limit: Limit, at: int) -> Money:
    row = reader.execute(
        "SELECT coalesce(sum(amount), 0) FROM grants WHERE scope = ? AND scope_id = ? "
        "AND window IN (?, 'all') AND created_at <= ? AND until > ? AND revoked_at IS NULL",
        (limit.scope, limit.id, limit.window, at, at),
    ).fetchone()
    return Money(row[0])


def _resets_at(reader: Reader, limit: Limit, span: Span) -> int | None:
    """When a window has room again for sure: its end, or when its oldest job leaves it."""
    if limit.window == "total":
        return None
    seconds = rolling_seconds(limit.window)
    if seconds is None:
        return span.end
    column = SCOPE_COLUMNS.get(limit.scope)
    whose = f"AND {column} = ?" if column else ""
    values = [span.start, *([limit.id] if column else [])]
    row = reader.execute(
        f"SELECT min(created_at) FROM jobs WHERE created_at >= ? AND holding <> 'released' {whose}",
        values,
    ).fetchone()
    return None if row[0] is None else row[0] + seconds * 1000


def move(
    connection: sqlite3.Connection,
    scopes: Sequence[tuple[Scope, str]],
    created_at: int,
    model: str,
    change: Movement,
) -> None:
    """Add a movement to every balance the job belongs to."""
    amounts = (change.reserved.micros, change.in_doubt.micros, change.settled.micros)
    connection.executemany(
        _MOVE,
        [(*amounts, str(scope), who, created_at, created_at, model) for scope, who in scopes],
    )


def scopes_of(key_id: str, user: str, team: str | None) -> list[tuple[Scope, str]]:
    """Whose balances a job belongs to."""
    scopes = [(Scope.KEY, key_id), (Scope.USER, user), (Scope.ORGANIZATION, ORGANIZATION_NAME)]
    if team is not None:
        scopes.append((Scope.TEAM, team))
    return scopes


def verify(connection: sqlite3.Connection) -> Verification:
    """Re-derive every job's amounts from its entries, and every balance from its jobs."""
    problems: list[str] = []
    drift = 0
    for job, *difference in connection.execute(
        "SELECT jobs.id, jobs.reserved - coalesce(sum(entries.reserved), 0), "
        "jobs.in_doubt - coalesce(sum(entries.in_doubt), 0), "
        "jobs.settled - coalesce(sum(entries.settled), 0) "
        "FROM jobs LEFT JOIN entries ON entries.job = jobs.id GROUP BY jobs.id "
        "HAVING jobs.reserved <> coalesce(sum(entries.reserved), 0) "
        "OR jobs.in_doubt <> coalesce(sum(entries.in_doubt), 0) "
        "OR jobs.settled <> coalesce(sum(entries.settled), 0)"
    ):
        drift += sum(abs(part) for part in difference)
        problems.append(f"job {job} differs from its entries by {difference} micro-dollars")
    for scope, who, ends, starts, models, *kept in connection.execute(
        "SELECT scope, id, ends_at, starts_at, models, reserved, in_doubt, settled FROM balances"
    ).fetchall():
        derived = derive(connection, Scope(scope), who, Span(starts, ends), models)
        difference = [a - b for a, b in zip(kept, derived, strict=True)]
        if any(difference):
            drift += sum(abs(part) for part in difference)
            problems.append(f"balance of {scope} {who} from {starts} differs by {difference}")
    entries = connection.execute("SELECT count(*) FROM entries").fetchone()[0]
    return Verification(entries, Money(drift), tuple(problems[:PROBLEMS_SHOWN_MAX]))
