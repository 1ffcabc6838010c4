"""The whole floor before the stand-in Venice: one job from quote to video, and a blocked key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise

import pytest
from pydantic import SecretStr

from gateway.core.pacing import GateLimits
from gateway.core.retry import Endpoint, Outcome, RetryRules
from gateway.moments import SystemClock
from gateway.ports import Reply, VideoReply
from gateway.records import RecordedCall
from gateway.upstream.client import VeniceClient
from gateway.upstream.downloads import Links
from gateway.upstream.gate import Gate
from gateway.upstream.venice import Venice
from tests.simulator_process import SimulatorProcess

TEXT_MODEL = "wan-2.2-a14b-text-to-video"
PRIVATE_MODEL = "grok-imagine-text-to-video-private"
CLOCK = SystemClock()


class Silent:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def called(self, endpoint: Endpoint, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def retried(self, endpoint: Endpoint, reason: Outcome) -> None:
        """Nobody asks."""


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    """Two failures are allowed in a second, and one more blocks the key for as long."""
    with SimulatorProcess(speed=200, failures_per_30s=2, window_scale=30, seed=1) as process:
        yield process


@asynccontextmanager
async def venice_at(url: str, limits: GateLimits) -> AsyncIterator[tuple[Venice, Silent]]:
    async def forget(call: RecordedCall) -> None:
        """Nothing here survives a restart."""

    client = VeniceClient(url, SecretStr("an-inference-key"))
    observer = Silent()
    gate = Gate(CLOCK, limits, forget)
    rules = RetryRules()
    yield (
        Venice(client, gate, Links(url, []), CLOCK, observer, rules=rules, hold=25.0),
        observer,
    )
    await client.close()


async def nothing() -> None:
    """No ledger to prepare."""


@pytest.mark.parametrize("model", [TEXT_MODEL, PRIVATE_MODEL])
async def test_a_job_goes_from_its_quote_to_its_video(
    model: str, simulator: SimulatorProcess
) -> None:
    order = {"model": model, "prompt": "a gondola", "duration": "5s"}
    async with venice_at(simulator.url, GateLimits()) as (venice, _), asyncio.timeout(20):
        soon = CLOCK.monotonic() + 20
        quote = await venice.quote({"model": model, "duration": "5s"}, "ann", soon)
        assert isinstance(quote.document["quote"], int | Decimal)
        job = (await venice.queue(order, "ann", soon, nothing)).document
        video = b""
        while not video:
            async with venice.retrieve(model, job["queue_id"], "ann") as found:
                if isinstance(found, VideoReply):
                    video = b"".join([chunk async for chunk in found.chunks])
                elif found.document["status"] == "COMPLETED":
                    break
            await asyncio.sleep(0.1)  # the pace of polling, not a hope
        if model == PRIVATE_MODEL:
            async with venice.download(job["download_url"]) as file:
                assert isinstance(file, VideoReply)
                video = b"".join([chunk async for chunk in file.chunks])
                assert len(video) == file.expected_bytes
            assert (await venice.revoke(job["download_url"])).is_ok
            async with venice.download(job["download_url"]) as gone:
                assert isinstance(gone, Reply)
                assert gone.outcome is Outcome.REFUSED
        else:
            assert (await venice.complete(model, job["queue_id"], "ann")).is_ok
    assert video[4:8] == b"ftyp"


async def test_a_blocked_key_is_left_alone_then_probed_once(simulator: SimulatorProcess) -> None:
    simulator.forget()
    careless = GateLimits(failures=1_000, failures_per_user=1_000)
    async with venice_at(simulator.url, careless) as (venice, observer), asyncio.timeout(20):
        soon = CLOCK.monotonic() + 20
        for _ in range(3):
            await venice.quote({"model": "no such model"}, "eve", soon)
        good = {"model": TEXT_MODEL, "duration": "5s"}
        replies = await asyncio.gather(*(venice.quote(good, "ann", soon) for _ in range(3)))
    assert all(reply.is_ok for reply in replies)
    assert Outcome.BLOCKED in observer.outcomes
    calls = [call for call in simulator.truth()["calls"] if call["endpoint"] == "quote"]
    assert max(b["at"] - a["at"] for a, b in pairwise(calls)) >= 1.0
