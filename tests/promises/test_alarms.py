"""Each series that an alert reads says so when the thing happens, and nothing before it does."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.metrics import PREFIX
from gateway.simulator.settings import DEFAULT_BILLING_KEY
from gateway.storage.videos_disk import name_of
from gateway.upstream.breaker import FAILURES_IN_A_ROW
from tests.gateway_process import GatewayProcess, with_rules
from tests.promises.asking import PRICE, Client, eventually, order
from tests.promises.books import job_of
from tests.simulator_process import SimulatorProcess

BLOCK_SECONDS = 3
"""Long enough to be seen from outside, as Retry-After says it."""
FAILURES_ALLOWED = 15
"""What the gateway allows itself of Venice's 20."""
FILE_BYTES = 256 * 2**20
NOISE_BYTES = FILE_BYTES // 2
"""What others may take from or give back to the disk meanwhile."""
LARGER_THAN_ANY_DISK = "900TiB"


async def _becomes(gateway: GatewayProcess, series: str, value: float) -> None:
    """Return when a series, or one that is not there yet and so is 0, has a value."""

    async def is_so() -> bool:
        found = await asyncio.to_thread(gateway.metrics)
        return found.get(PREFIX + series, 0.0) == value

    await eventually(is_so)


async def _stored(gateway: GatewayProcess, client: Client, prompt: str) -> str:
    """Buy a video and let nobody fetch it; its job's id once it is here."""
    ready = {"endpoint": "queue", "outcome": "ready_now"}
    # Venice keeps its copy, in case ours is to be fetched again.
    gateway.simulator.faults([ready, {"endpoint": "complete", "action": {"status": 503}}])
    queue_id = await client.buy(prompt)

    async def is_here() -> bool:
        return str((await asyncio.to_thread(job_of, gateway, queue_id)).state) == "stored"

    await eventually(is_here, 30)
    return job_of(gateway, queue_id).id


async def the_key_is_blocked(gateway: GatewayProcess) -> None:
    gateway.simulator.faults(
        [
            {
                "endpoint": "quote",
                "action": {
                    "status": 429,
                    "headers": {"Retry-After": str(BLOCK_SECONDS)},
                    "body": {"error": "Too many failed requests. Please try again later."},
                },
                "times": 1,
            }
        ]
    )
    async with Client(gateway) as client:
        held = asyncio.create_task(client.queue(order("held while the key is blocked")))
        await _becomes(gateway, "key_blocked", 1)
        assert (await held).status_code == 200, "it is sent once the block is over"
    await _becomes(gateway, "key_blocked", 0)


async def an_endpoint_fails_in_a_row(gateway: GatewayProcess) -> None:
    gateway.simulator.faults([{"endpoint": "queue", "action": {"status": 503}}])
    async with Client(gateway) as client:
        orders = (client.queue(order(f"broken {n}")) for n in range(FAILURES_IN_A_ROW))
        answers = await asyncio.gather(*orders)
    assert {answer.status_code for answer in answers} == {503}
    await _becomes(gateway, 'breaker_open{endpoint="queue"}', 1)
    await _becomes(gateway, 'breaker_open{endpoint="quote"}', 0)


async def venice_counts_failures(gateway: GatewayProcess) -> None:
    limit, left = "failure_budget_limit", "failure_budget_remaining"
    await _becomes(gateway, limit, FAILURES_ALLOWED)
    await _becomes(gateway, left, FAILURES_ALLOWED)
    gateway.simulator.faults([{"endpoint": "queue", "action": {"status": 400}}])
    for user in ("anna", "berta"):
        async with Client(gateway, user) as client:
            for number in range(4):
                assert (await client.queue(order(f"refused {number}"))).status_code == 400
    await _becomes(gateway, left, FAILURES_ALLOWED - 8)


async def somebody_stops_spending(gateway: GatewayProcess) -> None:
    await asyncio.to_thread(gateway.cli, "spending", "stop", "--why", "a drill")
    await _becomes(gateway, "spending_stopped", 1)
    async with Client(gateway) as client:
        assert (await client.queue(order("while spending is stopped"))).status_code == 503
    await asyncio.to_thread(gateway.restart)
    await _becomes(gateway, "spending_stopped", 1)
    await asyncio.to_thread(gateway.cli, "spending", "resume", "--why", "it is over")
    await _becomes(gateway, "spending_stopped", 0)


