"""What windows hold by the jobs themselves: the spans of windows, sums over them, and windows that
roll. It reads and keeps nothing in the database.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from typing import Any, Protocol

from gateway.core import budget
from gateway.core.budget import ANY_MODEL, Calendar, Scope, Span, window_at

SCOPE_COLUMNS = {Scope.KEY: "key_id", Scope.USER: "user", Scope.TEAM: "team"}
HOUR_MS = 3_600_000
WINDOWS_REMEMBERED = 1_024
"""Far more words for windows than any organization's policies have."""

Sums = tuple[int, int, int]
"""Reserved, in doubt and settled, in micro-dollars."""


class Reader(Protocol):
    """What answers a statement: a connection, a cursor, or whoever sees to it what they answer."""

    def execute(self, sql: str, values: Any = ..., /) -> sqlite3.Cursor:
        """As of `sqlite3.Connection`."""


_SUMMED = "coalesce(sum(reserved), 0), coalesce(sum(in_doubt), 0), coalesce(sum(settled), 0)"
_WITHIN = "created_at >= ? AND created_at < ?"
_COLUMNS = "created_at, model, reserved, in_doubt, settled"
# Each half by its own index: what is held lies by time, for every reservation writes it.
_OF_USER = (
    f"SELECT {_COLUMNS} FROM jobs INDEXED BY jobs_by_user "
    f"WHERE user = ? AND {_WITHIN} AND holding <> 'reserved' "
    f"UNION ALL SELECT {_COLUMNS} FROM jobs INDEXED BY jobs_held "
    f"WHERE user = ? AND {_WITHIN} AND holding = 'reserved'"
)

rolling_seconds = lru_cache(WINDOWS_REMEMBERED)(budget.rolling_seconds)
"""Asked for each window of each reservation, of the same few words."""


class Spans:
    """Windows as spans, remembered while the moment stays inside them."""

    def __init__(self) -> None:
        self._calendar = Calendar()
        self._known: dict[str, Span] = {}

    def at(self, window: str, at: int, calendar: Calendar) -> Span:
        """The span of a window at a moment."""
        if calendar is not self._calendar:
            self._known = self._known if calendar == self._calendar else {}
            self._calendar = calendar
        known = self._known.get(window)
        if known is not None and known.start <= at < known.end:
            return known
        span = window_at(window, at, calendar)
        if rolling_seconds(window) is None:
            self._known[window] = span
        return span


def derive(reader: Reader, scope: Scope, scope_id: str, span: Span, models: str) -> Sums:
    """The sums over jobs themselves."""
    source, values = _chosen(scope, scope_id, span, models)
    row = reader.execute(f"SELECT {_SUMMED} FROM {source}", values).fetchone()
    return (row[0], row[1], row[2])


def _chosen(scope: Scope, scope_id: str, span: Span, models: str) -> tuple[str, list[object]]:
    """The jobs that count, as what a statement selects from, and its values."""
    within: list[object] = [span.start, span.end]
    if scope is Scope.USER:
        source, values = f"({_OF_USER})", [scope_id, *within, scope_id, *within]
    elif column := SCOPE_COLUMNS.get(scope):
        source, values = f"jobs WHERE {column} = ? AND {_WITHIN}", [scope_id, *within]
    else:
        source, values = f"jobs WHERE {_WITHIN}", within
    if models != ANY_MODEL:
        source, values = f"(SELECT {_COLUMNS} FROM {source}) WHERE model GLOB ?", [*values, models]
    return source, values


class Rolling:
    """The sums of one rolling window: whole hours remembered, the hour it is leaving asked anew.

    No job is later than the window's end, for the ledger's time never goes back; so all that moves
    is the other edge, and each reservation reads the jobs of one hour at most.
    """

    __slots__ = ("_first", "_hours", "_models", "_scope", "_scope_id", "_whole")

    def __init__(self, scope: Scope, scope_id: str, models: str) -> None:
        self._scope, self._scope_id, self._models = scope, scope_id, models
        self._first: int | None = None
        """The moment from which on whole hours are remembered."""
        self._hours: dict[int, list[int]] = {}
        self._whole = [0, 0, 0]

    def sums(self, reader: Reader, span: Span) -> Sums:
        """What the window holds."""
        first = self._turn_to(reader, span)
        reserved, in_doubt, settled = self._whole
        if span.start < first:
            edge = Span(span.start, min(first, span.end))
            more = derive(reader, self._scope, self._scope_id, edge, self._models)
            return (reserved + more[0], in_doubt + more[1], settled + more[2])
        return (reserved, in_doubt, settled)

    def oldest(self, reader: Reader, span: Span) -> int | None:
        """When the oldest job was reserved that takes room in the window."""
        first = self._turn_to(reader, span)
        taken = [hour for hour, sums in self._hours.items() if any(sums)]
        spans = [Span(span.start, min(first, span.end))]
        spans += [Span(min(taken), min(taken) + HOUR_MS)] if taken else []
        for part in spans:
            source, values = _chosen(self._scope, self._scope_id, part, self._models)
            row = reader.execute(
                f"SELECT min(created_at) FROM (SELECT {_COLUMNS} FROM {source}) "
                "WHERE reserved + in_doubt + settled > 0",
                values,
            ).fetchone()
            if row[0] is not None:
                return int(row[0])
        return None

    def move(self, created_at: int, amounts: Sums) -> None:
        """Add to the hour of a job; one that is being left is read from the jobs themselves."""
        if self._first is None or created_at < self._first:
            return
        hour = self._hours.setdefault(created_at // HOUR_MS * HOUR_MS, [0, 0, 0])
        for place, amount in enumerate(amounts):
            hour[place] += amount
            self._whole[place] += amount

    def _turn_to(self, reader: Reader, span: Span) -> int:
        """Remember just the whole hours of this span; the first moment of them."""
        first = -(-span.start // HOUR_MS) * HOUR_MS
        if self._first is None or first < self._first:
            self._load(reader, first)
        elif first > self._first:
            for hour in [hour for hour in self._hours if hour < first]:
                for place, amount in enumerate(self._hours.pop(hour)):
                    self._whole[place] -= amount
        self._first = first
        return first

    def _load(self, reader: Reader, first: int) -> None:
        source, values = _chosen(
            self._scope, self._scope_id, Span(first, budget.END_OF_TIME), self._models
        )
        found = reader.execute(
            f"SELECT created_at / {HOUR_MS} * {HOUR_MS}, {_SUMMED} FROM {source} GROUP BY 1", values
        )
        self._hours = {hour: list(sums) for hour, *sums in found}
        self._whole = [sum(column) for column in zip(*self._hours.values(), strict=True)] or [0] * 3
