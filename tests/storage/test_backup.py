"""A backup is whole or not there; restoring it loses neither database, and spending waits."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.budget import Calendar
from gateway.core.job import Event, State
from gateway.core.money import Money
from gateway.ports import DatabaseLocked, DatabaseRefused
from gateway.records import RESTORED, SPENDING_WAITS, Acts, Caller, Key, Order, Reserved, User
from gateway.storage import checks
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.migrate import Step, read_steps
from gateway.storage.upkeep import Upkeep
from gateway.storage.verification import verify
from gateway.storage.writer import connect
from tests.storage.conftest import NOON

ANNA = Caller(User("anna"), Key("annakey", "anna", digest="1" * 64))
WAITS = f"{RESTORED}at noon"


async def opened(path: Path, upstream: str | None = "a stand-in") -> SqliteLedger:
    return await SqliteLedger.open(path, upstream=upstream, now=NOON)


async def order(ledger: SqliteLedger, number: int, *events: Event) -> None:
    """An order that has come as far as the events take it."""
    wanted = Order(
        id=f"job{number}",
        caller=ANNA,
        model="wan",
        body_digest=f"{number:064}",
        idempotency_key=None,
        quote=Money(60_000),
        limits=(),
        calendar=Calendar(),
    )
    assert isinstance(await ledger.reserve(wanted, NOON), Reserved)
    for event in events:
        facts = {"queue_id": f"queue{number}"} if event is Event.ACCEPT else {}
        await ledger.advance(wanted.id, event, NOON, facts=facts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed database with one user, one job that runs, and one that is only reserved."""
    found = tmp_path / "gateway.db"

    async def make() -> None:
        ledger = await opened(found)
        await ledger.add_user(ANNA.user)
        await order(ledger, 1, Event.SEND, Event.ACCEPT)
        await order(ledger, 2)
        await ledger.close()

    asyncio.run(make())
    return found


