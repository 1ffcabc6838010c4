"""A repair derives what was altered among the sums, and leaves entries and jobs as they are."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.job import Event
from gateway.ports import Unrepairable
from gateway.records import Reserved
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.storage.conftest import NOON
from tests.storage.test_balances import an_order

JOBS = 12
ALTERED = (
    "UPDATE balances SET settled = settled + 7",
    "UPDATE balances SET reserved = reserved + 1 WHERE scope = 'team'",
    "UPDATE tallies SET jobs = jobs + 1",
    "DELETE FROM tallies",
)
STRAY = (
    "INSERT INTO entries (job, kind, at, reserved, in_doubt, settled) "
    "VALUES ('nobody', 'reserve', 1, 5, 0, 0)"
)
EVIDENCE = ("SELECT * FROM jobs ORDER BY number", "SELECT * FROM entries ORDER BY id")


def beside(path: Path, *statements: str) -> list[object]:
    """What statements of nobody's do to a database, past its only writer."""
    with closing(sqlite3.connect(path)) as database, database:
        return [row for sql in statements for row in database.execute(sql).fetchall()]


@pytest.fixture
async def ledger(tmp_path: Path, chance: random.Random) -> AsyncIterator[SqliteLedger]:
    opened = await SqliteLedger.open(tmp_path / "gateway.db", upstream="a stand-in", now=NOON)
    for number in range(JOBS):
        reserved = await opened.reserve(an_order(number), NOON + number)
        assert isinstance(reserved, Reserved)
        end = chance.choice(([], [Event.GIVE_UP], [Event.SEND, Event.LOSE_ANSWER]))
        for event in end:
            await opened.advance(f"job{number}", event, NOON + number)
    yield opened
    await opened.close()


@pytest.mark.parametrize("altered", ALTERED)
async def test_sums_that_were_altered_are_derived_anew(
    ledger: SqliteLedger, tmp_path: Path, altered: str
) -> None:
    path = tmp_path / "gateway.db"
    before = beside(path, *EVIDENCE)
    beside(path, altered)
    assert not (await ledger.verify()).is_sound
    repaired = await ledger.repair()
    assert (repaired > 0) == ("balances" in altered)
    found = await ledger.verify()
    assert found.is_sound, found.problems
    assert beside(path, *EVIDENCE) == before


async def test_what_is_reserved_next_counts_from_the_repaired_sums(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    beside(tmp_path / "gateway.db", "UPDATE balances SET settled = 0, reserved = 0, in_doubt = 0")
    await ledger.repair()
    after = await ledger.reserve(an_order(JOBS), NOON + JOBS)
    assert isinstance(after, Reserved)
    assert (await ledger.verify()).is_sound


@pytest.mark.parametrize(
    "altered",
    [
        "UPDATE jobs SET reserved = reserved + 1 WHERE holding = 'reserved'",
        STRAY,
    ],
    ids=["a job", "a stray entry"],
)
async def test_nothing_is_repaired_where_the_evidence_disagrees(
    ledger: SqliteLedger, tmp_path: Path, altered: str
) -> None:
    path = tmp_path / "gateway.db"
    first = await ledger.reserve(an_order(99), NOON + 99)
    assert isinstance(first, Reserved)
    beside(path, altered, "UPDATE balances SET settled = settled + 7")
    before = beside(path, *EVIDENCE, "SELECT * FROM balances")
    with pytest.raises(Unrepairable):
        await ledger.repair()
    assert beside(path, *EVIDENCE, "SELECT * FROM balances") == before
