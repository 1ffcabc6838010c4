"""Windows are ranges of time: they hold their moment, meet without a gap, follow the calendar."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import (
    END_OF_TIME,
    Calendar,
    Limit,
    NotAWindow,
    Scope,
    Span,
    Standing,
    is_window,
    lasts_until,
    least_left,
    overruns,
    passed,
    rolling_seconds,
    window_at,
)
from gateway.core.money import ZERO, Money

ZONES = (
    "UTC", "Europe/Rome", "America/New_York", "America/Sao_Paulo", "America/Havana", "Asia/Kolkata",
    "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati", "Africa/Cairo",
)  # fmt: skip
ROME = Calendar(ZoneInfo("Europe/Rome"))
HOUR = 3_600_000
zones = st.sampled_from(ZONES)
moments = st.integers(946_684_800_000, 4_102_444_800_000)  # 2000 to 2100
calendar_windows = st.sampled_from(("day", "week", "month"))


def at(text: str, zone: str = "UTC") -> int:
    """Unix milliseconds of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def shown(span: Span, zone: str) -> tuple[str, str]:
    """Both ends of a span as local times."""
    ends = (datetime.fromtimestamp(ms // 1000, ZoneInfo(zone)) for ms in (span.start, span.end))
    first, last = (end.replace(tzinfo=None).isoformat(" ", "minutes") for end in ends)
    return first, last


@pytest.mark.parametrize(
    ("window", "moment", "zone", "starts", "ends"),
    [
        ("day", "2026-11-22T13:05", "Europe/Rome", "2026-11-22 00:00", "2026-11-23 00:00"),
        ("day", "2026-12-31T23:59", "Europe/Rome", "2026-12-31 00:00", "2027-01-01 00:00"),
        ("hour", "2026-11-22T13:05", "Asia/Kolkata", "2026-11-22 13:00", "2026-11-22 14:00"),
        ("week", "2026-11-22T13:05", "Europe/Rome", "2026-11-16 00:00", "2026-11-23 00:00"),
        ("week", "2026-11-23T00:00", "Europe/Rome", "2026-11-23 00:00", "2026-11-30 00:00"),
        ("week", "2027-01-01T00:00", "Europe/Rome", "2026-12-28 00:00", "2027-01-04 00:00"),
        ("month", "2026-01-31T23:59", "Europe/Rome", "2026-01-01 00:00", "2026-02-01 00:00"),
        ("month", "2028-02-29T12:00", "Europe/Rome", "2028-02-01 00:00", "2028-03-01 00:00"),
        ("month", "2026-12-31T23:59", "Europe/Rome", "2026-12-01 00:00", "2027-01-01 00:00"),
        # a midnight that does not exist: the clock went from 23:59 to 01:00
        ("day", "2018-11-04T12:00", "America/Sao_Paulo", "2018-11-04 01:00", "2018-11-05 00:00"),
        # a midnight that comes twice: the day begins with the first
        ("day", "2026-11-01T12:00", "America/Havana", "2026-11-01 00:00", "2026-11-02 00:00"),
        # a day that never was
        ("day", "2011-12-29T12:00", "Pacific/Apia", "2011-12-29 00:00", "2011-12-31 00:00"),
    ],
)
def test_a_window_follows_the_organizations_calendar(
    window: str, moment: str, zone: str, starts: str, ends: str
) -> None:
    span = window_at(window, at(moment, zone), Calendar(ZoneInfo(zone)))
    assert shown(span, zone) == (starts, ends)


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-22", 24)]
)
def test_a_day_has_the_hours_that_the_clocks_give_it(day: str, hours: int) -> None:
    span = window_at("day", at(f"{day}T12:00", "Europe/Rome"), ROME)
    assert span.end - span.start == hours * HOUR


def test_both_hours_that_a_clock_shows_twice_are_windows_of_their_own() -> None:
    first = at("2026-10-25T00:30", "UTC")  # 02:30 in summer time
    one, other = (window_at("hour", moment, ROME) for moment in (first, first + HOUR))
    assert one.end == other.start
    assert shown(one, "Europe/Rome")[0] == shown(other, "Europe/Rome")[0] == "2026-10-25 02:00"


@pytest.mark.parametrize(
    ("starts", "first"), [(0, "2026-11-16"), (6, "2026-11-22"), (5, "2026-11-21")]
)
def test_a_week_begins_on_the_day_the_organization_says(starts: int, first: str) -> None:
    span = window_at("week", at("2026-11-22T12:00"), Calendar(UTC, starts))
    assert shown(span, "UTC")[0] == f"{first} 00:00"


@given(calendar_windows, moments, zones, st.integers(0, 6))
def test_a_calendar_window_holds_its_moment_and_meets_the_next(
    window: str, moment: int, zone: str, starts: int
) -> None:
    calendar = Calendar(ZoneInfo(zone), starts)
    span = window_at(window, moment, calendar)
    assert span.holds(moment)
    assert window_at(window, span.start, calendar) == span
    assert window_at(window, span.end - 1, calendar) == span
    assert window_at(window, span.end, calendar).start == span.end
    assert window_at(window, span.start - 1, calendar).end == span.start


@given(moments, zones)
def test_an_hour_holds_its_moment_and_has_3600_seconds(moment: int, zone: str) -> None:
    span = window_at("hour", moment, Calendar(ZoneInfo(zone)))
    assert span.holds(moment)
    assert span.end - span.start == HOUR


@given(moments, st.sampled_from(("1s", "90m", "24h", "7d", "366d")))
def test_a_rolling_window_ends_with_the_moment_and_has_its_length(moment: int, window: str) -> None:
    span = window_at(window, moment, ROME)
    seconds = rolling_seconds(window)
    assert seconds is not None
    assert (span.end - span.start, span.end - 1) == (seconds * 1000, moment)


def test_a_spend_leaves_a_rolling_day_exactly_a_day_later() -> None:
    spent = at("2026-11-22T13:05")
    assert window_at("24h", spent + 24 * HOUR - 1, ROME).holds(spent)
    assert not window_at("24h", spent + 24 * HOUR, ROME).holds(spent)


def test_a_total_window_holds_every_moment() -> None:
    assert window_at("total", at("2026-11-22T13:05"), ROME) == Span(0, END_OF_TIME)


@pytest.mark.parametrize(
    "window", ["hour", "day", "week", "month", "total", "1s", "24h", "30d", "366d"]
)
def test_these_are_windows(window: str) -> None:
    assert is_window(window)


@pytest.mark.parametrize(
    "window",
    ["", "year", "Day", "0s", "00h", "24", "24H", "1w", "367d", "8785h", "-1d", "1.5h", " day"],
)
def test_these_are_no_windows(window: str) -> None:
    assert not is_window(window)
    with pytest.raises(NotAWindow):
        window_at(window, 0, ROME)


def standing(
    scope: Scope, limit: int, used: int = 0, granted: int = 0, window: str = "day"
) -> Standing:
    return Standing(
        Limit(scope, "film", "film", window, Money(limit)),
        Span(0, 1),
        settled=Money(used),
        reserved=ZERO,
        in_doubt=ZERO,
        granted=Money(granted),
    )


def test_everything_held_or_spent_counts_against_a_limit() -> None:
    limit = Limit(Scope.USER, "ada", "ada", "day", Money(100))
    whole = Standing(limit, Span(0, 1), Money(10), Money(20), Money(30), granted=Money(5))
    assert (whole.used, whole.ceiling, whole.left) == (Money(60), Money(105), Money(45))
    assert not overruns([whole], Money(45))
    assert overruns([whole], Money(46)) == [whole]


def test_the_window_to_name_is_of_the_nearest_scope_and_has_least_left() -> None:
    organization = standing(Scope.ORGANIZATION, 10, 10)
    team = standing(Scope.TEAM, 10, 9)
    roomy = standing(Scope.USER, 10, 7)
    tight = standing(Scope.USER, 10, 9, window="month")
    key = standing(Scope.KEY, 100)
    over = overruns([organization, team, roomy, tight, key], Money(5))
    assert over == [tight, roomy, team, organization]


def test_a_limit_of_zero_forbids_even_a_free_job() -> None:
    assert overruns([standing(Scope.USER, 0)], ZERO)


def test_a_grant_opens_a_limit_of_zero() -> None:
    assert not overruns([standing(Scope.USER, 0, granted=5)], Money(5))


def test_a_limit_lowered_under_what_is_spent_has_less_than_nothing_left() -> None:
    lowered = standing(Scope.USER, 5, 9)
    assert lowered.left == Money(-4)
    assert overruns([lowered], ZERO)


def test_what_remains_is_that_of_the_tightest_window() -> None:
    standings = [standing(Scope.USER, 100, 10), standing(Scope.TEAM, 50)]
    assert least_left(standings, Money(20)) == Money(30)
    assert least_left([], Money(20)) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(Scope), st.integers(0, 100), st.integers(0, 100)), max_size=8
    ),
    st.integers(0, 100),
)
def test_a_job_fits_if_and_only_if_no_window_is_overrun(
    rows: list[tuple[Scope, int, int]], price: int
) -> None:
    standings = [standing(scope, limit, used) for scope, limit, used in rows]
    over = overruns(standings, Money(price))
    fits = all(limit and used + price <= limit for _, limit, used in rows)
    assert bool(over) != fits
    order = [list(Scope).index(item.limit.scope) for item in over]
    assert order == sorted(order)