async def the_disk_fills_up(gateway: GatewayProcess) -> None:
    before = gateway.metrics()
    for place in ("videos", "database"):
        free = shutil.disk_usage(gateway.data_dir).free
        assert abs(before[f'{PREFIX}disk_free_bytes{{place="{place}"}}'] - free) < NOISE_BYTES
    with (gateway.folder / "large").open("wb") as large:
        os.posix_fallocate(large.fileno(), 0, FILE_BYTES)
    after = gateway.metrics()
    for place in ("videos", "database"):
        series = f'{PREFIX}disk_free_bytes{{place="{place}"}}'
        assert before[series] - after[series] > NOISE_BYTES
    gateway.write_policies(with_rules(videos={"free_disk": LARGER_THAN_ANY_DISK}))
    await asyncio.to_thread(gateway.reload)
    short = gateway.metrics()
    wanted = short[f"{PREFIX}disk_free_wanted_bytes"]
    assert short[f'{PREFIX}disk_free_bytes{{place="videos"}}'] < wanted


async def a_stored_file_is_cut_short(gateway: GatewayProcess) -> None:
    series = 'video_damage_total{found_by="reader"}'
    async with Client(gateway) as client:
        job_id = await _stored(gateway, client, "to be cut short")
        (path,) = (gateway.data_dir / "videos").rglob(f"{name_of(job_id)}.*")
        os.truncate(path, path.stat().st_size // 2)
        queue_id = job_of(gateway, job_id).queue_id
        assert queue_id is not None
        video = await client.finished(queue_id)
        assert video.headers["content-type"] == "video/mp4"
    await _becomes(gateway, series, 1)


async def a_video_goes_that_nobody_had(gateway: GatewayProcess) -> None:
    async with Client(gateway) as client:
        prompts = ("somebody has it", "nobody has it")
        had, left = await asyncio.gather(*(_stored(gateway, client, p) for p in prompts))
        assert (await client.get(f"/gateway/v1/videos/{had}")).status_code == 200
    await asyncio.to_thread(gateway.cli, "video", "purge", had, "--yes")
    await _becomes(gateway, "unfetched_usd_total", 0)
    await asyncio.to_thread(gateway.cli, "video", "purge", left, "--yes")
    await _becomes(gateway, "unfetched_usd_total", float(PRICE))


async def the_bill_is_compared(gateway: GatewayProcess) -> None:
    series = f"{PREFIX}reconciled_timestamp_seconds"
    assert gateway.metrics()[f"{PREFIX}reconciliation_on"] == 1
    assert gateway.metrics()[series] == 0
    before = int(time.time())
    await asyncio.to_thread(gateway.cli, "reconcile")
    assert before <= gateway.metrics()[series] <= time.time()


@dataclass(frozen=True)
class Alarm:
    """What is done, and under which rules."""

    provoke: Callable[[GatewayProcess], Awaitable[None]]
    series: str
    quiet: float | None = 0
    """What the series shows before; None where it always shows something."""
    rules: dict[str, Any] = field(default_factory=dict)


ALARMS = [
    Alarm(the_key_is_blocked, "key_blocked"),
    Alarm(an_endpoint_fails_in_a_row, 'breaker_open{endpoint="queue"}'),
    Alarm(
        venice_counts_failures,
        "failure_budget_remaining",
        FAILURES_ALLOWED,
        {"venice": {"failures_per_30s": 20}},
    ),
    Alarm(somebody_stops_spending, "spending_stopped"),
    Alarm(the_disk_fills_up, 'disk_free_bytes{place="videos"}', None),
    Alarm(a_stored_file_is_cut_short, 'video_damage_total{found_by="reader"}'),
    Alarm(a_video_goes_that_nobody_had, "unfetched_usd_total"),
    Alarm(the_bill_is_compared, "reconciled_timestamp_seconds"),
]


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.provoke.__name__)
async def test_an_alarm_rings_when_it_happens_and_not_before(
    simulator: SimulatorProcess, tmp_path: Path, alarm: Alarm
) -> None:
    settings = {"VENICE_BILLING_KEY": DEFAULT_BILLING_KEY}
    users = {"anna": None, "berta": None}
    with GatewayProcess(
        tmp_path, simulator, policies=with_rules(**alarm.rules), settings=settings, users=users
    ) as gateway:
        if alarm.quiet is not None:
            assert gateway.metrics()[PREFIX + alarm.series] == alarm.quiet
        await alarm.provoke(gateway)
