"""The twin shield and `Idempotency-Key`: who joins whose order, and who buys one of their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import (
    Client,
    arrived,
    eventually,
    order,
    purchases,
    send_and_hold,
    settled_down,
)
from tests.promises.books import assert_books_balance, job_of, jobs_of
from tests.simulator_process import SimulatorProcess


def slow(seconds: float = 0.6, **more: Any) -> dict[str, Any]:
    """A fault plan's rule: orders are accepted at once and answered late."""
    action = {"delay_seconds": seconds}
    return {"endpoint": "queue", "before": "answer", "action": action, **more}


async def _leave_while_sent(
    gateway: GatewayProcess, simulator: SimulatorProcess, body: dict[str, Any]
) -> None:
    """Order, and leave once the order is with Venice."""
    connection = await asyncio.to_thread(send_and_hold, gateway, body)
    await arrived(simulator, "queue", body["prompt"])
    connection.close()


async def test_a_client_that_left_and_sends_again_joins_its_order(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R7: while the first order is still under way."""
    simulator.faults([slow()])
    body = order("joined under way")
    await _leave_while_sent(gateway, simulator, body)
    async with Client(gateway) as client:
        answer = await client.queue(body)
        assert answer.status_code == 200
        assert answer.headers["x-gateway-joined"] == "true"
        assert purchases(simulator, "joined under way") == 1
        # The answer is delivered now, so the next one is an order of its own.
        again = await client.queue(body)
    assert "x-gateway-joined" not in again.headers
    assert again.json()["queue_id"] != answer.json()["queue_id"]


async def test_a_client_that_left_joins_its_order_after_it_has_ended_too(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R7: the answer came when nobody was there to take it."""
    simulator.faults([slow(0.2, times=1)])
    body = order("joined later")
    await _leave_while_sent(gateway, simulator, body)

    async def is_accepted() -> bool:
        found = [job for job in jobs_of(gateway) if job.queue_id and job.answer_owed]
        return bool(found) and purchases(simulator, "joined later") == 1

    await eventually(is_accepted)
    await settled_down(gateway)
    async with Client(gateway) as client:
        answers = [await client.queue(body), await client.queue(body)]
    assert [a.headers.get("x-gateway-joined") for a in answers] == ["true", None]
    assert purchases(simulator, "joined later") == 2


async def test_a_copy_joins_the_order_of_a_gateway_that_was_killed(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R7, R13: accepted, attached, and killed before anybody had the answer."""
    simulator.faults([slow(0.2, times=1)])
    body = order("joined after a kill")
    known = {job.id for job in jobs_of(gateway)}
    await _leave_while_sent(gateway, simulator, body)

    async def is_attached() -> bool:
        return any(job.id not in known and job.queue_id for job in jobs_of(gateway))

    await eventually(is_attached)
    gateway.restart()
    async with Client(gateway) as client:
        answer = await client.queue(body)
    assert answer.status_code == 200
    assert answer.headers["x-gateway-joined"] == "true"
    assert purchases(simulator, "joined after a kill") == 1


async def test_four_identical_orders_whose_clients_stay_are_four_jobs(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """Four variants of one prompt."""
    simulator.faults([slow(0.2)])
    async with Client(gateway) as client:
        answers = await asyncio.gather(*(client.queue(order("variants")) for _ in range(4)))
    assert {a.status_code for a in answers} == {200}
    assert len({a.json()["queue_id"] for a in answers}) == 4
    assert all("x-gateway-joined" not in a.headers for a in answers)
    assert purchases(simulator, "variants") == 4


async def test_another_users_identical_order_joins_nobody(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """A twin has the same key, not only the same body."""
    simulator.faults([slow(times=1)])
    body = order("not my twin")
    await _leave_while_sent(gateway, simulator, body)
    async with Client(gateway, "berta") as berta, Client(gateway) as anna:
        theirs = await berta.queue(body)
        mine = await anna.queue(body)
    assert "x-gateway-joined" not in theirs.headers
    assert mine.headers["x-gateway-joined"] == "true"
    assert purchases(simulator, "not my twin") == 2


async def test_a_client_that_leaves_before_anything_is_sent_has_bought_nothing(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R8: what was never sent is never in doubt, and its copy is an order of its own."""
    simulator.faults([{"endpoint": "quote", "times": 1, "action": {"delay_seconds": 0.4}}])
    body = order("left early", model="longcat-distilled-text-to-video", resolution="720p")
    known = {job.id for job in jobs_of(gateway)}
    connection = await asyncio.to_thread(send_and_hold, gateway, body)
    await asyncio.sleep(0.1)
    connection.close()
    async with Client(gateway) as client:
        answer = await client.queue(body)
    assert answer.status_code == 200, answer.text
    assert purchases(simulator, "left early") == 1
    states = Counter(str(job.state) for job in jobs_of(gateway) if job.id not in known)
    assert states["in_doubt"] == 0
    assert states.total() - states["released"] == 1


async def test_an_order_in_doubt_is_answered_the_same_until_a_new_one_is_forced(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R8: 409 again and again; `X-Gateway-Force-New` orders anew and leaves the doubt as it is."""
    lost = {"endpoint": "queue", "before": "answer", "action": {"drop": True}, "times": 1}
    simulator.faults([lost])
    body = order("in doubt")
    async with Client(gateway, "carla") as client:
        answers = [await client.queue(body) for _ in range(3)]
        assert [a.status_code for a in answers] == [409] * 3
        told = {(a.json()["code"], a.json()["job"], a.headers["x-gateway-job"]) for a in answers}
        assert len(told) == 1
        ((code, job, header),) = told
        assert (code, job) == ("QUEUE_OUTCOME_UNKNOWN", header)
        assert purchases(simulator, "in doubt") == 1
        forced = await client.queue(body, X_Gateway_Force_New="true")
        assert forced.status_code == 200
        assert forced.headers["x-gateway-job"] != job
        assert (await client.retrieve(job)).status_code == 409
    assert purchases(simulator, "in doubt") == 2
    doubt = job_of(gateway, job)
    assert doubt.in_doubt == doubt.quote
    assert_books_balance(gateway)


@pytest.mark.parametrize("rounds", [2, pytest.param(1_000, marks=pytest.mark.torture)])
@pytest.mark.timeout(3600)
async def test_of_64_orders_with_one_idempotency_key_one_reaches_venice(
    gateway: GatewayProcess, simulator: SimulatorProcess, rounds: int
) -> None:
    """R10."""
    simulator.faults([slow(0.2)])
    async with Client(gateway) as client:
        for turn in range(rounds):
            body = order(f"one key {turn}")
            key = f"race-{turn}-{'~' * 200}"
            race = (client.queue(body, Idempotency_Key=key) for _ in range(64))
            answers = await asyncio.gather(*race)
            assert {a.status_code for a in answers} == {200}
            assert len({a.content for a in answers}) == 1
            replayed = Counter(a.headers.get("idempotent-replayed") for a in answers)
            assert replayed == {"true": 63, None: 1}
            assert purchases(simulator, body["prompt"]) == 1


async def test_an_idempotency_key_is_bound_to_its_body_its_user_and_survives_a_restart(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R10."""
    body, other = order("bound"), order("bound to another body")
    # Equal parsed bodies are equal, however they are written.
    turned = dict(reversed(list(body.items())))
    async with Client(gateway) as anna, Client(gateway, "berta") as berta:
        first = await anna.queue(body, Idempotency_Key="bound")
        mismatch = await anna.queue(other, Idempotency_Key="bound")
        assert (mismatch.status_code, mismatch.json()["code"]) == (422, "IDEMPOTENCY_MISMATCH")
        theirs = await berta.queue(body, Idempotency_Key="bound")
        assert theirs.json()["queue_id"] != first.json()["queue_id"]
        gateway.restart()
        again = await anna.queue(turned, Idempotency_Key="bound")
        mismatch = await anna.queue(other, Idempotency_Key="bound")
    assert again.status_code == 200
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert mismatch.status_code == 422
    assert purchases(simulator, "bound") == 2
    assert purchases(simulator, "bound to another body") == 0


async def test_whoever_waited_too_long_for_its_own_key_is_told_so_and_buys_nothing(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """R10: identical answers, and 409 for those that waited longer than `hold`."""
    with GatewayProcess(tmp_path, simulator, policies=with_rules(venice={"hold": "1s"})) as gateway:
        async with Client(gateway) as client:
            simulator.faults([slow(4.0)])
            body = order("slower than hold")
            first = asyncio.create_task(client.queue(body, Idempotency_Key="slow"))
            await arrived(simulator, "queue", body["prompt"])
            early = (client.queue(body, Idempotency_Key="slow") for _ in range(16))
            told = await asyncio.gather(*early)
            assert {a.status_code for a in told} == {409}
            assert {a.json()["code"] for a in told} == {"IDEMPOTENCY_IN_PROGRESS"}
            assert not first.done()
            bought = await first
            again = await client.queue(body, Idempotency_Key="slow")
        assert (bought.status_code, again.status_code) == (200, 200)
        assert again.content == bought.content
        assert again.headers["idempotent-replayed"] == "true"
        assert purchases(simulator, body["prompt"]) == 1
        assert_books_balance(gateway)


async def test_a_refused_order_leaves_its_idempotency_key_free(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R10: refused here, refused by Venice, and in doubt, which stays bound."""
    async with Client(gateway) as client:
        local = await client.queue(order("free key", duration="7s"), Idempotency_Key="free")
        assert local.status_code == 400
        simulator.faults(
            [{"endpoint": "queue", "times": 1, "action": {"status": 422, "body": {"error": "no"}}}]
        )
        refused = await client.queue(order("free key"), Idempotency_Key="free")
        assert refused.status_code == 422
        assert refused.json()["source"] == "venice"
        bought = await client.queue(order("free key 2"), Idempotency_Key="free")
        assert bought.status_code == 200
        assert "idempotent-replayed" not in bought.headers
        simulator.faults([{"endpoint": "queue", "times": 1, "action": {"status": 504}}])
        doubts = [await client.queue(order("doubt"), Idempotency_Key="doubt") for _ in range(2)]
        assert [a.status_code for a in doubts] == [409, 409]
        assert doubts[0].json()["job"] == doubts[1].json()["job"]


@pytest.mark.parametrize("key", ["", "x" * 256, "two words\tand a tab", "ä"])
async def test_a_malformed_idempotency_key_is_refused(gateway: GatewayProcess, key: str) -> None:
    """R10: 400, and nothing is bought."""
    async with Client(gateway) as client:
        value: Any = key.encode("latin-1")
        answer = await client.post("queue", order("malformed"), Idempotency_Key=value)
    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_REQUEST"
