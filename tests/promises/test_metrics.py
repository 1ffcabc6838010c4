"""R34: metrics are well-formed, bounded whatever clients send, and equal to the ledger."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core.job import State
from gateway.metrics import PREFIX
from gateway.records import Job
from tests.gateway_process import GatewayProcess, with_rules
from tests.missing import missing
from tests.promises.asking import MODEL, PRICE, Client, eventually, order, settled_down
from tests.promises.books import job_of, jobs_of
from tests.simulator_process import SimulatorProcess

SERIES_ADDED_MAX = 50
AT_ONCE = 40
PATHS = ("/api/v1/{}", "/gateway/v1/{}", "/gateway/v1/jobs/{}", "/gateway/v1/media/{}", "/{}")
DOORS = ("queue", "quote", "retrieve", "complete")
POOLS = {
    "organization": {"pool": {"month": 900, "total": 5000}},
    "teams": {"film": {"pool": {"day": 100, "24h": 60}}},
}


@pytest.fixture
def pooled(simulator: SimulatorProcess, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway with pools, and a team that has one."""
    with GatewayProcess(tmp_path, simulator, policies=with_rules(**POOLS), users={}) as running:
        running.user_key = running.add_user("anna", team="film")
        yield running


async def test_money_gauges_equal_the_ledger(
    pooled: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """To the micro-dollar, after jobs that ended in every costly way, and after a restart."""
    fates: dict[str, list[dict[str, Any]]] = {
        "stored": [],
        "failed_billed": [{"endpoint": "queue", "outcome": "fail_billed", "times": 1}],
        "failed_refunded": [{"endpoint": "queue", "outcome": "fail_refunded_flat", "times": 1}],
        "in_doubt": [
            {"endpoint": "queue", "before": "answer", "action": {"drop": True}, "times": 1}
        ],
        "processing": [{"endpoint": "queue", "outcome": {"execution_seconds": 9_000}, "times": 1}],
    }
    async with Client(pooled) as client:
        for state, plan in fates.items():
            simulator.faults(plan)
            answer = await client.queue(order(f"to be {state}"))
            job_id = answer.headers["x-gateway-job"]
            await eventually(lambda j=job_id, s=state: _is(pooled, j, s), 20)  # type: ignore[misc]
    simulator.faults([])
    _assert_gauges_equal_the_ledger(pooled)
    pooled.restart()
    _assert_gauges_equal_the_ledger(pooled)


async def _is(gateway: GatewayProcess, job: str, state: str) -> bool:
    return str((await asyncio.to_thread(job_of, gateway, job)).state) == state


def _assert_gauges_equal_the_ledger(gateway: GatewayProcess) -> None:
    shown, jobs = gateway.metrics(), jobs_of(gateway)
    wasted = _dollars(job for job in jobs if job.state is State.FAILED_BILLED)
    spent = _dollars(jobs)
    reserved = sum((Decimal(str(job.reserved)) for job in jobs), Decimal())
    in_doubt = sum((Decimal(str(job.in_doubt)) for job in jobs), Decimal())
    assert all((wasted, reserved, in_doubt))
    expected = {
        f'spend_usd_total{{model="{MODEL}",team="film"}}': spent,
        "reserved_usd": reserved,
        "in_doubt_usd": in_doubt,
        'waste_usd{reason="failed_billed"}': wasted,
        'waste_usd{reason="lost"}': Decimal(),
    }
    used = spent + reserved + in_doubt
    for scope, name, window in (
        ("organization", "organization", "month"),
        ("organization", "organization", "total"),
        ("team", "film", "day"),
        ("team", "film", "24h"),
    ):
        labels = f'{{name="{name}",scope="{scope}",window="{window}"}}'
        expected[f"budget_used_usd{labels}"] = used
        # A window that ends says when.
        ends = f"{PREFIX}budget_window_end_timestamp_seconds{labels}" in shown
        assert ends is (window in ("month", "day"))
    found = {name: Decimal(repr(shown[PREFIX + name])) for name in expected}
    assert found == expected
    assert shown[f"{PREFIX}in_doubt_oldest_seconds"] > 0


def _dollars(jobs: Iterator[Job] | list[Job]) -> Decimal:
    return sum((Decimal(str(job.settled)) for job in jobs), Decimal())


async def test_each_counter_moves_with_what_it_counts_and_by_as_much(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    job = {"resolutions": ["480p"]}
    rules = with_rules(policies={"default": {"each_user": {"total": "0.1"}, "job": job}})
    with GatewayProcess(tmp_path, simulator, policies=rules) as gateway:
        before = gateway.metrics()
        busy = {"status": 429, "headers": {"Retry-After": "1"}}
        refunded = {"endpoint": "queue", "outcome": "fail_refunded_flat", "times": 1}
        async with Client(gateway) as client:
            simulator.faults([refunded])
            await client.finished(await client.buy("refunded"))
            simulator.faults([{"endpoint": "queue", "action": busy, "times": 1}])
            queue_id = await client.buy("counted")
            simulator.faults([])
            video = await client.finished(queue_id)
            await client.get(f"/gateway/v1/videos/{queue_id}", range="bytes=0-9")
            await client.post("complete", {"queue_id": queue_id})
            too_sharp = await client.queue(order("too sharp", resolution="720p"))
            too_much = await client.queue(order("too much"))
        after = gateway.metrics()
    assert (video.status_code, too_sharp.status_code, too_much.status_code) == (200, 400, 402)
    moved = {name.removeprefix(PREFIX): after[name] - before.get(name, 0) for name in after}
    expected = {
        'requests_total{door="queue",status="200"}': 2,
        'requests_total{door="queue",status="400"}': 1,
        'requests_total{door="queue",status="402"}': 1,
        'requests_total{door="videos",status="206"}': 1,
        'request_seconds_count{door="queue"}': 4,
        'upstream_requests_total{endpoint="queue",outcome="ok"}': 2,
        'upstream_requests_total{endpoint="queue",outcome="rate_limited"}': 1,
        'upstream_retries_total{endpoint="queue",reason="rate_limited"}': 1,
        'refunds_usd_total{reason="credits_refunded"}': float(PRICE),
        'refusals_total{reason="job"}': 1,
        'refusals_total{reason="user"}': 1,
        'video_hits_total{result="hit"}': 2,
        'video_evictions_total{reason="completed"}': 1,
        "ready_to_stored_seconds_count": 1,
        "video_fill_seconds_count": 1,
        "looks_per_job_count": 1,
    }
    assert {name: round(moved.get(name, 0), 6) for name in expected} == expected


async def test_hostile_names_add_next_to_no_series(
    gateway: GatewayProcess, chance: random.Random
) -> None:
    await _assert_bounded(gateway, chance, 300)


@pytest.mark.torture
@pytest.mark.timeout(1200)
async def test_a_hundred_thousand_hostile_names_add_next_to_no_series(
    gateway: GatewayProcess, chance: random.Random
) -> None:
    await _assert_bounded(gateway, chance, 100_000)


async def _assert_bounded(gateway: GatewayProcess, chance: random.Random, count: int) -> None:
    """Paths, models, tags and agents that nobody else will ever name."""
    kinds = len(PATHS) + len(DOORS)
    # One of each kind first: what counts is what other names add.
    for kind in range(kinds):
        await _send(gateway, iter([_hostile(gateway, chance, kind)]))
    before = set(gateway.metrics())
    hostile = (_hostile(gateway, chance, turn % kinds) for turn in range(count))
    answers = await asyncio.gather(*(_send(gateway, hostile) for _ in range(AT_ONCE)))
    assert sum(answers) == count
    await settled_down(gateway)
    added = set(gateway.metrics()) - before
    print(f"{count} hostile requests added {len(added)} series")
    assert len(added) <= SERIES_ADDED_MAX, sorted(added)[:80]


def _hostile(gateway: GatewayProcess, chance: random.Random, kind: int) -> bytes:
    name = f"{chance.getrandbits(64):x}"
    if kind < len(PATHS):
        method = chance.choice(("GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"))
        path, body = PATHS[kind].format(name), b""
    else:
        method, path = "POST", f"/api/v1/video/{DOORS[kind - len(PATHS)]}"
        asked = order(name, model=f"model-{name}", queue_id=name, **{name: name})
        body = json.dumps(asked).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {name}\r\n"
        f"Authorization: Bearer {gateway.user_key}\r\nX-Gateway-Tags: {name}\r\n"
        f"X-Request-Id: {name}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _send(gateway: GatewayProcess, requests: Iterator[bytes]) -> int:
    """Send some over one connection, each once the last is answered; how many were."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    answers = 0
    try:
        for request in requests:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None, head
            await reader.readexactly(int(length[1]))
            answers += 1
    finally:
        writer.close()
        await writer.wait_closed()
    return answers


def test_promtool_finds_nothing_to_improve(gateway: GatewayProcess) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool is not installed: the format of /metrics is NOT checked")
    answer = httpx.get(f"{gateway.url}/metrics", trust_env=False)
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=answer.content,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
