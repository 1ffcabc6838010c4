"""What is told: each end and doubt of a job once, whatever crashes, to those it is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.core.job import Event
from gateway.core.notify import NoticeEvent
from gateway.noticing import PAGE, QUIET_MS, Condition
from tests.notice_house import ToldMessenger, notice_house
from tests.storage.test_ledger import BERTA

ALL = {"url": "https://all.example/hook", "secret": "env:NOTICE_SECRET"}
STORE = (Event.ACCEPT, Event.FINISH, Event.STORE)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_each_end_and_doubt_of_a_job_is_told_once(tmp_path: Path) -> None:
    async with notice_house(tmp_path, [ALL]) as house:
        await house.job(1, *STORE)
        await house.job(2, Event.ACCEPT, Event.FAIL_REFUNDED)
        await house.job(3, Event.LOSE_ANSWER)
        await house.job(4, Event.REFUSE)
        await house.job(5, Event.ACCEPT, Event.STALL)
        await house.job(6, Event.ACCEPT)
        for _ in range(3):
            await house.round()
            house.start()
        assert sorted(await house.events()) == [
            ("job.completed", "job1"),
            ("job.failed", "job2"),
            ("job.failed", "job5"),
            ("job.in_doubt", "job3"),
        ]


async def test_a_job_that_is_taken_up_again_is_told_by_its_second_end_too(tmp_path: Path) -> None:
    async with notice_house(tmp_path, [ALL]) as house:
        job = await house.job(1, Event.ACCEPT, Event.STALL)
        await house.round()
        await house.clock.advance(1)
        for event in (Event.REOPEN, Event.FINISH, Event.STORE):
            await house.ledger.advance(job, event, house.clock.now())
        await house.round()
        await house.clock.advance(1)
        for event in (Event.WANT_AGAIN, Event.STORE):
            await house.ledger.advance(job, event, house.clock.now())
        await house.round()
        assert await house.events() == [("job.failed", job), ("job.completed", job)]


async def test_a_video_that_was_purged_before_anybody_looked_was_completed(tmp_path: Path) -> None:
    async with notice_house(tmp_path, [ALL]) as house:
        job = await house.job(1, *STORE, Event.PURGE)
        await house.round()
        assert await house.events() == [("job.completed", job)]


async def test_more_ends_at_one_moment_than_a_page_holds_are_all_told(tmp_path: Path) -> None:
    async with notice_house(tmp_path, [ALL]) as house:
        jobs = {await house.job(number, *STORE) for number in range(PAGE + 7)}
        await house.noticing.run_once()
        late = await house.job(PAGE + 7, *STORE)
        await house.noticing.run_once()
        found = await house.outbox.deliveries(limit=1_000)
        assert sorted(d.notice.subject for d in found) == sorted({*jobs, late})


async def test_a_database_that_told_nobody_before_tells_no_past(tmp_path: Path) -> None:
    async with notice_house(tmp_path, [ALL]) as house:
        await house.job(1, *STORE)
        await house.job(2, Event.LOSE_ANSWER)
        for name in ("notices.ended", "notices.doubted"):
            await house.ledger.set_mark(name, None)
        await house.clock.advance(1)
        house.start()
        await house.round()
        assert await house.events() == []


async def test_a_clock_that_was_put_back_hides_no_end(tmp_path: Path) -> None:
    async with notice_house(tmp_path, [ALL]) as house:
        house.clock.wall_ms += 3_600_000
        await house.ledger.set_mark("notices.ended", str(house.clock.now()))
        house.clock.wall_ms -= 3_600_000
        house.start()
        job = await house.job(1, *STORE)
        await house.round()
        assert await house.events() == [("job.completed", job)]


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        ({}, ["job1", "job2", "job3", "venice"]),
        ({"events": ["job.failed"]}, ["job2"]),
        ({"teams": ["film"]}, ["job1", "job3"]),
        ({"teams": ["film"], "events": ["key.blocked"]}, []),
        ({"events": ["key.blocked"]}, ["venice"]),
    ],
)
async def test_a_receiver_is_told_of_its_events_and_teams_only(
    tmp_path: Path, notify: Mapping[str, Any], told: list[str]
) -> None:
    async with notice_house(tmp_path, [{**ALL, **notify}]) as house:
        await house.job(1, *STORE)
        await house.job(2, Event.ACCEPT, Event.FAIL_BILLED, caller=BERTA)
        await house.job(3, Event.LOSE_ANSWER)
        house.noticing.post(NoticeEvent.KEY_BLOCKED, "1", "venice")
        await house.noticing.run_once()
        assert sorted(subject for _, subject in await house.events()) == told


async def test_a_user_is_told_of_their_own_jobs_and_of_nothing_else(tmp_path: Path) -> None:
    async with notice_house(tmp_path, [], hosts=["me.example"]) as house:
        await house.receivers.set_webhook(BERTA.user, "https://me.example/hook")
        await house.job(1, *STORE)
        await house.job(2, *STORE, caller=BERTA)
        house.noticing.post(NoticeEvent.BUDGET_EXCEEDED, "1", "day", user="berta")
        house.noticing.post(NoticeEvent.SPENDING_STOPPED, "1", "spending")
        await house.noticing.run_once()
        [delivery] = await house.deliveries()
        assert (delivery.receiver, delivery.notice.subject) == ("user:berta", "job2")


async def test_a_condition_is_told_each_time_it_begins_and_not_at_a_restart(
    tmp_path: Path,
) -> None:
    why: list[str | None] = [None]
    stopped = Condition(NoticeEvent.SPENDING_STOPPED, "spending", lambda: why[0])
    async with notice_house(tmp_path, [ALL], conditions=[stopped]) as house:
        for now, restarts in ((None, 0), ("a", 0), ("b", 1), (None, 1), (None, 0), ("c", 0)):
            why[0] = now
            if restarts:
                house.start()
            await house.round()
            await house.clock.advance(QUIET_MS / 1000)
        facts = [delivery.notice.facts for delivery in await house.deliveries()]
        assert facts == [{"why": "a"}, {"why": "c"}]


async def test_a_condition_that_comes_and_goes_is_told_once_in_a_while(tmp_path: Path) -> None:
    why: list[str | None] = [None]
    low = Condition(NoticeEvent.BALANCE_LOW, "balance", lambda: why[0])
    async with notice_house(tmp_path, [ALL], conditions=[low]) as house:
        for number in range(40):
            why[0] = None if number % 2 else f"{number}"
            await house.round()
            await house.clock.advance(60)
        assert [d.notice.facts["why"] for d in await house.deliveries()] == ["0", "16", "32"]


async def test_a_condition_that_comes_again_and_stays_is_told_once_the_quiet_has_ended(
    tmp_path: Path,
) -> None:
    """A drill, and then the real thing."""
    why: list[str | None] = [None]
    stopped = Condition(NoticeEvent.SPENDING_STOPPED, "spending", lambda: why[0])
    async with notice_house(tmp_path, [ALL], conditions=[stopped]) as house:
        for now in ("a drill", None, "the ledger differs", "the ledger differs"):
            why[0] = now
            await house.round()
            await house.clock.advance(60)
        assert [d.notice.facts["why"] for d in await house.deliveries()] == ["a drill"]
        await house.clock.advance(QUIET_MS / 1000)
        for _ in range(3):
            await house.round()
            await house.clock.advance(QUIET_MS / 1000)
        told = [delivery.notice.facts["why"] for delivery in await house.deliveries()]
        assert told == ["a drill", "the ledger differs"]


async def test_news_is_told_once_by_its_key_and_kept_at_a_stop(tmp_path: Path) -> None:
    async with notice_house(tmp_path, [ALL]) as house:
        for _ in range(2):
            house.noticing.post(NoticeEvent.BUDGET_THRESHOLD, "day/80", "anna", user="anna")
        house.noticing.post(NoticeEvent.BUDGET_THRESHOLD, "day/100", "anna", user="anna")
        await house.noticing.finish()
        assert len(await house.deliveries()) == 2


async def test_no_prompt_key_or_link_is_in_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTICE_SECRET", "whsec_" + "QUJD" * 8)
    messenger = ToldMessenger()
    async with notice_house(tmp_path, [ALL], messenger=messenger) as house:
        job = await house.job(1, Event.ACCEPT)
        secrets = {"download_url": "https://canary.example/x", "failure_body": "canary prompt"}
        await house.ledger.note(job, secrets)
        await house.ledger.advance(job, Event.STALL, house.clock.now(), reason="stuck")
        await house.round()
        [(_, body, headers, _)] = messenger.sent
        assert b"canary" not in body
        assert "QUJD" not in str(headers)
