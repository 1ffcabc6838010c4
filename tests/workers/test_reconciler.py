"""When the ledger is compared with the bill by itself: at night, and when a doubt may end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.core.errors import UpstreamBusy
from gateway.core.policy import Rulebook
from gateway.records import Reconciliation
from gateway.workers.reconciler import APART_SECONDS, FIRST_SECONDS, NightlyReconciler, night_before
from tests.bill_house import LOST, TAKEN, BillHouse, bill_house

HOUR = 3_600.0
ROME = ZoneInfo("Europe/Rome")
RULES = Rulebook.model_validate(
    {"version": 1, "policies": {"default": {}}, "organization": {"timezone": "Europe/Rome"}}
)


class Nights:
    """The chore, and how often it had a run made."""

    def __init__(self, house: BillHouse) -> None:
        self.house = house
        self.runs = 0
        self.error: Exception | None = None
        self.chore = NightlyReconciler(
            house.reconciler, self.run, house.book, house.clock, lambda: RULES
        )

    async def run(self) -> Reconciliation:
        self.runs += 1
        if self.error is not None:
            raise self.error
        return await self.house.reconciler.run("reconcile")

    async def after(self, seconds: float) -> int:
        """How many runs there were once so much time has passed."""
        await self.house.clock.advance(seconds)
        await self.chore.run_once()
        return self.runs


@pytest.fixture
async def nights(tmp_path: Path) -> AsyncIterator[Nights]:
    async with bill_house(tmp_path) as house:
        yield Nights(house)


async def test_it_runs_once_a_night_and_not_before_there_is_a_job(nights: Nights) -> None:
    assert await nights.after(FIRST_SECONDS) == 0
    await nights.house.job(*TAKEN)
    assert await nights.after(1) == 1
    made = [await nights.after(HOUR) for _ in range(48)]
    assert made[-1] == 3
    assert made[23] == 2


async def test_a_doubt_is_looked_at_as_soon_as_silence_may_end_it(nights: Nights) -> None:
    await nights.house.job(*TAKEN)
    assert await nights.after(FIRST_SECONDS) == 1
    doubt = await nights.house.job(*LOST)
    nights.house.bill.add(nights.house.clock.now() + 1_800_000, "0.01", "chat", sku="chat-token")
    assert await nights.after(HOUR - 60) == 1
    assert await nights.after(60) == 2
    assert (await nights.house.now(doubt)).state == "released_in_doubt"
    assert await nights.after(60) == 2


async def test_a_run_that_fails_is_tried_again_but_not_at_once(nights: Nights) -> None:
    await nights.house.job(*TAKEN)
    nights.error = UpstreamBusy("not now")
    assert await nights.after(FIRST_SECONDS) == 1
    assert await nights.after(APART_SECONDS - 1) == 1
    assert await nights.after(1) == 2


async def test_without_the_billing_key_nothing_is_asked(nights: Nights, tmp_path: Path) -> None:
    del tmp_path
    await nights.house.job(*TAKEN)
    nights.house.reconciler._upstream = None
    assert await nights.after(FIRST_SECONDS) == 0


@pytest.mark.parametrize(
    ("now", "night"),
    [
        ("2026-07-10T01:29", "2026-07-09T01:30"),
        ("2026-07-10T01:30", "2026-07-10T01:30"),
        ("2026-07-10T23:00", "2026-07-10T01:30"),
        ("2026-01-10T02:29", "2026-01-09T02:30"),
        # The night in which clocks are put forward, and the one in which they are put back.
        ("2026-03-29T01:30", "2026-03-29T01:30"),
        ("2026-10-25T02:30", "2026-10-25T02:30"),
    ],
)
def test_a_night_is_the_organizations(now: str, night: str) -> None:
    at, expected = (
        int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000
        for text in (now, night)
    )
    assert night_before(at, ROME, timedelta(minutes=30)) == expected
