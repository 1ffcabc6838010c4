"""Telling: signed so that the library's own verifier agrees, again and again while a receiver is
down, and never at the cost of the others.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from gateway.core.job import Event
from gateway.core.notices import TRIED_FOR_MS, Telling
from gateway.core.notify import NoticeEvent
from gateway.ports import Told
from gateway.receivers import HostNotAllowed
from gateway.upstream.webhooks import WebhookClient
from tests.notice_house import SECRET, NoticeHouse, ToldMessenger, notice_house, rulebook_of
from tests.storage.test_ledger import ANNA, BERTA
from tests.upstream.clients import closed_port
from tests.upstream.raw_server import answer, raw_server, saying
from tests.upstream.still_clock import StillClock

STORE = (Event.ACCEPT, Event.FINISH, Event.STORE)
A, B = "https://a.example/hook", "https://b.example/hook"
DOWN = Told(None, "no connection")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTICE_SECRET", SECRET)


def to(url: str, **more: Any) -> dict[str, Any]:
    return {"url": url, "secret": "env:NOTICE_SECRET", **more}


def verified(request: bytes) -> dict[str, Any]:
    """The body of a request that the library's verifier takes now."""
    headers, body = taken_apart(request)
    found: dict[str, Any] = Webhook(SECRET).verify(body, headers)
    assert headers["webhook-id"] == found["data"]["id"]
    return found


def signed_then(request: bytes) -> dict[str, Any]:
    """The body of a request that was signed for the moment at which it was sent."""
    headers, body = taken_apart(request)
    sent_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    due = Webhook(SECRET).sign(headers["webhook-id"], sent_at, body.decode())
    assert headers["webhook-signature"] == due
    assert sent_at.timestamp() > time.time() - 300
    found: dict[str, Any] = json.loads(body)
    return found


def taken_apart(request: bytes) -> tuple[dict[str, str], bytes]:
    """Headers by lower-case name, and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return {name.lower(): value for name, value in lines}, body


async def test_a_receiver_that_is_down_for_an_hour_hears_everything_then_and_others_at_once(
    tmp_path: Path,
) -> None:
    clock, client, port = StillClock(), WebhookClient(), closed_port()
    # The library's verifier looks at the machine's clock: the hour ends about now.
    clock.wall_ms = round(time.time() * 1000) - 3_600_000
    ok = saying(answer("204 No Content"))
    async with raw_server(ok) as up:
        notify = [to(up.url), to(f"http://127.0.0.1:{port}/down")]
        async with notice_house(tmp_path, notify, messenger=client, clock=clock) as house:
            await house.job(1, *STORE)
            await house.round()
            assert len(up.requests) == 1
            await house.job(2, Event.ACCEPT, Event.FAIL_BILLED)
            await house.pass_time(3_600, step=30)
            assert len(up.requests) == 2
            waiting = [d for d in await house.deliveries() if d.state is Telling.WAITING]
            assert [d.notice.subject for d in waiting] == ["job1", "job2"]
            assert all(3 <= d.attempts <= 15 for d in waiting)
            async with raw_server(ok, port=port) as back:
                await house.pass_time(3_600, step=60)
                said = [signed_then(request) for request in back.requests]
            assert sorted(s["data"]["subject"] for s in said) == ["job1", "job2"]
            assert {d.state for d in await house.deliveries()} == {Telling.DELIVERED}
    await client.close()


async def test_the_librarys_own_verifier_takes_what_is_sent(tmp_path: Path) -> None:
    clock, client = StillClock(), WebhookClient()
    clock.wall_ms = round(time.time() * 1000)
    async with raw_server(saying(answer("200 OK", b"fine"))) as server:
        notify = [to(server.url)]
        async with notice_house(tmp_path, notify, messenger=client, clock=clock) as house:
            await house.job(1, *STORE)
            await house.round()
    await client.close()
    [request] = server.requests
    assert request.startswith(b"POST /api/v1 HTTP/1.1\r\n")
    said = verified(request)
    assert said["type"] == "job.completed"
    assert said["data"]["user"] == "anna"
    assert said["data"]["quote_usd"] == "0.085000"


async def test_after_a_day_it_is_given_up_and_redelivered_only_when_told_to(
    tmp_path: Path,
) -> None:
    messenger = ToldMessenger({A: DOWN})
    async with notice_house(tmp_path, [to(A)], messenger=messenger) as house:
        await house.job(1, *STORE)
        await house.pass_time(TRIED_FOR_MS / 1000 + 60, step=300)
        [delivery] = await house.deliveries()
        assert delivery.state is Telling.GIVEN_UP
        tries = len(messenger.sent)
        assert tries >= 12
        assert len(await house.outbox.attempts(delivery.number)) == tries
        messenger.answers.clear()
        await house.pass_time(86_400, step=3_600)
        assert len(messenger.sent) == tries
        await house.outbox.redeliver(delivery.notice.id, None, house.clock.now())
        await house.round()
        assert (await house.deliveries())[0].state is Telling.DELIVERED
        ids = {headers["webhook-id"] for _, _, headers, _ in messenger.sent}
        assert ids == {delivery.notice.id}


async def test_many_notices_to_one_that_is_down_cost_few_tries(tmp_path: Path) -> None:
    messenger = ToldMessenger({A: DOWN})
    async with notice_house(tmp_path, [to(A), to(B)], messenger=messenger) as house:
        for number in range(200):
            house.noticing.post(NoticeEvent.BUDGET_EXCEEDED, str(number), "day")
        await house.pass_time(300, step=2)
        tried = [url for url, *_ in messenger.sent]
        assert tried.count(B) == 200
        assert tried.count(A) <= 20


async def test_a_crash_after_the_answer_tells_again_with_the_same_id(tmp_path: Path) -> None:
    messenger = ToldMessenger()
    async with notice_house(tmp_path, [to(A)], messenger=messenger) as house:
        await house.job(1, *STORE)
        await house.noticing.run_once()
        [delivery] = await house.outbox.due(house.clock.now(), [], 10)
        await house.telling._try(delivery)
        house.start()
        await house.round()
        first, second = messenger.sent
        assert first[2]["webhook-id"] == second[2]["webhook-id"]


@pytest.mark.parametrize("text", ["", "whsec_", "not base64!", "whsec_é"])
async def test_a_secret_that_cannot_sign_sends_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("NOTICE_SECRET", text)
    messenger = ToldMessenger()
    async with notice_house(tmp_path, [to(A)], messenger=messenger) as house:
        await house.job(1, *STORE)
        await house.round()
        assert messenger.sent == []
        [delivery] = await house.deliveries()
        assert delivery.last_why is not None
        assert delivery.last_why.startswith("not sent: ")
        monkeypatch.setenv("NOTICE_SECRET", SECRET)
        await house.pass_time(60)
        assert len(messenger.sent) == 1


async def test_a_chat_is_told_in_one_line_at_an_address_that_is_itself_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "chat.url"
    secret.write_text("https://hooks.chat.example/services/T0/B0/canary\n")
    messenger = ToldMessenger()
    notify = [{"url": f"file:{secret}", "format": "slack"}]
    async with notice_house(tmp_path, notify, messenger=messenger) as house:
        house.noticing.post(NoticeEvent.SPENDING_STOPPED, "1", "spending", facts={"why": "a drill"})
        await house.round()
        [(url, body, headers, only_public)] = messenger.sent
        assert url.endswith("/canary")
        assert json.loads(body) == {"text": "Spending stopped: spending - why a drill"}
        assert "webhook-signature" not in headers
        assert not only_public
        assert "canary" not in str(await house.deliveries())


async def own(house: NoticeHouse, url: str = A) -> str:
    """anna's webhook, and its secret."""
    _, secret = await house.receivers.set_webhook(ANNA.user, url)
    return secret


