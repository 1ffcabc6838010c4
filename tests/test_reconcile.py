"""The comparison with Venice's bill: what it moves, what it leaves, and what it keeps of itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.administer import reconciling
from gateway.core.bill import Finding, Match
from gateway.core.charges import NEAR_MS, BilledJob
from gateway.core.errors import UpstreamBusy, UpstreamInvalid
from gateway.core.job import Event, State
from gateway.core.money import ZERO, Money
from gateway.core.retry import Outcome
from gateway.core.verdict import Act, Verdict
from gateway.evidence import Evidence
from gateway.moments import rfc3339
from gateway.ports import Ledger, Reply
from gateway.reconcile import LOOK_BACK_MS
from gateway.records import RESTORED, SPENDING_WAITS, Acts, Job
from tests.bill_house import LOST, MODEL, PRICE, TAKEN, BillHouse, bill_house

HOUR = 3_600.0


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[BillHouse]:
    async with bill_house(tmp_path) as found:
        yield found


async def test_clean_rows_are_all_the_same_whatever_else_the_account_bought(
    house: BillHouse,
) -> None:
    for number in range(1, 8):
        job = await house.job(*TAKEN)
        house.bill.add(house.clock.now(), "0.06", job.queue_id)
        house.bill.add(house.clock.now(), "0.5", f"chat-{number}", sku="chat-llm-output-mtoken")
    entries = [entry async for entry in house.ledger.entries()]
    run = await house.reconciler.run("anna")
    assert (run.counts, run.drift, run.findings) == ({"same": 7}, ZERO, [])
    assert (run.rows, run.jobs, run.is_complete, run.actor) == (14, 7, True, "anna")
    assert [entry async for entry in house.ledger.entries()] == entries
    assert len(house.bill.asked) > 1
    assert all(list(query) == ["cursor"] for query in house.bill.asked[1:])


async def test_each_thing_that_was_put_right_is_audited_with_its_evidence(house: BillHouse) -> None:
    dearer, given_back = await house.job(*TAKEN), await house.job(*TAKEN)
    house.bill.add(dearer.sent_at or 0, "0.07", dearer.queue_id)
    house.bill.add(given_back.sent_at or 0, "0.06", given_back.queue_id)
    house.bill.add(house.clock.now(), "-0.06", given_back.queue_id)
    run = await house.reconciler.run("anna")
    assert (await house.now(dearer)).settled == Money(70_000)
    assert (await house.now(given_back)).state == "failed_refunded"
    assert (run.corrected, run.drift) == (Money(10_000 - 60_000), ZERO)
    acts = {row.act: row for row in await house.ledger.audits(Acts(), None, 10)}
    assert set(acts) == {"job.correct", "job.find_unbilled"}
    assert {row.actor for row in acts.values()} == {"reconcile"}
    detail = json.loads(acts["job.correct"].detail)
    assert (detail["billed_usd"], detail["request_id"]) == ("0.070000", dearer.queue_id)
    entry = (await house.ledger.entries_of(dearer.id))[-1]
    assert entry.reason == (
        f"Venice's bill shows it charged otherwise (request {dearer.queue_id}); an overrun of "
        "0.010000 USD above what was held"
    )
    assert house.metrics.overruns._value.get() == pytest.approx(0.01)
    refunds = house.metrics.refunds.labels("bill")._value.get()
    assert refunds == pytest.approx(0.06)
    assert (await house.ledger.verify()).is_sound


async def test_what_the_bill_proves_of_a_job_that_has_moved_since_is_left_to_the_next_run(
    house: BillHouse,
) -> None:
    """An administrator settles a doubt while a run finds nothing of it: their word stands."""
    doubt = await house.job(*LOST)
    run = await house.reconciler.run("anna")
    assert run.counts == {"waiting": 1}
    read = BilledJob(
        doubt.id, None, MODEL, State.IN_DOUBT, doubt.sent_at or 0, doubt.quote, paid=ZERO
    )
    house.book.put(await house.ledger.advance(doubt.id, Event.DECIDE_BILLED, house.clock.now()))
    evidence = Evidence(house.ledger, house.clock, house.book, house.metrics)
    silence = Verdict(Act.MOVE, "Venice's bill does not show it", Event.DECIDE_UNBILLED)
    (acted,) = await evidence.act([(Match(read, Finding.UNBILLED), silence)])
    assert not acted.is_done
    assert (await house.now(doubt)).state is State.SETTLED_IN_DOUBT


class DecidedMeanwhile:
    """The ledger, where an administrator settles a doubt as soon as anybody has read it."""

    def __init__(self, ledger: Ledger, at: int) -> None:
        self._ledger = ledger
        self._at = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def job(self, job_id: str) -> Job | None:
        read = await self._ledger.job(job_id)
        await self._ledger.advance(job_id, Event.DECIDE_BILLED, self._at, actor="anna")
        return read


async def test_a_decision_made_while_the_bill_is_acted_on_stands(house: BillHouse) -> None:
    doubt = await house.job(*LOST)
    read = BilledJob(
        doubt.id, None, MODEL, State.IN_DOUBT, doubt.sent_at or 0, doubt.quote, paid=ZERO
    )
    racing: Any = DecidedMeanwhile(house.ledger, house.clock.now())
    evidence = Evidence(racing, house.clock, house.book, house.metrics)
    silence = Verdict(Act.MOVE, "Venice's bill does not show it", Event.DECIDE_UNBILLED)
    (acted,) = await evidence.act([(Match(read, Finding.UNBILLED), silence)])
    assert not acted.is_done
    assert [entry.actor for entry in await house.ledger.entries_of(doubt.id)][-1] == "anna"


async def test_a_second_run_changes_nothing_more(house: BillHouse) -> None:
    job, doubt = await house.job(*TAKEN), await house.job(*LOST)
    house.bill.add(job.sent_at or 0, "0.07", job.queue_id)
    house.bill.add(doubt.sent_at or 0, "0.06", "a-row")
    await house.reconciler.run("anna")
    entries = [entry async for entry in house.ledger.entries()]
    again = await house.reconciler.run("anna")
    assert [entry async for entry in house.ledger.entries()][:-1] == entries[:-1]
    assert again.corrected == ZERO
    assert again.drift == ZERO


async def test_a_doubt_whose_queue_id_the_bill_names_is_asked_for_again(house: BillHouse) -> None:
    known, doubt = await house.job(*TAKEN), await house.job(*LOST)
    await house.clock.advance(2 * HOUR)
    house.bill.add(known.sent_at or 0, "0.06", known.queue_id)
    house.bill.add(doubt.sent_at or 0, "0.06", "q-found", sku=f"{MODEL}-video-unit")
    # Two rows of one price in two minutes: the known job has its own, so one is left.
    run = await house.reconciler.run("anna")
    found = await house.now(doubt)
    assert (found.state, found.queue_id) == (State.PROCESSING, "q-found")
    assert (found.reserved, found.in_doubt) == (PRICE, ZERO)
    assert found.accepted_at == house.clock.now(), "its 24 hours begin anew"
    assert json.loads(found.answer or "") == {"model": MODEL, "queue_id": "q-found"}
    assert run.counts["identify"] == run.counts["resolved"] == 1


async def test_a_refused_order_that_was_billed_is_settled_and_then_found(house: BillHouse) -> None:
    known = await house.job(*TAKEN)
    refused = await house.job(Event.SEND, Event.REFUSE)
    house.bill.add(known.sent_at or 0, "0.06", known.queue_id)
    house.bill.add(refused.sent_at or 0, "0.06", "q-late")
    await house.reconciler.run("anna")
    assert (await house.now(refused)).settled == PRICE
    await house.reconciler.run("anna")
    found = await house.now(refused)
    assert (found.state, found.queue_id, found.settled) == (State.PROCESSING, "q-late", PRICE)
    assert (await house.ledger.verify()).is_sound


async def test_a_late_refund_of_a_job_from_before_the_range_is_not_a_strangers(
    house: BillHouse,
) -> None:
    old = await house.job(*TAKEN)
    house.bill.add(old.sent_at or 0, "0.06", old.queue_id)
    await house.clock.advance(48 * HOUR)
    house.bill.add(house.clock.now(), "-0.06", old.queue_id)
    house.bill.add(house.clock.now(), "0.5", "stranger")
    narrow = await house.reconciler.run("anna", house.clock.now() - 1_000)
    assert [found.request_id for found in narrow.findings] == ["stranger"]
    assert (narrow.jobs, narrow.is_whole) == (0, False)
    whole = await house.reconciler.run("anna")
    assert whole.is_whole
    assert (await house.now(old)).state == "failed_refunded"


async def test_a_run_begins_a_week_before_the_last_one_and_at_the_oldest_doubt(
    house: BillHouse,
) -> None:
    await house.job(*TAKEN)
    await house.clock.advance(30 * 24 * HOUR)
    doubt = await house.job(*LOST)
    house.bill.add(doubt.sent_at or 0, "0.01", "alike")
    await house.reconciler.run("anna")
    await house.clock.advance(24 * HOUR)
    second = await house.reconciler.run("anna")
    assert doubt.sent_at is not None
    assert second.since <= doubt.sent_at
    await house.clock.advance(90 * 24 * HOUR)
    # Long after, the doubt is settled; from then on a week is enough.
    third = await house.reconciler.run("anna")
    assert third.counts["decide_billed"] == 1
    fourth = await house.reconciler.run("anna")
    assert fourth.since == third.until - LOOK_BACK_MS
    asked = house.bill.asked[-1]["startTimestamp"]
    assert asked == rfc3339(fourth.since - NEAR_MS)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Reply(Outcome.REFUSED, 401), UpstreamInvalid),
        (Reply(Outcome.LOST), UpstreamBusy),
        (Reply(Outcome.OK, 200, b"", {"data": "no"}), UpstreamInvalid),
        (Reply(Outcome.OK, 200, b"", {"data": [], "nextCursor": "again"}), UpstreamInvalid),
    ],
)
async def test_a_bill_that_cannot_be_read_changes_nothing(
    house: BillHouse, answer: Reply, error: type[Exception]
) -> None:
    doubt = await house.job(*LOST)
    await house.clock.advance(1_000 * HOUR)
    house.bill.answer = answer
    with pytest.raises(error):
        await house.reconciler.run("anna")
    assert (await house.now(doubt)).state is State.IN_DOUBT
    assert await house.reconciler.kept.page(None, 10) == []


async def test_runs_are_kept_as_they_were_told(house: BillHouse) -> None:
    job = await house.job(*TAKEN)
    house.bill.add(job.sent_at or 0, "0.07", job.queue_id)
    house.bill.add(house.clock.now(), "0.5", "stranger")
    house.bill.add(house.clock.now(), "2", "credits", currency="DIEM")
    first = await house.reconciler.run("anna")
    second = await house.reconciler.run("berta")
    kept = house.reconciler.kept
    assert await kept.find(first.number) == first
    assert await kept.page(None, 10) == [second, first]
    assert await kept.page(second.number, 10) == [first]
    assert first.otherwise == {"DIEM": "2.000000"}
    assert (first.drift, await kept.find(99)) == (Money(500_000), None)


async def test_a_restored_database_that_lacks_nothing_may_buy_again(house: BillHouse) -> None:
    job = await house.job(*TAKEN)
    house.bill.add(job.sent_at or 0, "0.06", job.queue_id)
    await house.ledger.set_mark(SPENDING_WAITS, f"{RESTORED}{rfc3339(house.clock.now())}")
    await house.spending.recall()
    early = await reconciling.run(house.office, "anna")
    assert early.spending is not None
    assert "may not show yet" in early.spending
    assert await house.ledger.mark(SPENDING_WAITS)
    await house.clock.advance(2 * HOUR)
    assert (await reconciling.run(house.office, "anna")).spending == (
        "resumed: the bill shows nothing that this database lacks"
    )
    assert house.spending.stopped is None
    assert await house.ledger.mark(SPENDING_WAITS) is None
    assert (await reconciling.run(house.office, "anna")).spending is None


async def test_a_restored_database_that_lacks_a_purchase_goes_on_waiting(house: BillHouse) -> None:
    await house.job(*TAKEN)
    await house.clock.advance(24 * HOUR)
    house.bill.add(house.clock.now() - 60_000, "0.06", "bought-after-the-backup")
    await house.ledger.set_mark(SPENDING_WAITS, f"{RESTORED}{rfc3339(house.clock.now())}")
    await house.spending.recall()
    await house.clock.advance(2 * HOUR)
    # Even where less is asked for, the run reaches back to the last order that the backup has.
    ran = await reconciling.run(house.office, "anna", house.clock.now())
    assert ran.spending is not None
    assert "1 charges" in ran.spending
    assert house.spending.stopped


async def test_a_doubt_is_settled_for_what_was_billed_and_not_for_its_quote(
    house: BillHouse,
) -> None:
    doubt = await house.job(*LOST)
    house.bill.add(doubt.sent_at or 0, "0.06", "a-row")
    house.bill.add(house.clock.now(), "-0.02", "a-row")
    await house.reconciler.run("anna")
    assert (await house.now(doubt)).settled == Money(40_000)


async def test_a_job_and_its_row_on_either_side_of_a_ranges_edge_belong_together(
    house: BillHouse,
) -> None:
    job = await house.job(*TAKEN)
    edge = (job.sent_at or 0) + 500
    house.bill.add(edge + 500, "0.06", "not-a-queue-id")
    await house.clock.advance(HOUR)
    run = await house.reconciler.run("anna", edge)
    assert (run.counts, run.jobs) == ({}, 0)
