"""Pages of lists that grow for ever are read by an index or by a walk, and never sorted whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.core.job import Entry, Event, State
from gateway.ports import Ledger
from gateway.records import Acts
from gateway.storage import listed
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.storage.conftest import NOON
from tests.storage.test_ledger import BERTA, advance, an_order, reserve
from tests.storage.test_ledger import ledger as ledger  # noqa: PLC0414 - the fixture

ANY: dict[str, Any] = {
    "states": (),
    "user": None,
    "team": None,
    "model": None,
    "key": None,
    "since": None,
    "until": None,
    "delivered": None,
    "suspicious": None,
    "before": None,
    "limit": 10,
}


async def test_jobs_are_found_by_what_they_were_ordered_with(ledger: Ledger) -> None:
    other = await reserve(ledger, an_order(1, BERTA, model="other"), NOON)
    jobs = [await reserve(ledger, an_order(n), NOON + n) for n in range(2, 5)]
    await advance(ledger, jobs[1], Event.GIVE_UP)

    async def ids(**asked: Any) -> list[str]:
        return [job.id for job in await ledger.jobs(**asked)]

    ours = ["job4", "job3", "job2"]
    assert await ids(team="film") == await ids(model="wan") == await ids(key="annakey") == ours
    assert await ids(model="other") == [other.id]
    assert await ids(since=NOON + 3) == ["job4", "job3"]
    assert await ids(until=NOON + 3) == ["job2", "job1"]
    assert await ids(user="anna", since=NOON + 2, until=NOON + 4) == ["job3", "job2"]
    assert await ids(team="film", since=NOON + 3, before="job4", limit=1) == ["job3"]
    assert await ids(user="berta", key="annakey") == []


async def test_jobs_are_found_by_what_became_of_their_videos(ledger: Ledger) -> None:
    for number in range(1, 4):
        await reserve(ledger, an_order(number), NOON)
    await ledger.note("job1", {"delivered_at": NOON})
    await ledger.note("job2", {"delivered_at": NOON, "is_suspicious": True})

    async def ids(**asked: Any) -> list[str]:
        return [job.id for job in await ledger.jobs(**asked)]

    assert await ids(delivered=True) == ["job2", "job1"]
    assert await ids(delivered=False) == ["job3"]
    assert await ids(suspicious=True) == ["job2"]
    assert await ids(suspicious=False, delivered=True) == ["job1"]


async def test_entries_are_found_by_job_and_kind(ledger: Ledger) -> None:
    jobs = [await reserve(ledger, an_order(n)) for n in range(3)]
    await advance(ledger, jobs[1], Event.GIVE_UP)

    async def found(**asked: Any) -> list[tuple[str, Entry]]:
        return [(row.job, row.kind) async for row in ledger.entries(**asked, at_once=1)]

    ours = [("job1", Entry.RESERVE), ("job1", Entry.RELEASE)]
    assert await found(job="job1") == ours
    assert await found(job="job1", kind=Entry.RELEASE) == await found(kind=Entry.RELEASE)
    assert await found(kind=Entry.RESERVE) == [(job.id, Entry.RESERVE) for job in jobs]


async def test_acts_are_found_by_who_did_what_to_whom_and_when(ledger: Ledger) -> None:
    for at, act in enumerate(("user.add", "user.change", "user.add")):
        await ledger.audit(at=at, actor="root", act=act, target=f"user{at}", detail="{}")

    async def found(**asked: Any) -> list[int]:
        return [row.at for row in await ledger.audits(Acts(**asked), None, 10)]

    assert await found(act="user.add") == [2, 0]
    assert await found(target="user1", actor="root") == [1]
    assert await found(since=1, until=2) == [1]
    assert await found(actor="somebody") == []


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        (listed.jobs(**ANY | {"team": "x", "model": "x"}), []),
        (listed.jobs(**ANY | {"states": [State.STORED], "delivered": False}), []),
        (listed.jobs(**ANY | {"since": 1}), ["jobs_by_time (created_at>? AND created_at<?)"]),
        (listed.jobs(**ANY | {"user": "x", "key": "x"}), ["jobs_by_user (user=?)", "jobs_held"]),
        (
            listed.jobs(**ANY | {"user": "x", "until": 1}),
            ["jobs_by_user (user=? AND created_at>?", "jobs_held (created_at>?"],
        ),
        (listed.entries(5, job="x", kind=Entry.SETTLE, limit=9), ["entries_by_job (job=?)"]),
        (listed.entries(5, job=None, kind=Entry.SETTLE, limit=9), ["PRIMARY KEY (rowid>?)"]),
        (listed.audits(Acts("x", "x", "x", 1, 2), 5, 10), ["PRIMARY KEY (rowid<?)"]),
    ],
)
async def test_a_page_is_read_by_an_index_or_in_its_order(
    tmp_path: Path, asked: listed.Asked, steps: list[str]
) -> None:
    ledger = await SqliteLedger.open(tmp_path / "gateway.db", upstream=None, now=NOON)
    sql, values = asked
    found = await ledger.access.scan(f"EXPLAIN QUERY PLAN {sql}", values)
    await ledger.close()
    plan = [row[3] for row in found]
    for step in steps:
        assert any(step in line for line in plan), plan
    # One job's entries are a handful.
    is_sorted = any("TEMP B-TREE" in line for line in plan)
    assert is_sorted == any("entries_by_job" in line for line in plan)
