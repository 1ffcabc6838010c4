"""R38, R42 and the restore of an old backup: what does not add up stops spending, not reading."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.book import JobBook
from gateway.inventory import Inventory
from gateway.metrics import Metrics
from gateway.moments import SystemClock
from gateway.records import Job
from gateway.spending import Spending
from gateway.startup import MISSING_BELIEVED_MAX, StartupChecks
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.videos_disk import DiskVideoStore, name_of
from tests.gateway_process import CommandRefused, GatewayProcess, with_rules
from tests.hand_made import count_jobs
from tests.promises.asking import Client, eventually, order, settled_down
from tests.promises.books import assert_books_balance, job_of, jobs_of
from tests.simulator_process import SimulatorProcess

RULES = with_rules(
    videos={"on_complete": "keep"}, policies={"default": {"each_user": {"day": 1000}}}
)


def changed(gateway: GatewayProcess, sql: str) -> int:
    """Tamper with the database, as no part of the gateway would; how many rows were hit."""
    with closing(sqlite3.connect(gateway.data_dir / "gateway.db")) as database, database:
        return database.execute(sql).rowcount


def files(gateway: GatewayProcess) -> set[Path]:
    """The stored videos."""
    return set((gateway.data_dir / "videos").glob("??/??/*.mp4"))


def leave_behind(gateway: GatewayProcess) -> Path:
    """A file in the store that no job has."""
    orphan = gateway.data_dir / "videos" / "ab" / "cd" / f"abcd{'0' * 60}.mp4"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"left behind")
    return orphan


async def is_refused(client: Client, *words: str) -> bool:
    """Whether orders are answered as while spending is stopped, and for the right reason."""
    answer = await client.queue(order("refused"))
    if answer.status_code == 200:
        return False
    body = answer.json()
    assert (answer.status_code, body["code"]) == (503, "SPENDING_STOPPED")
    assert int(answer.headers["retry-after"]) > 0
    assert all(word in body["message"] for word in words), body["message"]
    return True


async def is_served(client: Client, queue_id: str) -> bool:
    """Whether a stored video is still given."""
    answer = await client.retrieve(queue_id)
    return answer.headers["content-type"] == "video/mp4"


async def cli(gateway: GatewayProcess, *words: str) -> Any:
    return await asyncio.to_thread(gateway.cli, *words)


async def test_a_ledger_that_does_not_add_up_stops_spending_and_not_reading(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    with GatewayProcess(tmp_path, simulator, policies=RULES) as gateway:
        async with Client(gateway) as client:
            queue_id = await client.buy("kept")
            await client.finished(queue_id)
            gateway.kill()
            assert changed(gateway, "UPDATE balances SET settled = settled + 5") > 0
            gateway.start()
            assert await is_refused(client, "0.000", "does not add up")
            assert await is_served(client, queue_id)
            (found,) = gateway.events("ledger.differs")
            assert found["problems"]

            changed(gateway, "UPDATE balances SET settled = settled - 5")
            gateway.restart()
            assert await is_refused(client, "does not add up"), "until somebody has looked"
            await cli(gateway, "spending", "resume", "--why", "the row was mended by hand")
            assert not await is_refused(client)

            changed(gateway, "UPDATE balances SET settled = settled + 7")
            with pytest.raises(CommandRefused, match="differs"):
                await cli(gateway, "ledger", "verify")
            assert await is_refused(client, "does not add up")
            assert await is_served(client, queue_id)


async def test_a_tripped_assertion_of_the_ledger_stops_spending(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """R42: a settlement that would take more than is held, met by the tracker alone."""
    simulator.faults([{"endpoint": "retrieve", "before": "answer", "action": {"delay_seconds": 2}}])
    with GatewayProcess(tmp_path, simulator, policies=RULES) as gateway:
        async with Client(gateway) as client:
            await client.buy("tripped")
            assert changed(gateway, "UPDATE balances SET reserved = 0") > 0
            simulator.faults([])
            # Nothing is ordered meanwhile: it would add to the very balance that is to trip.
            await eventually(lambda: _has_stopped(gateway))
            assert await is_refused(client, "check failed")
            gateway.restart()
            assert await is_refused(client)
            held = [job for job in jobs_of(gateway) if job.reserved]
            assert held, "what could not be settled stays held"


async def _has_stopped(gateway: GatewayProcess) -> bool:
    return bool(gateway.events("spending.stopped"))


async def test_files_and_jobs_agree_after_a_start(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    with GatewayProcess(tmp_path, simulator, policies=RULES) as gateway:
        async with Client(gateway) as client:
            kept, missing = await client.buy("kept"), await client.buy("missing")
            await client.finished(kept)
            await client.finished(missing)
            await settled_down(gateway)
            await eventually(lambda: _copies_gone(gateway))
            gateway.kill()
            leave_behind(gateway)
            _file_of(gateway, missing).unlink()
            gateway.start()
            assert files(gateway) == {_file_of(gateway, kept)}
            assert await is_served(client, kept)
            assert (await client.retrieve(missing)).status_code == 404
        assert job_of(gateway, missing).state == "lost"
        assert_books_balance(gateway)


def _file_of(gateway: GatewayProcess, queue_id: str) -> Path:
    return next(f for f in files(gateway) if f.stem == name_of(job_of(gateway, queue_id).id))


async def _copies_gone(gateway: GatewayProcess) -> bool:
    return all(job.copy_gone for job in jobs_of(gateway))


async def test_a_restored_backup_serves_and_buys_nothing_until_told(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    with GatewayProcess(tmp_path, simulator, policies=RULES) as gateway:
        async with Client(gateway) as client:
            old = await client.buy("before the backup")
            await client.finished(old)
            copy = str(tmp_path / "copy.db")
            made = await cli(gateway, "backup", copy)
            assert (made["jobs"], made["videos"]) == (1, False)
            await client.buy("after the backup")
            gateway.kill()
            later = leave_behind(gateway)
            done = await cli(gateway, "restore", copy)
            assert "replaced" in done["replaced"]
            gateway.start()
            assert await is_refused(client, "backup", "Venice's bill", "spending resume")
            assert await is_served(client, old)
            assert later.exists(), "it may be of a job that will come back"
            await cli(gateway, "spending", "resume", "--why", "compared with the bill")
            assert not await is_refused(client)
            key = (gateway.data_dir / "admin.key").read_text().strip()
            headers = {"authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(headers=headers, trust_env=False) as administrator:
                found = await administrator.get(f"{gateway.url}/gateway/v1/admin/audit")
            audited = found.json()["audit"]
            assert [row["act"] for row in audited[:2]] == ["spending.resume", "database.restore"]


async def test_a_missing_volume_is_not_taken_for_lost_videos(tmp_path: Path) -> None:
    clock, asked = SystemClock(), []
    ledger = await SqliteLedger.open(tmp_path / "gateway.db", upstream="x", now=clock.now())
    spending = Spending(clock, Metrics(), ledger, lambda: True)

    async def mend(job: Job) -> None:
        asked.append(job.id)

    def checks() -> StartupChecks:
        store = DiskVideoStore(tmp_path / "videos")
        inventory = Inventory(ledger, store, JobBook(ledger.job))
        return StartupChecks(
            ledger=ledger, inventory=inventory, spending=spending, clock=clock, mend=mend
        )

    await ledger.access.run(_one_more_stored)
    await checks().run()
    assert (asked, spending.stopped) == (["stored1"], None)
    for _ in range(MISSING_BELIEVED_MAX):
        await ledger.access.run(_one_more_stored)
    await checks().run()
    assert asked == ["stored1"]
    assert "volume" in (spending.stopped or "")
    await ledger.close()


def _one_more_stored(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO jobs (id, user, key_id, model, state, holding, quote, reserved, created_at, "
        "body_digest, policy, policy_version) SELECT 'stored' || (count(*) + 1), 'anna', 'k', "
        "'wan', 'stored', 'settled', 0, 0, 1, 'd', 'p', 'v' FROM jobs"
    )
    count_jobs(connection)
