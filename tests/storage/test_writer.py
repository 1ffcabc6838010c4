"""What the writer's thread promises: whoever waits is answered, and a ledger that does not add up
is told of wherever it shows.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.budget import Limit, Scope
from gateway.core.job import Event, State
from gateway.core.money import Money
from gateway.ports import LedgerBroken, LedgerFull
from gateway.records import Reserved, User
from gateway.storage import job_moves, ledger_sqlite
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.writer import Writer, connect
from tests.storage.conftest import NOON
from tests.storage.test_ledger import an_order

LIMIT = Limit(Scope.USER, "anna", "anna", "day", Money(10**9))


@pytest.fixture
async def told() -> list[str]:
    """What whoever stops the spending was told."""
    return []


@pytest.fixture
async def ledger(tmp_path: Path, told: list[str]) -> AsyncIterator[SqliteLedger]:
    """A ledger of its own file, which a test may damage."""
    opened = await SqliteLedger.open(
        tmp_path / "gateway.db", upstream="a stand-in", now=NOON, observe_broken=told.append
    )
    yield opened
    await opened.close()


def damage(path: Path, sql: str) -> None:
    """Change the database by hand, as nobody should."""
    with sqlite3.connect(path) as connection:
        connection.execute(sql)
    connection.close()


async def test_a_corrupted_balance_stops_the_spending_from_any_write(
    ledger: SqliteLedger, tmp_path: Path, told: list[str]
) -> None:
    """R42: here the write is a release, as the reaper or the tracker do."""
    held = await ledger.reserve(an_order(1, limits=[LIMIT]), NOON)
    assert isinstance(held, Reserved)
    damage(tmp_path / "gateway.db", "UPDATE balances SET reserved = 1")
    with pytest.raises(LedgerBroken, match="constraint"):
        await ledger.advance(held.job.id, Event.GIVE_UP, NOON)
    assert len(told) == 1
    assert await ledger.job(held.job.id) == held.job
    assert not (await ledger.verify()).is_sound


async def test_a_balance_that_is_gone_stops_the_spending(
    ledger: SqliteLedger, tmp_path: Path, told: list[str]
) -> None:
    await ledger.reserve(an_order(1, limits=[LIMIT]), NOON)
    damage(tmp_path / "gateway.db", "DELETE FROM balances")
    with pytest.raises(LedgerBroken, match="gone"):
        await ledger.reserve(an_order(2, limits=[LIMIT]), NOON)
    assert len(told) == 1
    held = await ledger.reserve(an_order(3, limits=[LIMIT]), NOON)
    assert isinstance(held, Reserved), "it was read again, and made again from the jobs"
    assert (await ledger.verify()).is_sound


async def test_orders_that_cannot_be_written_fail_together_and_harm_nobody_else(
    ledger: SqliteLedger, told: list[str]
) -> None:
    """R42: two orders with one id, which no constraint lets pass, beside two others."""
    await ledger.reserve(an_order(1, limits=[LIMIT]), NOON)
    orders = (ledger.reserve(an_order(number, limits=[LIMIT]), NOON) for number in (2, 3, 3))
    *held, added = await asyncio.gather(
        *orders, ledger.add_user(User("anna")), return_exceptions=True
    )
    assert added is None
    assert all(isinstance(each, LedgerBroken) for each in held), held
    assert len(told) == 1
    assert [job.id for job in await ledger.jobs()] == ["job1"]
    assert [user.name for user in await ledger.users()] == ["anna"]
    assert (await ledger.verify()).is_sound


async def test_a_job_that_moved_since_it_was_read_is_not_moved_again(ledger: SqliteLedger) -> None:
    held = await ledger.reserve(an_order(1, limits=[LIMIT]), NOON)
    assert isinstance(held, Reserved)
    released = await ledger.advance(held.job.id, Event.GIVE_UP, NOON)
    stale = {"state": State.SENDING}
    with pytest.raises(LedgerBroken, match="no longer reserved"):
        await ledger.access.run(
            lambda connection: job_moves.guarded_update(connection, held.job, stale)
        )
    assert await ledger.job(held.job.id) == released


async def test_entries_of_no_job_do_not_add_up(ledger: SqliteLedger, tmp_path: Path) -> None:
    damage(
        tmp_path / "gateway.db",
        "INSERT INTO entries (job, kind, at, reserved, in_doubt, settled) "
        "VALUES ('nobody', 'reserve', 1, 85000, 0, 0)",
    )
    found = await ledger.verify()
    assert not found.is_sound
    assert found.drift == Money(85_000)


async def test_one_that_fails_after_writing_harms_no_neighbour(tmp_path: Path) -> None:
    writer = _writer(tmp_path)

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO t VALUES (-1)")
        raise ValueError("after writing")

    def writes(number: int) -> asyncio.Future[None]:
        return asyncio.ensure_future(writer.run(lambda connection: _insert(connection, number)))

    tasks = [writes(1), writes(2), asyncio.ensure_future(writer.run(fails)), writes(3)]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in done] == [type(None), type(None), ValueError, type(None)]
    found = await writer.run(lambda connection: connection.execute("SELECT n FROM t").fetchall())
    assert sorted(found) == [(1,), (2,), (3,)]
    await asyncio.to_thread(writer.close)


async def test_a_thread_that_fails_answers_all_who_wait_and_refuses_all_who_come(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    writer = _writer(tmp_path, told)

    def dies(_connection: sqlite3.Connection) -> None:
        raise SystemExit("no thread survives this")

    tasks = [asyncio.ensure_future(writer.run(dies)) for _ in range(3)]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in done] == [LedgerBroken] * 3
    assert len(told) == 1
    with pytest.raises(LedgerBroken, match="no thread survives"):
        await writer.run(lambda connection: _insert(connection, 1))
    await asyncio.to_thread(writer.close)


async def test_a_closed_writer_refuses_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    writer = _writer(tmp_path)
    last = asyncio.ensure_future(writer.run(lambda connection: _insert(connection, 1)))
    await asyncio.sleep(0)
    await asyncio.to_thread(writer.close)
    await last
    with pytest.raises(LedgerBroken, match="closed"):
        await writer.run(lambda connection: _insert(connection, 2))


def _writer(folder: Path, told: list[str] | None = None) -> Writer:
    connection = connect(folder / "any.db")
    connection.execute("CREATE TABLE t (n INTEGER)")
    return Writer(connection, observe_broken=(told if told is not None else []).append)


def _insert(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("INSERT INTO t VALUES (?)", (number,))


async def refuse(ledger: SqliteLedger, user: str, at: int) -> None:
    """A refusal of a user's order."""
    await ledger.refuse(
        at=at, user=user, key_id="k", code="C", rule="r", model="wan", amount=Money(1)
    )


