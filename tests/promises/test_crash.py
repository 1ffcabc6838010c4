"""What a crash or a stop may cost: nothing that was acknowledged, and no money."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import ExitStack
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import (
    Client,
    arrived,
    eventually,
    order,
    order_stubbornly,
    settled_down,
)
from tests.promises.books import assert_books_balance, job_of, jobs_of
from tests.simulator_process import SimulatorProcess

READY_SECONDS_MAX = 5.0
EXIT_SECONDS_MAX = 10.0
MARGIN_SECONDS = 2.0
GONE_SECONDS = 5.0
"""For the interpreter to end, on a machine with much else to do."""


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.torture)])
@pytest.mark.timeout(1_800)
async def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(
    gateway: GatewayProcess, simulator: SimulatorProcess, kills: int, chance: random.Random
) -> None:
    """R13: acknowledged ⊆ stored ⊆ attempted, nothing bought twice, ready again in 5 s."""
    slow = {"slow_bytes_per_second": 2_000_000}
    simulator.faults([{"endpoint": "retrieve", "match": {"answer": "video"}, "action": slow}])
    answered: dict[str, httpx.Response | None] = {}
    known = {job.id for job in jobs_of(gateway)}

    async def buy(client: Client, prompt: str) -> None:
        answered[prompt] = await order_stubbornly(client, order(prompt))

    slowest = 0.0
    async with Client(gateway) as client, asyncio.TaskGroup() as buying:
        for number in range(kills):
            buying.create_task(buy(client, f"life {number}"))
            await asyncio.sleep(chance.uniform(0, 0.6))
            await asyncio.to_thread(gateway.kill)
            slowest = max(slowest, await asyncio.to_thread(gateway.start))
    simulator.faults([])
    assert slowest <= READY_SECONDS_MAX
    await settled_down(gateway, 60)

    acknowledged = {p: a for p, a in answered.items() if a is not None and a.status_code == 200}
    assert len(acknowledged) >= kills // 3, Counter(a and a.status_code for a in answered.values())
    asked = {sha256(prompt.encode()).hexdigest() for prompt in answered}
    made = [job for job in simulator.truth()["jobs"] if job["prompt_sha256"] in asked]
    stored = {job.queue_id for job in jobs_of(gateway) if job.queue_id and job.id not in known}
    assert {a.json()["queue_id"] for a in acknowledged.values()} <= stored
    assert stored <= {job["queue_id"] for job in made}
    assert set(Counter(job["prompt_sha256"] for job in made).values()) == {1}
    assert_books_balance(gateway)
    async with Client(gateway) as client:
        for answer in acknowledged.values():
            video = await client.finished(answer.json()["queue_id"])
            assert video.headers["content-type"] == "video/mp4", video.text
            wanted = job_of(gateway, answer.json()["queue_id"]).video_sha256
            assert sha256(video.content).hexdigest() == wanted


@pytest.mark.parametrize(
    ("gateways", "longest"),
    [
        ([1, 1], [0.3, 2.5]),
        pytest.param([2] * 50, [8.0, *[None] * 49], marks=pytest.mark.torture),
    ],
    ids=["two stops", "a hundred stops"],
)
async def test_a_stop_finishes_what_is_sent_and_frees_what_is_held(
    simulator: SimulatorProcess,
    tmp_path: Path,
    chance: random.Random,
    gateways: list[int],
    longest: list[float | None],
) -> None:
    """R41: rounds of stops, each with three orders at Venice and three held at the gate."""
    rules = with_rules(venice={"queue_per_minute": 4})
    slowest = 0.0
    for turn, (count, seconds) in enumerate(zip(gateways, longest, strict=True)):
        answer_seconds = chance.uniform(0.1, 8.0) if seconds is None else seconds
        delay = {"delay_seconds": answer_seconds}
        simulator.faults([{"endpoint": "queue", "before": "answer", "action": delay}])
        with ExitStack() as stack:
            running = [
                stack.enter_context(
                    GatewayProcess(tmp_path / f"{turn}-{number}", simulator, policies=rules)
                )
                for number in range(count)
            ]
            stops = [_stop(gateway, f"{turn} {n}") for n, gateway in enumerate(running)]
            slowest = max(slowest, *await asyncio.gather(*stops))
            simulator.faults([])
            for gateway in running[:1]:
                await _take_up_again(gateway)
    print(f"{sum(gateways)} stops, the slowest in {slowest:.1f} s, none with a job in doubt")


async def _stop(gateway: GatewayProcess, name: str) -> float:
    """Stop a gateway amid its orders and look at what became of them; the seconds it took."""
    prompts = [f"stop {name} {n}" for n in range(6)]
    async with Client(gateway) as client:
        sent = [asyncio.create_task(client.queue(order(p))) for p in prompts[:3]]
        for prompt in prompts[:3]:
            await arrived(gateway.simulator, "queue", prompt)
        held = [asyncio.create_task(client.queue(order(p))) for p in prompts[3:]]
        await eventually(lambda: _reserved(gateway, 3))
        until_gone = await asyncio.to_thread(gateway.terminate)
        answers = await asyncio.gather(*sent, *held)
    seconds = _seconds_between(gateway, "service.draining", "service.stopped")
    assert seconds <= EXIT_SECONDS_MAX
    assert until_gone <= EXIT_SECONDS_MAX + GONE_SECONDS
    assert [a.status_code for a in answers] == [200] * 3 + [503] * 3
    for answer in answers[3:]:
        assert answer.json()["code"] == "DRAINING"
        assert int(answer.headers["retry-after"]) > 0
    jobs = jobs_of(gateway)
    assert Counter(str(job.state) for job in jobs)["in_doubt"] == 0
    assert Counter(str(job.holding) for job in jobs)["released"] == 3
    return seconds


def _seconds_between(gateway: GatewayProcess, first: str, last: str) -> float:
    """By the gateway's own log, whatever else this machine does."""
    times = [
        datetime.fromisoformat(gateway.events(name)[-1]["timestamp"]) for name in (first, last)
    ]
    return (times[1] - times[0]).total_seconds()


async def _take_up_again(gateway: GatewayProcess) -> None:
    await asyncio.to_thread(gateway.start)
    await settled_down(gateway)
    assert_books_balance(gateway)
    assert Counter(str(job.state) for job in jobs_of(gateway)) == {"stored": 3, "released": 3}


async def _reserved(gateway: GatewayProcess, count: int) -> bool:
    return sum(job.state == "reserved" for job in jobs_of(gateway)) == count


async def test_a_stop_while_a_video_is_fetched_only_delays_it(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R41: a fetch is parked and taken up again at the next start."""
    slow = {"slow_bytes_per_second": 100_000}
    rule = {"endpoint": "retrieve", "match": {"answer": "video"}, "times": 1, "action": slow}
    simulator.faults([rule])
    async with Client(gateway) as client:
        queue_id = await client.buy("parked")
        await eventually(lambda: _is_fetching(gateway, queue_id))
        assert await asyncio.to_thread(gateway.terminate) <= EXIT_SECONDS_MAX + MARGIN_SECONDS
        gateway.start()
        video = await client.finished(queue_id)
    assert video.headers["content-type"] == "video/mp4"
    assert job_of(gateway, queue_id).bad_bodies == 0


async def _is_fetching(gateway: GatewayProcess, queue_id: str) -> bool:
    return job_of(gateway, queue_id).state == "fetching"
