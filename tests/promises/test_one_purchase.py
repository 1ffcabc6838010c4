"""R7: one intent is at most one purchase, whatever breaks between Venice, gateway and client."""

from __future__ import annotations

import asyncio
import random
from hashlib import sha256
from typing import Any

import httpx
import pytest

from tests.gateway_process import GatewayProcess
from tests.promises.asking import (
    Client,
    eventually,
    order,
    order_stubbornly,
    purchases,
    send_and_hold,
    settled_down,
)
from tests.promises.books import assert_books_balance, job_of, jobs_of
from tests.simulator_process import SimulatorProcess

LATE_ORDERS = 30
JSON = "application/json"
FAULTS: dict[str, dict[str, Any]] = {
    "502 unbought": {"before": "accept", "action": {"status": 502}},
    "502 bought": {"before": "answer", "action": {"status": 502}},
    "504 unbought": {"before": "accept", "action": {"status": 504}},
    "504 bought": {"before": "answer", "action": {"status": 504}},
    "closed unbought": {"before": "accept", "action": {"drop": True}},
    "closed bought": {"before": "answer", "action": {"drop": True}},
    "reset bought": {"before": "answer", "action": {"drop": "reset"}},
    "reset in the answer": {"before": "answer", "action": {"drop_after_bytes": 20}},
    "truncated answer": {"before": "answer", "action": {"truncate": 25}},
    "garbage": {"before": "answer", "action": {"garbage": True}},
    "answer without queue_id": {"before": "answer", "action": {"patch": {"queue_id": None}}},
    "answer with an empty queue_id": {"before": "answer", "action": {"patch": {"queue_id": ""}}},
    "HTML": {
        "before": "answer",
        "action": {"status": 200, "text": "<html>ok</html>", "content_type": "text/html"},
    },
    "500 in JSON": {"before": "accept", "action": {"status": 500}},
    "500 of a proxy": {
        "before": "answer",
        "action": {"status": 500, "text": "<h1>oops</h1>", "content_type": "text/html"},
    },
    "503 without Retry-After": {"before": "accept", "action": {"status": 503}},
    "503": {"before": "accept", "action": {"status": 503, "headers": {"Retry-After": "1"}}},
    "429": {"before": "accept", "action": {"status": 429, "headers": {"Retry-After": "1"}}},
    "redirect": {
        "before": "accept",
        "action": {"status": 307, "headers": {"Location": "/api/v1/video/queue"}},
    },
    "slow answer": {"before": "answer", "action": {"delay_seconds": 0.3}},
}


@pytest.mark.parametrize("rounds", [1, pytest.param(100, marks=pytest.mark.torture)])
@pytest.mark.timeout(3600)
async def test_no_fault_between_gateway_and_venice_buys_twice(
    gateway: GatewayProcess, simulator: SimulatorProcess, rounds: int, chance: random.Random
) -> None:
    """R7, with clients that send an order again on 429, 5xx and broken connections."""
    for turn in range(rounds):
        kinds = list(FAULTS)
        chance.shuffle(kinds)
        async with Client(gateway) as client:
            for start in range(0, len(kinds), 4):
                # A success between the batches keeps the breaker closed.
                await client.buy(f"well {turn} {start}")
                batch = {kind: f"fault {turn} {kind}" for kind in kinds[start : start + 4]}
                simulator.faults([_rule(kind, prompt) for kind, prompt in batch.items()])
                bodies = [order(prompt) for prompt in batch.values()]
                await asyncio.gather(*(order_stubbornly(client, body) for body in bodies))
                bought = {kind: purchases(simulator, prompt) for kind, prompt in batch.items()}
                assert max(bought.values()) <= 1, bought
        simulator.faults([])
    await settled_down(gateway)
    assert_books_balance(gateway)
    asked = {f"fault {turn} {kind}" for turn in range(rounds) for kind in FAULTS}
    _assert_doubt_is_held(gateway, simulator, asked)


def _rule(kind: str, prompt: str) -> dict[str, Any]:
    match = {"prompt_contains": prompt}
    return {"endpoint": "queue", "match": match, "times": 1, **FAULTS[kind]}


def _assert_doubt_is_held(
    gateway: GatewayProcess, simulator: SimulatorProcess, prompts: set[str]
) -> None:
    """Everything the upstream made is known by its id or held as in doubt."""
    jobs = jobs_of(gateway)
    known = {job.queue_id for job in jobs}
    digests = {sha256(prompt.encode()).hexdigest() for prompt in prompts}
    jobs_made = simulator.truth()["jobs"]
    made = {job["queue_id"] for job in jobs_made if job["prompt_sha256"] in digests}
    doubts = [job for job in jobs if job.state == "in_doubt"]
    assert len(made - known) <= len(doubts)
    assert all(job.in_doubt == job.quote for job in doubts)