async def test_a_users_own_webhook_is_signed_with_the_secret_they_saw(tmp_path: Path) -> None:
    messenger, clock = ToldMessenger(), StillClock()
    clock.wall_ms = round(time.time() * 1000)
    hosts = ["a.example"]
    async with notice_house(tmp_path, [], messenger=messenger, hosts=hosts, clock=clock) as house:
        secret = await own(house)
        await house.receivers.load()
        await house.job(1, *STORE)
        await house.job(2, *STORE, caller=BERTA)
        await house.round()
        [(_, body, headers, only_public)] = messenger.sent
        assert only_public
        assert Webhook(secret).verify(body, dict(headers))["data"]["subject"] == "job1"
        assert await own(house) != secret


@pytest.mark.parametrize(
    "url", ["https://b.example/x", "http://a.example/x", "https://a.example@b.example/", "x"]
)
async def test_a_users_own_webhook_leads_to_allowed_hosts_only(tmp_path: Path, url: str) -> None:
    async with notice_house(tmp_path, [], hosts=["a.example"]) as house:
        with pytest.raises((HostNotAllowed, ValueError)):
            await own(house, url)


async def test_a_users_own_webhook_rests_while_policy_or_user_no_longer_allow_it(
    tmp_path: Path,
) -> None:
    messenger = ToldMessenger()
    async with notice_house(tmp_path, [], messenger=messenger, hosts=["a.example"]) as house:
        await own(house)
        allowed, house.rules[0] = house.rules[0], rulebook_of([], ["b.example"])
        await house.job(1, *STORE)
        await house.pass_time(60)
        assert messenger.sent == []
        house.rules[0] = allowed
        house.keyring.put_user(replace(ANNA.user, disabled_at=1))
        await house.pass_time(600)
        assert messenger.sent == []
        assert "disabled" in ((await house.deliveries())[0].last_why or "")
        house.keyring.put_user(ANNA.user)
        await house.pass_time(3_600, step=60)
        assert [url for url, *_ in messenger.sent] == [A]


async def test_without_an_allowed_host_there_is_no_webhook_of_ones_own(tmp_path: Path) -> None:
    async with notice_house(tmp_path, []) as house:
        with pytest.raises(HostNotAllowed):
            await own(house)