async def test_refusals_are_kept_for_a_time_and_of_each_user_so_many(ledger: SqliteLedger) -> None:
    await refuse(ledger, "anna", NOON)
    after = NOON + ledger_sqlite.REFUSALS_KEPT_MS + 1
    most = ledger_sqlite.REFUSALS_OF_A_USER_MAX
    await asyncio.gather(*(refuse(ledger, "berta", after) for _ in range(most + 5)))
    await refuse(ledger, "carla", after)
    assert await ledger.refusals("anna", None, 10) == []
    assert len(await ledger.refusals("berta", None, 2 * most)) == most
    assert len(await ledger.refusals("carla", None, 10)) == 1


async def test_a_refusal_that_cannot_be_kept_stays_a_refusal(ledger: SqliteLedger) -> None:
    def shrink(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1")
        connection.execute("CREATE TABLE filler (text TEXT)")

    with pytest.raises(LedgerFull):
        await ledger.access.run(shrink)
    await refuse(ledger, "anna", NOON)


@pytest.mark.parametrize("name", ["50%41", "what?", "number#1", "a space"])
async def test_a_data_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    ledger = await SqliteLedger.open(tmp_path / name / "gateway.db", upstream="x", now=NOON)
    await ledger.add_user(User("anna"))
    assert [user.name for user in await ledger.users()] == ["anna"]
    assert (await ledger.verify()).is_sound
    await ledger.close()


async def test_totals_follow_the_jobs(ledger: SqliteLedger) -> None:
    """What metrics show is kept as jobs move, and proved with the rest."""
    for number in range(3):
        held = await ledger.reserve(an_order(number), NOON)
        assert isinstance(held, Reserved)
    await ledger.advance("job0", Event.GIVE_UP, NOON)
    totals = await ledger.totals()
    assert totals.reserved == Money(2 * 85_000)
    assert {state: count for state, count in totals.jobs.items() if count} == {
        "reserved": 2,
        "released": 1,
    }
    assert (await ledger.verify()).is_sound
