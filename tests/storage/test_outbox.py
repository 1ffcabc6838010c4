"""The outbox keeps a notice once, with all its deliveries, and finds every job that ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.job import Event, State
from gateway.core.notices import Attempt, Delivery, Notice, Telling, Webhook
from gateway.ports import Outbox
from gateway.storage.ledger_sqlite import SqliteLedger
from gateway.storage.outbox import SqliteOutbox
from tests.storage.conftest import NOON
from tests.storage.test_ledger import ANNA, an_order

ARRIVED = Attempt(NOON, 5, 204)
FAILED = Attempt(NOON, 5, 500, "status 500")


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    """A ledger that knows anna."""
    opened = await SqliteLedger.open(tmp_path / "gateway.db", upstream="a stand-in", now=NOON)
    await opened.add_user(ANNA.user)
    await opened.add_key(ANNA.key)
    yield opened
    await opened.close()


@pytest.fixture
def outbox(ledger: SqliteLedger) -> Outbox:
    return SqliteOutbox(ledger.access)


def a_notice(number: int, key: str | None = None, at: int = NOON) -> Notice:
    facts = {"state": "lost", "tags": ["a"]}
    return Notice(f"n{number}", key or f"k{number}", "job.failed", "j", at, "film", "anna", facts)


async def only(outbox: Outbox) -> Delivery:
    [found] = await outbox.deliveries()
    return found


async def test_a_notice_is_kept_once_with_a_delivery_to_each_and_the_marks_beside_it(
    ledger: SqliteLedger, outbox: Outbox
) -> None:
    await outbox.post([(a_notice(1), ["a", "b"])], {"seen": "7"})
    await outbox.post([(a_notice(2, key="k1"), ["c"])], {"seen": "8"})
    found = await outbox.deliveries()
    assert [(d.receiver, d.notice) for d in found] == [("b", a_notice(1)), ("a", a_notice(1))]
    assert await ledger.mark("seen") == "8"


async def test_what_nobody_wants_leaves_nothing(ledger: SqliteLedger, outbox: Outbox) -> None:
    await outbox.post([(a_notice(1), [])], {"seen": "1"})
    assert await outbox.deliveries() == []
    assert await ledger.mark("seen") == "1"


async def test_a_try_that_failed_is_due_again_and_one_that_arrived_never(outbox: Outbox) -> None:
    await outbox.post([(a_notice(1), ["a"])], {})
    [delivery] = await outbox.due(NOON, [], 10)
    assert await outbox.due(NOON - 1, [], 10) == await outbox.due(NOON, ["a"], 10) == []
    await outbox.tried(delivery, FAILED, NOON + 50)
    assert await outbox.due(NOON + 49, [], 10) == []
    [again] = await outbox.due(NOON + 50, [], 10)
    assert (again.attempts, again.last_status, again.state) == (1, 500, Telling.WAITING)
    await outbox.tried(again, ARRIVED, None)
    assert await outbox.due(NOON + 10**9, [], 10) == []
    ended = await only(outbox)
    assert (ended.state, ended.ended_at) == (Telling.DELIVERED, NOON + 5)
    assert [each.status for each in await outbox.attempts(ended.number)] == [500, 204]


async def test_redelivery_begins_anew_and_keeps_the_log(outbox: Outbox) -> None:
    await outbox.post([(a_notice(1), ["a", "b"])], {})
    for delivery in await outbox.due(NOON, [], 10):
        await outbox.tried(delivery, FAILED, None)
    assert {d.state for d in await outbox.deliveries()} == {Telling.GIVEN_UP}
    assert await outbox.redeliver("n1", "nobody", NOON + 9) == 0
    assert await outbox.redeliver("n1", "a", NOON + 9) == 1
    [again] = await outbox.due(NOON + 9, [], 10)
    assert (again.receiver, again.since, again.attempts) == ("a", NOON + 9, 0)
    assert len(await outbox.attempts(again.number)) == 1
    assert await outbox.redeliver("n1", None, NOON + 9) == 2


async def test_deliveries_are_found_by_what_they_are_a_page_at_a_time(outbox: Outbox) -> None:
    await outbox.post([(a_notice(n), ["a", "b"]) for n in range(5)], {})
    first = await outbox.deliveries(receiver="a", limit=3)
    rest = await outbox.deliveries(receiver="a", limit=3, before=first[-1].number)
    assert [d.notice.id for d in first + rest] == ["n4", "n3", "n2", "n1", "n0"]
    assert len(await outbox.deliveries(notice="n2")) == 2
    assert await outbox.deliveries(state=Telling.DELIVERED) == []
    assert await outbox.deliveries(event="key.blocked") == []


async def test_old_notices_go_with_all_about_them(outbox: Outbox) -> None:
    await outbox.post([(a_notice(1), ["a"]), (a_notice(2, at=NOON + 9), ["a"])], {})
    await outbox.tried((await outbox.deliveries(notice="n1"))[0], FAILED, None)
    await outbox.forget(NOON + 9)
    assert (await only(outbox)).notice.id == "n2"


async def test_jobs_are_found_by_their_end_and_their_doubt(
    ledger: SqliteLedger, outbox: Outbox
) -> None:
    for number in range(4):
        await ledger.reserve(an_order(number), NOON)
        await ledger.advance(f"job{number}", Event.SEND, NOON)
    assert (await outbox.doubted_jobs(0, 10)) == ([], 4)
    for number in (2, 0):
        await ledger.advance(f"job{number}", Event.REFUSE, NOON + 1)
    await ledger.advance("job1", Event.LOSE_ANSWER, NOON + 2)
    await ledger.advance("job3", Event.REFUSE, NOON + 3)
    ended = await outbox.ended_jobs(NOON, 0, 2)
    assert [job.id for _, job in ended] == ["job0", "job2"]
    number, last = ended[-1]
    assert last.ended_at is not None
    assert [job.id for _, job in await outbox.ended_jobs(last.ended_at, number, 9)] == ["job3"]
    [(entry, doubted)], reached = await outbox.doubted_jobs(4, 10)
    assert (doubted.id, doubted.state) == ("job1", State.IN_DOUBT)
    assert entry < reached == await ledger.entry_count()


async def test_finding_what_ended_reads_an_index(ledger: SqliteLedger) -> None:
    plan = await ledger.access.rows(
        "EXPLAIN QUERY PLAN SELECT j.number FROM jobs AS j WHERE j.ended_at >= ? "
        "AND (j.ended_at > ? OR j.number > ?) ORDER BY j.ended_at, j.number LIMIT ?",
        (1, 1, 1, 1),
    )
    assert "jobs_by_end" in plan[0][3]
    assert not any("TEMP B-TREE" in row[3] for row in plan)


async def test_a_webhook_is_one_per_user_until_removed(outbox: Outbox) -> None:
    await outbox.set_webhook(Webhook("anna", "https://a.example/", "1", NOON))
    await outbox.set_webhook(Webhook("anna", "https://b.example/", "2", NOON))
    assert await outbox.webhooks() == [Webhook("anna", "https://b.example/", "2", NOON)]
    assert await outbox.remove_webhook("anna")
    assert not await outbox.remove_webhook("anna")
