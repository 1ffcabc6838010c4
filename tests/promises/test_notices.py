"""Notices from a real gateway: whatever is to be told is told once, signed, also where it was
killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway_process import CommandRefused, GatewayProcess, with_rules
from tests.promises.asking import PRICE, Client, order, settled_down
from tests.promises.listening import SECRET, Listener, until
from tests.simulator_process import SimulatorProcess

BLOCK_SECONDS = 3
"""Longer than the pause between two looks at what is so."""
ALMOST_ALL_OF_ITS_TIME_MS = 29 * 86_400_000
"""Of the thirty days that a video stays which nobody fetches."""
BODY = {"model": "wan-2.2-a14b-text-to-video", "prompt": "a gondola", "duration": "5s"}


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    opened = Listener()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def told(
    fast_simulator: SimulatorProcess, listener: Listener, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway of its own that tells the listener."""
    folder = tmp_path_factory.mktemp("told")
    rules = {
        "notify": [{"url": listener.url, "secret": "env:NOTICE_SECRET"}],
        "policies": {
            "default": {"webhook_hosts": ["hook.example"]},
            "small": {"extends": "default", "each_user": {"total": "0.1"}, "warn_at": ["50%"]},
        },
    }
    with GatewayProcess(
        folder,
        fast_simulator,
        policies=with_rules(**rules),
        users={"anna": None, "berta": "small"},
        settings={"NOTICE_SECRET": SECRET},
    ) as running:
        yield running


@pytest.fixture
def admin(told: GatewayProcess) -> Iterator[httpx.Client]:
    key = (told.data_dir / "admin.key").read_text().strip()
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(
        base_url=told.url + "/gateway/v1/admin", headers=headers, trust_env=False
    ) as client:
        yield client


async def ordered(gateway: GatewayProcess) -> str:
    """A job that was accepted, by its own id."""
    async with Client(gateway) as client:
        answer = await client.queue(BODY)
        assert answer.status_code == 200, answer.text
        job: str = answer.headers["x-gateway-job"]
        return job


async def test_a_jobs_end_is_told_signed_and_once_across_a_kill(
    told: GatewayProcess, listener: Listener, admin: httpx.Client
) -> None:
    first = await ordered(told)
    until(lambda: listener.subjects("job.completed") == [first])
    listener.status = 503
    second = await ordered(told)
    until(lambda: admin.get("/notices", params={"state": "waiting"}).json()["notices"])
    told.kill()
    listener.status = 204
    told.start()
    until(lambda: second in listener.subjects("job.completed"))
    assert listener.subjects("job.completed") == [first, second]
    assert SECRET not in told.log()
    said = listener.heard[0]["data"]
    assert (said["user"], said["state"]) == ("anna", "stored")
    assert "gondola" not in str(listener.heard)


def test_spending_that_stops_is_told_and_the_log_of_it_can_be_read_and_repeated(
    listener: Listener, admin: httpx.Client
) -> None:
    admin.post("/spending", json={"stopped": True, "why": "a drill"})
    until(lambda: listener.subjects("spending.stopped") == ["spending"])
    admin.post("/spending", json={"stopped": False, "why": "it is over"})
    query = {"event": "spending.stopped", "state": "delivered"}
    until(lambda: admin.get("/notices", params=query).json()["notices"])
    [row] = admin.get("/notices", params=query).json()["notices"]
    assert (row["tries"], row["last_status"]) == (1, 204)
    again = admin.post(f"/notices/{row['notice']}/redeliver", json={})
    assert admin.get("/audit").json()["audit"][0]["act"] == "notice.redeliver"
    assert again.json()["deliveries"][0]["state"] == "waiting"
    until(lambda: len(listener.subjects("spending.stopped")) == 2)
    first, second = (said for said in listener.heard if said["type"] == "spending.stopped")
    assert first == second


def test_a_test_notice_is_sent_from_the_command_line_and_its_tries_are_shown(
    told: GatewayProcess, listener: Listener, admin: httpx.Client
) -> None:
    sent = told.cli("notice", "test")
    assert admin.get("/audit").json()["audit"][0]["act"] == "notice.test"
    until(lambda: listener.subjects("test") == ["venice-gateway"])
    shown = told.cli("notice", "show", sent["notice"])
    [delivery] = shown["deliveries"]
    assert delivery["receiver"].startswith("127.0.0.1-")
    with pytest.raises(CommandRefused, match="name no receiver"):
        told.cli("notice", "test", "--to", "nobody")


async def test_a_user_sets_a_webhook_only_where_the_policy_allows_its_host(
    told: GatewayProcess,
) -> None:
    headers = {"authorization": f"Bearer {told.user_key}"}
    async with httpx.AsyncClient(
        base_url=told.url + "/gateway/v1/me", headers=headers, trust_env=False
    ) as client:
        refused = await client.put("/webhook", json={"url": "https://other.example/x"})
        assert (refused.status_code, refused.json()["code"]) == (400, "POLICY_REFUSED")
        assert (await client.get("/webhook")).status_code == 404
        form = {"url": "https://hook.example/x"}
        made = (await client.put("/webhook", json=form)).json()
        assert made["secret"].startswith("whsec_")
        shown = (await client.get("/webhook")).json()
        assert shown["url"] == form["url"]
        assert "secret" not in shown
        database = (told.data_dir / "gateway.db").read_bytes()
        assert made["secret"].removeprefix("whsec_").encode() not in database
        assert (await client.put("/webhook", json={"url": "https://[::1]/x"})).status_code == 400
        assert (await client.put("/webhook", json={"url": "hook.example"})).status_code == 400
        assert (await client.delete("/webhook")).status_code == 204
        assert (await client.delete("/webhook")).status_code == 404


