"""Nonsense from Venice: it ends no job, moves no money silently, and is told plainly."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess
from tests.promises.asking import MODEL, Client, order, problems
from tests.promises.books import job_of, jobs_of
from tests.simulator_process import SimulatorProcess

UNPRICED = [
    '{"other":1}', '{"quote":null}', '{"quote":"cheap"}', '{"quote":-1}', '{"quote":0}',
    '{"quote":NaN}', '{"quote":1e400}', "<html></html>", "[]", "",
]  # fmt: skip


async def test_a_quote_that_is_no_price_buys_and_holds_nothing(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    known = len(jobs_of(gateway))
    async with Client(gateway) as client:
        for number, text in enumerate(UNPRICED):
            told = {"status": 200, "text": text, "content_type": "application/json"}
            simulator.faults([{"endpoint": "quote", "action": told}])
            body = order(
                f"unpriced {number}",
                model="kling-2.5-turbo-pro-text-to-video",
                resolution=None,
                duration=("5s", "10s")[number % 2],
                aspect_ratio=("16:9", "9:16", "1:1")[number // 2 % 3],
            )
            answer = await client.queue(body)
            assert (answer.status_code, answer.json()["code"]) == (502, "QUOTE_UNAVAILABLE"), text
            assert problems(answer) == []
            # A success between keeps the breaker closed.
            simulator.faults([])
            await client.post("quote", {"model": MODEL, "duration": "5s", "resolution": "480p"})
    assert len(jobs_of(gateway)) == known


REFUSALS: dict[str, tuple[dict[str, Any], int, str]] = {
    "402": ({"status": 402, "body": {"error": "broke"}}, 402, "INSUFFICIENT_BALANCE"),
    "401": ({"status": 401, "body": {"error": "Authentication failed"}}, 503, "UPSTREAM_AUTH"),
    "403": ({"status": 403, "body": {"error": "not in your region"}}, 503, "UPSTREAM_AUTH"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_venices_no_to_the_organization_is_not_the_users_fault(
    gateway: GatewayProcess, simulator: SimulatorProcess, name: str
) -> None:
    action, status, code = REFUSALS[name]
    # Models of their own: a 401 or 403 closes the model for a while.
    model = "wan-2.5-preview-text-to-video" if name == "403" else "wan-2.1-text-to-video"
    body = order(f"org {name}", model=model, duration="5s")
    simulator.faults([{"endpoint": "queue", "action": action}])
    async with Client(gateway) as client:
        answer = await client.queue(body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert problems(answer) == []
    assert "retry-after" not in answer.headers
    assert jobs_of(gateway)[-1].holding == "released"


STRANGE: dict[str, dict[str, Any]] = {
    "unknown status": {"status": "DREAMING"},
    "null times": {"average_execution_time": None, "execution_duration": None},
    "times of a wrong type": {"average_execution_time": "long", "execution_duration": -1},
    "no status": {"status": None},
}
OTHER = {"answer": "other"}
SENSELESS_RESETS = ("1", "soon", "-5", "1e400", "")


def _looks(prompt: str, **rule: Any) -> dict[str, Any]:
    """A fault of the looks at the job of a prompt."""
    match = {"prompt_sha256": sha256(prompt.encode()).hexdigest(), **rule.pop("match", {})}
    return {"endpoint": "retrieve", "match": match, **rule}


async def test_a_strange_answer_to_a_look_neither_ends_nor_refunds_a_job(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """Reports that make no sense, and refusals that name no sensible time to wait."""
    actions: list[dict[str, Any]] = [{"patch": patch} for patch in STRANGE.values()]
    actions += [
        {"status": 429, "headers": {"x-ratelimit-reset-requests": reset}}
        for reset in SENSELESS_RESETS
    ]
    prompts = [f"strange {number}" for number in range(len(actions))]
    looks = [
        _looks(prompt, match={} if "status" in action else OTHER, times=1, action=action)
        for prompt, action in zip(prompts, actions, strict=True)
    ]
    long = {"endpoint": "queue", "outcome": {"execution_seconds": 900}}
    simulator.faults([long, *looks])
    async with Client(gateway) as client:
        bought = [await client.buy(prompt) for prompt in prompts]
        polls = await asyncio.gather(*map(client.retrieve, bought))
        assert {poll.json()["status"] for poll in polls} == {"PROCESSING"}
        videos = await asyncio.gather(*map(client.finished, bought))
    assert {video.headers["content-type"] for video in videos} == {"video/mp4"}
    fired = [rule["fired"] for rule in simulator.control("GET", "/_faults")][1:]
    assert fired == [1] * len(actions)
    assert {job_of(gateway, queue_id).holding for queue_id in bought} == {"settled"}


async def test_polls_are_answered_from_memory(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    long = {"endpoint": "queue", "outcome": {"execution_seconds": 600}, "times": 1}
    simulator.faults([long])
    async with Client(gateway) as client:
        queue_id = await client.buy("many polls")
        for _ in range(5):
            polls = await asyncio.gather(*(client.retrieve(queue_id) for _ in range(100)))
            assert {a.status_code for a in polls} == {200}
    job = next(j for j in simulator.truth()["jobs"] if j["queue_id"] == queue_id)
    assert job["retrieves"] <= 12
