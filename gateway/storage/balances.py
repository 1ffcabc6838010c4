"""Balances: how every window stands, how entries move them, and how they are proved.

A balance is a cache of sums over jobs; a row that does not exist yet is derived from them, and
one that exists moves in the same transaction as the entry that moves it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.core.budget import ANY_MODEL, Calendar, Limit, Scope, Span, Standing
from gateway.core.money import Money
from gateway.core.movement import Movement
from gateway.core.policy import ORGANIZATION_NAME
from gateway.ports import LedgerBroken
from gateway.storage.room import Room
from gateway.storage.sums import Reader, Rolling, Spans, Sums, derive, rolling_seconds
from gateway.storage.verification import verify

__all__ = ["Balances", "scopes_of", "verify"]
PLACES_REMEMBERED_MAX = 20_000
"""Keys, users and teams whose balances are remembered: some 20 MB."""
MATCHES_REMEMBERED_MAX = 10_000
"""Pairs of a model and a glob: far more than any catalogue and its policies have."""

_LOAD = (
    "SELECT number, ends_at, starts_at, models, reserved, in_doubt, settled FROM balances "
    "WHERE scope = ? AND id = ? AND ends_at > ?"
)
_MAKE = (
    "INSERT INTO balances (scope, id, ends_at, starts_at, models, reserved, in_doubt, settled) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ADD = (
    "UPDATE balances SET reserved = reserved + ?, in_doubt = in_doubt + ?, settled = settled + ? "
)
_MOVE = _ADD + "WHERE number IN ({})"
_MOVE_ALL = (
    _ADD + "WHERE scope = ? AND id = ? AND ends_at > ? AND starts_at <= ? "
    "AND (models = '*' OR ? GLOB models)"
)
_TEXT = {scope: scope.value for scope in Scope}
"""SQLite takes a plain text at once; any other type it first asks to adapt itself."""


class _Row:
    """A row of balances as it is in the database."""

    __slots__ = ("ends_at", "in_doubt", "models", "number", "reserved", "settled", "starts_at")

    def __init__(self, number: int, span: Span, models: str, sums: Sums) -> None:
        self.number = number
        self.starts_at, self.ends_at, self.models = span.start, span.end, models
        self.reserved, self.in_doubt, self.settled = sums

    @property
    def sums(self) -> Sums:
        return (self.reserved, self.in_doubt, self.settled)


class _Place:
    """What is remembered of one scope: every row that ends after `horizon`, and what rolls."""

    __slots__ = ("horizon", "rolling", "rows")

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.rows: dict[tuple[int, int, str], _Row] = {}
        self.rolling: dict[tuple[str, str], Rolling] = {}

    def pass_by(self, at: int) -> None:
        """Let go of rows that have ended."""
        self.horizon = at
        self.rows = {key: row for key, row in self.rows.items() if row.ends_at > at}


class _Reach:
    """All that is remembered of the scopes of one key, user and team: what their jobs may move."""

    __slots__ = ("rolling", "rows", "scopes")

    def __init__(self, scopes: list[tuple[Scope, str]], places: Sequence[_Place]) -> None:
        self.scopes = scopes
        self.rows = [row for place in places for row in place.rows.values()]
        self.rolling = [
            (models, rolling)
            for place in places
            for (_window, models), rolling in place.rolling.items()
        ]


class Balances:
    """The writer thread's memory of balances, so that a reservation need not read them.

    It is safe because it can always be thrown away: the database is the truth. Only the thread
    with the one write connection uses it; each change goes to the rows and to the memory of them
    in one function; and whatever was touched by a function that is undone, or by a group whose
    commit failed, is forgotten and read again. A job older than a place's horizon moves rows that
    may not be remembered, by a statement that finds them all. `verify` compares both.

    Places are the memory; what is found in them again and again, `_current` and `_reaches`, is
    looked up anew whenever a row or a place comes or goes.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[Scope, str], _Place] = {}
        self._current: dict[tuple[Scope, str, str, str], _Row] = {}
        """The row in which a limit was last found: scope, id, window and models."""
        self._reaches: dict[tuple[str, str, str | None], _Reach] = {}
        self._spans = Spans()
        self._calendar: Calendar | None = None
        """Of which the rows in `_current` are."""
        self._touched: list[tuple[Scope, str]] = []
        self._grants: dict[tuple[str, str], list[tuple[str, int, int, int]]] | None = None
        self._matches: dict[tuple[str, str], bool] = {}

    def keep(self) -> None:
        """What the last function did stands."""
        self._touched.clear()

    def undo(self) -> None:
        """What the last function did is undone."""
        for who in self._touched:
            self._places.pop(who, None)
        self._rearranged()
        self._touched.clear()
        self._grants = None

    def forget(self) -> None:
        """What a whole group of functions did is undone."""
        self._places.clear()
        self._rearranged()
        self._touched.clear()
        self._grants = None

    def forget_grants(self) -> None:
        """Grants have changed."""
        self._grants = None

    def _rearranged(self) -> None:
        """Rows, places or rolling windows came or went."""
        self._current.clear()
        self._reaches.clear()

    def room(
        self, reader: Reader, limits: Sequence[Limit], calendar: Calendar, at: int
    ) -> list[Room]:
        """What each limit's window has left at the ledger's time, and its ceiling.

        Balances that are not there yet come to be, and move from then on.
        """
        if calendar is not self._calendar:
            if calendar != self._calendar:
                self._current.clear()
            self._calendar = calendar
        current, has_grants = self._current, self._grants != {}
        found = []
        for limit in limits:
            row = current.get((limit.scope, limit.id, limit.window, limit.models))
            if row is not None and row.starts_at <= at < row.ends_at:
                used = row.reserved + row.in_doubt + row.settled
            else:
                used = self._used(reader, limit, calendar, at)
            ceiling = limit.amount.micros
            if has_grants:
                ceiling += self._granted(reader, limit, at)
            found.append((ceiling - used if ceiling > 0 else -1, ceiling))
        return found

    def _used(self, reader: Reader, limit: Limit, calendar: Calendar, at: int) -> int:
        """How much of a limit is used, in micro-dollars; its row will be found at once."""
        span = self._spans.at(limit.window, at, calendar)
        used = sum(self._sums(reader, limit, span, at, keep=True))
        row = self._places[limit.scope, limit.id].rows.get((span.end, span.start, limit.models))
        if row is not None and rolling_seconds(limit.window) is None:
            self._current[limit.scope, limit.id, limit.window, limit.models] = row
        return used

    def spans(self, limits: Sequence[Limit], calendar: Calendar, at: int) -> list[Span]:
        """The spans of the limits' windows at a moment."""
        return [self._spans.at(limit.window, at, calendar) for limit in limits]

    def standings(
        self,
        reader: Reader,
        limits: Sequence[Limit],
        calendar: Calendar,
        at: int,
        *,
        keep: bool = False,
    ) -> list[Standing]:
        """How limits stand at a moment; balances come to be only where they are to be kept."""
        found = []
        for limit, span in zip(limits, self.spans(limits, calendar, at), strict=True):
            reserved, in_doubt, settled = self._sums(reader, limit, span, at, keep=keep)
            found.append(
                Standing(
                    limit,
                    span,
                    settled=Money(settled),
                    reserved=Money(reserved),
                    in_doubt=Money(in_doubt),
                    granted=Money(self._granted(reader, limit, at)),
                    resets_at=self._resets_at(reader, limit, span, at),
                )
            )
        return found

    def move(
        self,
        cursor: sqlite3.Cursor,
        scopes: Sequence[tuple[Scope, str]],
        created_at: int,
        model: str,
        change: Movement,
        *,
        at: int,
    ) -> None:
        """Add a movement to every balance the job belongs to; `at` is the ledger's time."""
        amounts = (change.reserved.micros, change.in_doubt.micros, change.settled.micros)
        numbers: list[int] = []
        for scope, who in scopes:
            place = self._place(cursor, scope, who, at)
            self._touched.append((scope, who))
            moved = self._moved(cursor, place, created_at, model, amounts)
            if created_at >= place.horizon:
                numbers += moved
            else:
                values = (*amounts, _TEXT[scope], who, created_at, created_at, model)
                cursor.execute(_MOVE_ALL, values)
        if not numbers:
            return
        # All rows in one statement: between two the interpreter may be long away.
        moving = cursor.execute(_MOVE.format(",".join("?" * len(numbers))), (*amounts, *numbers))
        if moving.rowcount != len(numbers):
            raise LedgerBroken("a balance that was there is gone")

    def take(
        self,
        reader: Reader,
        who: tuple[str, str, str | None],
        at: int,
        model: str,
        micros: int,
    ) -> list[int]:
        """Reserve in all that is remembered of a key, its user and their team, at the ledger's
        time; the numbers of the rows that are still to follow."""
        reach = self._reaches.get(who) or self._reach(reader, who, at)
        self._touched += reach.scopes
        numbers = []
        for row in reach.rows:
            if row.starts_at <= at < row.ends_at and (
                row.models == ANY_MODEL or self._match(reader, model, row.models)
            ):
                row.reserved += micros
                numbers.append(row.number)
        for models, rolling in reach.rolling:
            if self._match(reader, model, models):
                rolling.move(at, (micros, 0, 0))
        return numbers

    def _reach(self, reader: Reader, who: tuple[str, str, str | None], at: int) -> _Reach:
        scopes = scopes_of(*who)
        # Should one of these be forgotten for another's sake: it comes back by being looked up, and
        # with that a new reach.
        reach = _Reach(scopes, [self._place(reader, *scope, at) for scope in scopes])
        self._reaches[who] = reach
        return reach

    def _moved(
        self, reader: Reader, place: _Place, created_at: int, model: str, amounts: Sums
    ) -> list[int]:
        """Move what is remembered; the numbers of its rows, to move them there too."""
        reserved, in_doubt, settled = amounts
        numbers: list[int] = []
        for row in place.rows.values():
            if row.starts_at <= created_at < row.ends_at and (
                row.models == ANY_MODEL or self._match(reader, model, row.models)
            ):
                row.reserved += reserved
                row.in_doubt += in_doubt
                row.settled += settled
                numbers.append(row.number)
        for (_window, models), rolling in place.rolling.items():
            if self._match(reader, model, models):
                rolling.move(created_at, amounts)
        return numbers

    def differences(self, reader: Reader) -> list[str]:
        """Where the memory is not what the rows say, or what is found at once not the memory."""
        found = []
        for (scope, who), place in self._places.items():
            rows = reader.execute(_LOAD, (_TEXT[scope], who, place.horizon)).fetchall()
            there = {(row[1], row[2], row[3]): (row[0], *row[4:]) for row in rows}
            known = {key: (row.number, *row.sums) for key, row in place.rows.items()}
            if there != known:
                found.append(f"balances of {scope} {who} are remembered otherwise than they are")
        for (scope, who, window, _models), row in self._current.items():
            if not any(row is other for other in self._remembered(scope, who)):
                found.append(f"the {window} of {scope} {who} is judged by what it was")
        for reach in self._reaches.values():
            reached = {*map(id, reach.rows), *(id(rolling) for _, rolling in reach.rolling)}
            found += [
                f"not all balances of {scope} {who} would move"
                for scope, who in reach.scopes
                if not reached.issuperset(map(id, self._remembered(scope, who)))
            ]
        return found

    def _remembered(self, scope: Scope, who: str) -> list[_Row | Rolling]:
        place = self._places.get((scope, who))
        return [] if place is None else [*place.rows.values(), *place.rolling.values()]

    def _place(self, reader: Reader, scope: Scope, who: str, at: int) -> _Place:
        place = self._places.get((scope, who))
        # Asked about a future moment before, it may lack rows of today.
        if place is None or at < place.horizon:
            if len(self._places) >= PLACES_REMEMBERED_MAX:
                self._places.clear()
            self._rearranged()
            place = self._places[scope, who] = _Place(at)
            self._touched.append((scope, who))
            for number, ends, starts, models, *sums in reader.execute(
                _LOAD, (_TEXT[scope], who, at)
            ):
                row = _Row(number, Span(starts, ends), models, (sums[0], sums[1], sums[2]))
                place.rows[ends, starts, models] = row
        return place

    def _sums(self, reader: Reader, limit: Limit, span: Span, at: int, *, keep: bool) -> Sums:
        """How much of a limit's window is reserved, in doubt and settled."""
        place = self._place(reader, limit.scope, limit.id, at)
        if rolling_seconds(limit.window) is not None:
            return self._rolling(place, limit).sums(reader, span)
        row = place.rows.get((span.end, span.start, limit.models))
        if row is not None:
            return row.sums
        sums = derive(reader, limit.scope, limit.id, span, limit.models)
        if keep:
            self._touched.append((limit.scope, limit.id))
            self._rearranged()
            place.pass_by(at)
            who = (_TEXT[limit.scope], limit.id)
            made = reader.execute(_MAKE, (*who, span.end, span.start, limit.models, *sums))
            row = _Row(made.lastrowid or 0, span, limit.models, sums)
            place.rows[span.end, span.start, limit.models] = row
        return sums

    def _rolling(self, place: _Place, limit: Limit) -> Rolling:
        key = (limit.window, limit.models)
        found = place.rolling.get(key)
        if found is None:
            self._rearranged()
            found = place.rolling[key] = Rolling(limit.scope, limit.id, limit.models)
            self._touched.append((limit.scope, limit.id))
        return found

    def _resets_at(self, reader: Reader, limit: Limit, span: Span, at: int) -> int | None:
        """When a window has room again for sure: its end, or when its oldest job leaves it."""
        if limit.window == "total":
            return None
        seconds = rolling_seconds(limit.window)
        if seconds is None:
            return span.end
        place = self._place(reader, limit.scope, limit.id, at)
        oldest = self._rolling(place, limit).oldest(reader, span)
        return None if oldest is None else oldest + seconds * 1000

    def _granted(self, reader: Reader, limit: Limit, at: int) -> int:
        if self._grants is None:
            self._grants = {}
            for scope, who, *grant in reader.execute(
                "SELECT scope, scope_id, window, amount, created_at, until FROM grants "
                "WHERE revoked_at IS NULL"
            ):
                window, amount, begins_at, ends_at = grant
                given = self._grants.setdefault((scope, who), [])
                given.append((window, amount, begins_at, ends_at))
        if not self._grants:
            return 0
        return sum(
            amount
            for window, amount, begins_at, ends_at in self._grants.get(
                (_TEXT[limit.scope], limit.id), ()
            )
            if window in (limit.window, "all") and begins_at <= at < ends_at
        )

    def _match(self, reader: Reader, model: str, models: str) -> bool:
        """Whether a glob takes a model in; SQLite says so, for its globs are not Python's."""
        if models == ANY_MODEL:
            return True
        known = self._matches.get((model, models))
        if known is None:
            if len(self._matches) >= MATCHES_REMEMBERED_MAX:
                self._matches.clear()
            known = bool(reader.execute("SELECT ? GLOB ?", (model, models)).fetchone()[0])
            self._matches[model, models] = known
        return known


def scopes_of(key_id: str, user: str, team: str | None) -> list[tuple[Scope, str]]:
    """Whose balances a job belongs to."""
    scopes = [(Scope.KEY, key_id), (Scope.USER, user), (Scope.ORGANIZATION, ORGANIZATION_NAME)]
    if team is not None:
        scopes.append((Scope.TEAM, team))
    return scopes