def once(listener: Listener, event: str, subject: str) -> dict[str, Any]:
    """Wait until an event of a subject is told; what was told, which was told once."""
    until(lambda: listener.told_of(event, subject))
    [data] = listener.told_of(event, subject)
    return data


async def test_a_job_that_fails_at_a_cost_is_told(
    told: GatewayProcess, listener: Listener, simulator: SimulatorProcess
) -> None:
    simulator.faults([{"endpoint": "queue", "outcome": "fail_billed", "times": 1}])
    job = await ordered(told)
    data = once(listener, "job.failed", job)
    assert (data["user"], data["state"]) == ("anna", "failed_billed")
    assert Decimal(data["settled_usd"]) == Decimal(data["quote_usd"]) > 0


async def test_a_job_whose_fate_is_unknown_is_told(
    told: GatewayProcess, listener: Listener, simulator: SimulatorProcess
) -> None:
    simulator.faults([{"endpoint": "queue", "before": "answer", "action": {"drop": True}}])
    async with Client(told) as client:
        answer = await client.queue(order("nobody knows"))
    assert answer.status_code == 409, answer.text
    data = once(listener, "job.in_doubt", answer.json()["job"])
    assert (data["user"], data["state"]) == ("anna", "in_doubt")
    assert Decimal(data["in_doubt_usd"]) == PRICE


async def test_a_budget_that_fills_up_and_then_refuses_is_told_of_each_once(
    told: GatewayProcess, listener: Listener, simulator: SimulatorProcess
) -> None:
    del simulator
    async with Client(told, "berta") as client:
        await client.buy("the first is most of it")
        share = once(listener, "budget.threshold", "berta")
        for number in range(2):
            refused = await client.queue(order(f"one too many {number}"))
            assert refused.status_code == 402, refused.text
    assert (share["scope"], share["window"], share["percent"]) == ("user", "total", 50)
    assert (share["used_usd"], share["limit_usd"]) == ("0.060000", "0.100000")
    full = once(listener, "budget.exceeded", "berta")
    assert (full["user"], full["used_usd"]) == ("berta", "0.060000")


async def test_a_key_that_venice_blocks_is_told(
    told: GatewayProcess, listener: Listener, simulator: SimulatorProcess
) -> None:
    blocked = {
        "status": 429,
        "headers": {"Retry-After": str(BLOCK_SECONDS)},
        "body": {"error": "Too many failed requests. Please try again later."},
    }
    simulator.faults([{"endpoint": "quote", "action": blocked, "times": 1}])
    async with Client(told) as client:
        answer = await client.post("quote", {**BODY, "resolution": "580p"})
    assert answer.status_code == 200, "it is asked again once the block is over"
    assert "refuses everything" in once(listener, "key.blocked", "venice")["why"]


async def test_a_video_that_nobody_fetched_is_told_of_before_it_goes(
    told: GatewayProcess, listener: Listener, simulator: SimulatorProcess
) -> None:
    simulator.faults([{"endpoint": "queue", "outcome": "ready_now", "times": 1}])
    job = await ordered(told)
    once(listener, "job.completed", job)
    told.kill()
    with closing(sqlite3.connect(told.data_dir / "gateway.db")) as connection, connection:
        aged = "UPDATE jobs SET stored_at = stored_at - ? WHERE id = ?"
        connection.execute(aged, (ALMOST_ALL_OF_ITS_TIME_MS, job))
    told.start()
    data = once(listener, "video.expiring", job)
    ends = datetime.fromisoformat(data["expires_at"]) - datetime.now(UTC)
    assert timedelta() < ends <= timedelta(days=1)
    assert listener.subjects("video.expiring") == [job], "the others have all their time"


async def test_a_balance_that_does_not_last_three_days_is_told(
    listener: Listener, tmp_path: Path
) -> None:
    receiver = {"url": listener.url, "secret": "env:NOTICE_SECRET"}
    with (
        SimulatorProcess(speed=300, seed=1, no_limits=True, balance_usd="0.2") as simulator,
        GatewayProcess(
            tmp_path,
            simulator,
            policies=with_rules(notify=[receiver]),
            settings={"NOTICE_SECRET": SECRET},
        ) as gateway,
    ):
        async with Client(gateway) as client:
            await client.buy("more than a quarter of it")
        await settled_down(gateway)
        assert listener.subjects("org.balance_low") == []
        # What a day costs is summed up every ten minutes, and at a start.
        gateway.restart()
        why = once(listener, "org.balance_low", "balance")["why"]
        assert why == "0.140000 USD are left at Venice, and 0.060000 USD were spent in a day"