@pytest.mark.parametrize("rounds", [6, pytest.param(100, marks=pytest.mark.torture)])
async def test_clients_that_leave_and_send_again_buy_one_video_each(
    gateway: GatewayProcess, simulator: SimulatorProcess, rounds: int, chance: random.Random
) -> None:
    """R7: four copies of an order, each but the last left at a random moment."""
    # Long enough that all but the last copy are gone before there is an answer to be delivered.
    simulator.faults([{"endpoint": "queue", "before": "answer", "action": {"delay_seconds": 1.5}}])

    async def leave_and_return(client: Client, number: int) -> None:
        body = order(f"impatient {number}")
        for _ in range(3):
            connection = await asyncio.to_thread(send_and_hold, gateway, body)
            await asyncio.sleep(chance.uniform(0, 0.2))
            connection.close()
        answer = await client.queue(body)
        assert answer.status_code == 200, answer.text
        assert purchases(simulator, body["prompt"]) == 1

    async with Client(gateway) as client:
        await asyncio.gather(*(leave_and_return(client, n) for n in range(rounds)))
    simulator.faults([])
    await settled_down(gateway)
    assert_books_balance(gateway)


@pytest.mark.parametrize("moment", ["quote", "accept", "answer"])
async def test_a_kill_at_any_point_of_an_order_buys_at_most_once(
    gateway: GatewayProcess, simulator: SimulatorProcess, moment: str
) -> None:
    """R7: `kill -9` before `sending`, after it, and after Venice has accepted."""
    prompt = f"killed at {moment}"
    endpoint = "quote" if moment == "quote" else "queue"
    delay = {"action": {"delay_seconds": 5.0}}
    if moment != "quote":
        delay["before"] = moment  # type: ignore[assignment]
    simulator.faults([{"endpoint": endpoint, "times": 1, **delay}])
    # Another duration than anybody's before, so that the quote is asked for.
    body = order(prompt, model="longcat-text-to-video", resolution=None, duration="5s")
    before = {job.id for job in jobs_of(gateway)}
    async with Client(gateway) as client:
        asking = asyncio.create_task(client.queue(body))
        since = simulator.truth()["requests"].get(endpoint, {})
        await _one_more(simulator, endpoint, sum(since.values()))
        gateway.kill()
        with pytest.raises(httpx.TransportError):
            await asking
        gateway.start()
        answer = await order_stubbornly(client, body)
    simulator.faults([])
    assert answer is not None
    assert answer.status_code == (200 if moment == "quote" else 409)
    await asyncio.sleep(0)
    assert purchases(simulator, prompt) <= 1
    jobs = [job for job in jobs_of(gateway) if job.id not in before]
    if moment == "quote":
        assert [job.in_doubt.micros for job in jobs if job.state == "in_doubt"] == []
    else:
        assert [job.state for job in jobs] == ["in_doubt"]
        assert jobs[0].in_doubt == jobs[0].quote
        assert answer.json()["job"] == jobs[0].id == answer.headers["x-gateway-job"]
    assert_books_balance(gateway)


async def _one_more(simulator: SimulatorProcess, endpoint: str, before: int) -> None:
    deadline = asyncio.get_running_loop().time() + 5
    while True:
        counted = await asyncio.to_thread(simulator.truth)
        if sum(counted["requests"].get(endpoint, {}).values()) > before:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"no call of {endpoint} arrived")
        await asyncio.sleep(0.02)


@pytest.mark.torture
@pytest.mark.timeout(300)
async def test_answers_later_than_any_client_waits_are_attached_when_they_come(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R7, timeouts after sending: 409 after 50 s, whoever sends its order again meanwhile; then the
    job has its queue_id, and a copy of the order gets it."""
    late = {"delay_seconds": 55}
    simulator.faults([{"endpoint": "queue", "before": "answer", "action": late}])
    bodies = [order(f"very late {number}") for number in range(LATE_ORDERS)]
    async with Client(gateway) as client:
        doubted = await asyncio.gather(*(client.queue(body) for body in bodies))
        told = [(answer.status_code, answer.json()["code"]) for answer in doubted]
        assert told == [(409, "QUEUE_OUTCOME_UNKNOWN")] * LATE_ORDERS
        again = await asyncio.gather(*(client.queue(body) for body in bodies))
        assert {answer.status_code for answer in again} <= {200, 409}

        async def are_attached() -> bool:
            jobs = [job_of(gateway, answer.json()["job"]) for answer in doubted]
            return all(job.queue_id is not None for job in jobs)

        await eventually(are_attached, 30)
        simulator.faults([])
        joined = await asyncio.gather(*(client.queue(body) for body in bodies))
    assert {answer.status_code for answer in joined} == {200}
    assert {answer.headers.get("x-gateway-joined") for answer in joined} == {"true"}
    assert [purchases(simulator, body["prompt"]) for body in bodies] == [1] * LATE_ORDERS
    await settled_down(gateway)
    assert_books_balance(gateway)
