"""Budgets as ranges of time over the ledger: which windows a job touches, and whether it fits.

Nothing is ever reset: a window is a half-open span of Unix milliseconds, derived from the moment
of reservation, the organization's timezone and the policy's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from gateway.core.money import ZERO, Money

CALENDAR_WINDOWS = ("hour", "day", "week", "month", "total")
ROLLING_SECONDS_MAX = 366 * 86_400
END_OF_TIME = 253_402_300_799_000
"""The last second of the year 9999, in Unix milliseconds: where a `total` window ends."""

_ROLLING = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Scope(StrEnum):
    """Whose budget it is, in the order in which a refusal names them."""

    KEY = "key"
    USER = "user"
    TEAM = "team"
    ORGANIZATION = "organization"


SCOPE_ORDER = tuple(Scope)
ANY_MODEL = "*"


class NotAWindow(ValueError):
    """The text names no window this gateway knows."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """How the organization counts days and weeks."""

    timezone: tzinfo = UTC
    week_starts: int = 0
    """0 is Monday, as in `date.weekday`."""


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of Unix milliseconds: `start` is in it, `end` is not."""

    start: int
    end: int

    def holds(self, at: int) -> bool:
        """Whether the moment lies in the span."""
        return self.start <= at < self.end


def rolling_seconds(window: str) -> int | None:
    """The length of a `24h`-style window in seconds; None where it is not one."""
    match = _ROLLING.fullmatch(window)
    if match is None:
        return None
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]]
    return seconds if seconds <= ROLLING_SECONDS_MAX else None


def is_window(window: str) -> bool:
    """Whether a policy may name this window."""
    return window in CALENDAR_WINDOWS or rolling_seconds(window) is not None


def window_at(window: str, at: int, calendar: Calendar) -> Span:
    """The span of `window` in which a reservation made at `at` counts; `NotAWindow` if none is."""
    seconds = rolling_seconds(window)
    if seconds is not None:
        return Span(at - seconds * 1000 + 1, at + 1)
    if window == "total":
        return Span(0, END_OF_TIME)
    local = datetime.fromtimestamp(at // 1000, calendar.timezone)
    if window == "hour":
        # An hour is 3600 real seconds, also where clocks change: the offset is that of `at`.
        into = local.minute * 60 + local.second
        start = (at // 1000 - into) * 1000
        return Span(start, start + 3_600_000)
    today = local.date()
    if window == "day":
        return _days(today, today + timedelta(days=1), calendar)
    if window == "week":
        first = today - timedelta(days=(today.weekday() - calendar.week_starts) % 7)
        return _days(first, first + timedelta(days=7), calendar)
    if window == "month":
        first = today.replace(day=1)
        return _days(first, (first + timedelta(days=32)).replace(day=1), calendar)
    raise NotAWindow(f"{window!r} is not hour, day, week, month, total or a length like 24h")


def _days(first: date, after: date, calendar: Calendar) -> Span:
    return Span(_midnight(first, calendar), _midnight(after, calendar))


def _midnight(day: date, calendar: Calendar) -> int:
    return int(datetime.combine(day, time(), calendar.timezone).timestamp()) * 1000


@dataclass(frozen=True, slots=True)
class Limit:
    """One budget that a job must fit: at most `amount` of `scope`'s `id` within `window`."""

    scope: Scope
    id: str
    name: str
    """What people call the scope: a user's name, a key's name or id, a team, the organization."""
    window: str
    amount: Money
    models: str = ANY_MODEL
    """A glob: only jobs whose model matches count in this window."""
    only_observed: bool = False
    """An overrun is logged, not refused."""
    warn_at: tuple[int, ...] = field(default=(), compare=False)
    """Whole percents of the limit at which somebody is to be told; they make no other budget."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands at the moment of a reservation."""

    limit: Limit
    span: Span
    settled: Money
    reserved: Money
    in_doubt: Money
    granted: Money = ZERO
    resets_at: int | None = None
    """When the window ends, in Unix milliseconds; None for `total`."""

    @property
    def ceiling(self) -> Money:
        """The limit with its grants."""
        return Money(self.limit.amount.micros + self.granted.micros)

    @property
    def used(self) -> Money:
        """Everything that counts against the limit: settled, reserved and in doubt."""
        return Money(self.settled.micros + self.reserved.micros + self.in_doubt.micros)

    @property
    def left(self) -> Money:
        """What may still be reserved; negative where a limit was lowered under what is spent."""
        return Money(_left_micros(self))

    @property
    def used_percent(self) -> int | None:
        """How much of the ceiling is used, in whole percents, rounded down; None of nothing."""
        ceiling = self.ceiling.micros
        return self.used.micros * 100 // ceiling if ceiling > 0 else None

    def __str__(self) -> str:
        return (
            f"<{self.limit.scope} {self.limit.name} {self.limit.window}: {self.settled} of "
            f"{self.ceiling}, {self.reserved} reserved, {self.in_doubt} in doubt>"
        )


def _left_micros(standing: Standing) -> int:
    # In whole numbers at once: asked of every window of every reservation.
    used = standing.settled.micros + standing.reserved.micros + standing.in_doubt.micros
    return standing.limit.amount.micros + standing.granted.micros - used


def overruns(standings: Iterable[Standing], price: Money) -> list[Standing]:
    """The standings that `price` would overrun, the one to name first.

    The order is key, user, team, organization, and within a scope the one with least left. A
    limit of zero forbids, a free job included.
    """
    over = [s for s in standings if _left_micros(s) < price.micros or not s.ceiling.micros]
    return sorted(over, key=lambda s: (SCOPE_ORDER.index(s.limit.scope), s.left))


def least_left(standings: Sequence[Standing], price: Money) -> Money | None:
    """What remains after `price` in the tightest window; None where no limit applies."""
    least = min([_left_micros(s) for s in standings], default=None)
    return None if least is None else Money(least - price.micros)


@dataclass(frozen=True, slots=True)
class Passed:
    """A reservation lifted the used part of a window to a share that somebody wants to know of."""

    limit: Limit
    percent: int
    used: Money
    ceiling: Money
    until: int
    """Unix milliseconds: when this window is over, so that the same may be told anew."""


def passed(
    limit: Limit, span: Span, at: int, *, ceiling: int, used: int, price: int
) -> list[Passed]:
    """The shares in `warn_at` that a reservation at `at` lifts a window to, least first.

    Amounts are micro-dollars: the limit with its grants, what counted before, and the price. A
    share counts as reached when it is used up exactly; one that was reached before is not told.
    """
    after = used + price
    until = lasts_until(limit.window, span, at)
    return [
        Passed(limit, percent, Money(after), Money(ceiling), until)
        for percent in sorted(limit.warn_at)
        if used * 100 < ceiling * percent <= after * 100
    ]


def lasts_until(window: str, span: Span, at: int) -> int:
    """When everything that counts in a window at a moment counts no more, in Unix milliseconds."""
    seconds = rolling_seconds(window)
    return span.end if seconds is None else at + seconds * 1000