def test_a_standing_prints_itself_in_an_operators_words() -> None:
    text = str(standing(Scope.TEAM, 50_000_000, 12_400_000, window="month"))
    assert text == "<team film month: 12.400000 of 50.000000, 0.000000 reserved, 0.000000 in doubt>"


def test_a_clock_that_jumps_reopens_no_window() -> None:
    now = at("2026-11-22T13:05")
    day = window_at("day", now, ROME)
    for jump in (-HOUR, HOUR, timedelta(minutes=-5) // timedelta(milliseconds=1)):
        assert window_at("day", now + jump, ROME) == day


def told(
    used: int, price: int, ceiling: int = 100, warn_at: tuple[int, ...] = (50, 80)
) -> list[int]:
    """The shares that a reservation lifts a day's window to."""
    limit = Limit(Scope.USER, "ann", "ann", "day", Money(100), warn_at=warn_at)
    span = Span(0, 86_400_000)
    found = passed(limit, span, 5, ceiling=ceiling, used=used, price=price)
    assert all(
        (p.until, p.used, p.ceiling) == (span.end, Money(used + price), Money(ceiling))
        for p in found
    )
    return [each.percent for each in found]


@pytest.mark.parametrize(
    ("used", "price", "shares"),
    [
        (0, 49, []),
        (0, 50, [50]),
        (49, 1, [50]),
        (50, 1, []),
        (50, 29, []),
        (40, 60, [50, 80]),
        (79, 1, [80]),
        (80, 20, []),
        (0, 0, []),
    ],
)
def test_a_share_is_told_by_the_reservation_that_reaches_it(
    used: int, price: int, shares: list[int]
) -> None:
    assert told(used, price) == shares


def test_shares_are_told_of_the_limit_with_its_grants_in_any_order_they_are_written() -> None:
    assert told(90, 10, ceiling=200, warn_at=(100, 50)) == [50]
    assert told(199, 1, ceiling=200, warn_at=(100, 50)) == [100]
    assert told(0, 100, warn_at=(100, 50)) == [50, 100]
    assert told(0, 100, warn_at=()) == []


def test_a_rolling_window_may_be_told_of_again_once_all_of_it_has_passed() -> None:
    assert lasts_until("24h", Span(1, 86_400_001), 86_400_000) == 2 * 86_400_000
    assert lasts_until("day", Span(0, 86_400_000), 5) == 86_400_000
    assert lasts_until("total", Span(0, END_OF_TIME), 5) == END_OF_TIME


def test_the_used_share_counts_what_is_held_and_grants() -> None:
    limit = Limit(Scope.USER, "ann", "ann", "day", Money(50))
    standing = Standing(limit, Span(0, 9), Money(20), Money(20), Money(20), granted=Money(50))
    assert standing.used_percent == 60
    none = replace(standing, limit=replace(limit, amount=ZERO), granted=ZERO)
    assert none.used_percent is None
