"""The days of a place, told to a database as offsets."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from gateway.core.local_days import DAY_MS, offsets

BEGIN = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1000
YEARS = 3


@pytest.mark.parametrize(
    "name",
    [
        "UTC",
        "Europe/Rome",
        "America/St_Johns",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Africa/Casablanca",
    ],
)
def test_the_offset_of_any_moment_is_that_of_the_last_change_before_it(name: str) -> None:
    zone, chance = ZoneInfo(name), random.Random(name)
    end = BEGIN + YEARS * 365 * DAY_MS
    found = list(offsets(zone, BEGIN, end))
    assert [since for since, _ in found] == sorted(since for since, _ in found)
    assert all(before != after for (_, before), (_, after) in pairwise(found))
    near = [since + step for since, _ in found for step in (-1, 0, 1, 3_600_000) if since > BEGIN]
    for at in (*near, *(chance.randrange(BEGIN, end) for _ in range(2_000))):
        ahead = max((pair for pair in found if pair[0] <= at), default=found[0])[1]
        said = datetime.fromtimestamp(at / 1000, zone).utcoffset()
        assert said is not None
        assert ahead == said.total_seconds() * 1000, at


def test_one_moment_has_one_offset() -> None:
    assert list(offsets(ZoneInfo("Europe/Rome"), BEGIN, BEGIN)) == [(BEGIN, 3_600_000)]