def jobs_in(path: Path) -> int:
    """How many jobs a whole, balanced database has."""
    with checks.reading(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert verify(connection).is_sound
        found: int = connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
    return found


def content_of(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_backup_under_writes_is_of_one_moment(path: Path, tmp_path: Path) -> None:
    ledger = await opened(path)
    writing = asyncio.create_task(_write(ledger, range(10, 110)))
    counts = []
    for number in range(5):
        copy = tmp_path / f"copy{number}.db"
        found = await asyncio.to_thread(Upkeep(path).back_up, copy)
        assert jobs_in(copy) == found.jobs
        assert found.entries == 2 * found.jobs - 2
        assert copy.stat().st_mode & 0o777 == 0o600
        counts.append(found.jobs)
    await writing
    await ledger.close()
    assert counts == sorted(counts)


async def _write(ledger: SqliteLedger, numbers: range) -> None:
    def ordered_and_given_up(number: int) -> Callable[[sqlite3.Connection], None]:
        def work(connection: sqlite3.Connection) -> None:
            money = ledger._money
            wanted = Order(
                id=f"job{number}",
                caller=ANNA,
                model="wan",
                body_digest=f"{number:064}",
                idempotency_key=None,
                quote=Money(60_000),
                limits=(),
                calendar=Calendar(),
            )
            money.reserve(connection, wanted, NOON)
            money.advance(
                connection,
                wanted.id,
                Event.GIVE_UP,
                NOON,
                facts={},
                reason=None,
                actor=None,
                settle_as=None,
            )

        return work

    for number in numbers:
        await ledger.access.run(ordered_and_given_up(number))


def test_a_backup_overwrites_nothing_and_leaves_nothing_half_made(
    path: Path, tmp_path: Path
) -> None:
    taken = tmp_path / "taken.db"
    taken.write_text("precious")
    with pytest.raises(DatabaseRefused, match="is there already"):
        Upkeep(path).back_up(taken)
    with pytest.raises(DatabaseRefused, match="cannot be written"):
        Upkeep(path).back_up(tmp_path / "nowhere" / "copy.db")
    assert taken.read_text() == "precious"
    assert {p.name for p in tmp_path.iterdir()} <= {
        *("gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.db.lock", "taken.db"),
    }


async def test_a_restored_database_waits_and_takes_nothing_for_never_sent(
    path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    Upkeep(path).back_up(copy)
    ledger = await opened(path)
    await order(ledger, 3)
    await ledger.close()

    done = Upkeep(path).restore(copy, NOON, WAITS)
    assert done.replaced is not None
    assert jobs_in(done.replaced) == 3
    assert jobs_in(path) == 2
    ledger = await opened(path)
    assert await ledger.mark(SPENDING_WAITS) == WAITS
    assert [job.id for job in await ledger.jobs(states=[State.SENDING])] == ["job2"]
    assert [row.act for row in await ledger.audits(Acts(), None, 10)] == ["database.restore"]
    await ledger.close()


def test_a_backup_of_an_older_version_is_restored_at_the_newest(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    Upkeep(path).back_up(copy)
    later = Step(99, "0099_later.sql", "CREATE TABLE later (x TEXT) STRICT;")
    newer = [*read_steps(), later]
    assert Upkeep(path, newer).restore(copy, NOON, WAITS).found.version < 99
    assert Upkeep(path, newer).missing().version == 99
    assert Upkeep(copy).missing().version < 99
    assert jobs_in(path) == 2


async def test_nothing_is_restored_that_does_not_fit(path: Path, tmp_path: Path) -> None:
    copy, works = tmp_path / "copy.db", Upkeep(path)
    works.back_up(copy)
    foreign = tmp_path / "foreign.db"
    await (await opened(foreign, "another upstream")).close()
    damaged = tmp_path / "damaged.db"
    content = bytearray(copy.read_bytes())
    content[4096 * 3 : 4096 * 6] = os.urandom(4096 * 3)
    damaged.write_bytes(content)
    newer = tmp_path / "newer.db"
    shutil.copy(copy, newer)
    with closing(sqlite3.connect(newer)) as database, database:
        database.execute("INSERT INTO migrations VALUES (4711, 'x', 'x', 1)")
    before = content_of(path)
    for wrong, why in (
        (foreign, "another upstream"),
        (damaged, "damaged|malformed"),
        (newer, "4711"),
        (tmp_path / "absent.db", "no database at"),
        (Path(__file__), "cannot be read"),
    ):
        with pytest.raises(DatabaseRefused, match=why):
            works.restore(wrong, NOON, WAITS)
    ledger = await opened(path)
    with pytest.raises(DatabaseLocked):
        works.restore(copy, NOON, WAITS)
    await ledger.close()
    assert content_of(path) == before
    assert jobs_in(path) == 2


def test_a_damaged_database_is_replaced_and_kept(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    Upkeep(path).back_up(copy)
    path.write_bytes(b"ruins" * 1000)
    done = Upkeep(path).restore(copy, NOON, WAITS)
    assert done.replaced is not None
    assert done.replaced.read_bytes() == b"ruins" * 1000
    assert jobs_in(path) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.storage.upkeep import Upkeep
from gateway.storage.verification import verify

folder, step, armed = Path(sys.argv[1]), 0, False
MOVES = ("os.rename", "os.link", "os.remove", "sqlite3.connect")
seen = 0


def watch(event, _arguments):
    global seen
    if armed and event in MOVES:
        seen += 1
        if seen == step:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(watch)
while True:
    step += 1
    child = os.fork()
    if not child:
        armed = True
        Upkeep(folder / str(step) / "gateway.db").restore(folder / "copy.db", 1, "restored x")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(step)
"""
KILLS_PREPARED = 40


async def _order_one_more(path: Path) -> None:
    ledger = await opened(path)
    await order(ledger, 3)
    await ledger.close()


def test_a_kill_while_restoring_leaves_the_one_database_or_the_other(
    path: Path, tmp_path: Path
) -> None:
    Upkeep(path).back_up(tmp_path / "copy.db")
    asyncio.run(_order_one_more(path))
    for number in range(1, KILLS_PREPARED):
        (tmp_path / str(number)).mkdir()
        shutil.copy(path, tmp_path / str(number))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, check=True
    )
    found = []
    for number in range(1, int(done.stdout) + 1):
        database = tmp_path / str(number) / "gateway.db"
        connect(database).close()
        found.append(jobs_in(database))
    assert len(found) > 5
    assert found == sorted(found, reverse=True)
    assert set(found) == {3, 2}
