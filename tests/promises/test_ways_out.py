"""R37 as the system sees it: every address that a running gateway turns to, from its start on."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.simulator.settings import DEFAULT_BILLING_KEY
from tests.gateway_process import GatewayProcess, with_rules
from tests.missing import missing
from tests.promises.asking import MODEL, PRIVATE_MODEL, Client, order, settled_down
from tests.promises.books import job_of
from tests.promises.every_door import admin_key
from tests.promises.listening import SECRET, Listener, until
from tests.simulator_process import SimulatorProcess

STRACE = shutil.which("strace")
CALLS = "connect,sendto,sendmsg,sendmmsg"
"""All that can lead to an address; one that sends over a connection names none."""
OPTIONS = (
    "-D",
    "-f",
    "-q",
    "-s",
    "0",
    "--seccomp-bpf",
    "-e",
    f"trace={CALLS}",
    "-e",
    "signal=none",
)
ENDED_SECONDS_MAX = 20.0
ELSEWHERE = "http://127.0.0.1:9/elsewhere"
"""Where nobody is configured to be."""
_FAMILY = re.compile(r"sa_family=(AF_\w+)")
_IPV4 = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)')


@cache
def why_no_strace() -> str | None:
    """Why a process cannot be watched here."""
    if STRACE is None:
        return "no strace here: where a running gateway connects to is NOT tested"
    probe = subprocess.run([STRACE, *OPTIONS, "-o", "/dev/null", "true"], check=False)
    refused = "strace may not trace here: where a running gateway connects to is NOT tested"
    return refused if probe.returncode else None


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Where the system calls are written."""
    if reason := why_no_strace():
        missing(reason)
    return tmp_path / "calls"


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    """One that nobody else calls."""
    with SimulatorProcess(speed=300, seed=1, no_limits=True) as running:
        yield running


@pytest.fixture
def watched(
    trace: Path, simulator: SimulatorProcess, listener: Listener, tmp_path: Path
) -> Iterator[GatewayProcess]:
    """A gateway with all that makes it connect to anything, under the eyes of strace."""
    rules = with_rules(
        notify=[{"url": listener.url, "secret": "env:NOTICE_SECRET"}],
        quotes={"fresh": "1s"},
    )
    with GatewayProcess(
        tmp_path,
        simulator,
        policies=rules,
        settings={"NOTICE_SECRET": SECRET, "VENICE_BILLING_KEY": DEFAULT_BILLING_KEY},
        tracer=(str(STRACE), *OPTIONS, "-o", str(trace)),
    ) as running:
        yield running


async def test_a_running_gateway_turns_to_configured_addresses_only(
    watched: GatewayProcess, simulator: SimulatorProcess, listener: Listener, trace: Path
) -> None:
    """From its start to its stop, whatever clients and Venice name."""
    async with Client(watched) as client:
        await _live(watched, simulator, client)
    await asyncio.to_thread(_read_the_bill, watched)
    await asyncio.to_thread(until, lambda: listener.subjects("job.completed"))
    asked = {call["endpoint"] for call in simulator.truth()["calls"]}
    assert asked >= {"queue", "quote", "retrieve", "download", "complete", "usage"}
    pid = watched.pid
    await asyncio.to_thread(watched.terminate)
    found = {_led_to(call) for call in await asyncio.to_thread(_calls, trace, pid)}
    assert found - {None} == {_address(simulator.url), _address(listener.url)}


async def _live(gateway: GatewayProcess, simulator: SimulatorProcess, client: Client) -> None:
    """Orders of every kind, some of which lead elsewhere."""
    away = {"status": 302, "headers": {"Location": ELSEWHERE}, "body": {}}
    redirected = {"prompt_sha256": sha256(b"redirected").hexdigest()}
    led = {"match": {"prompt_contains": "led"}, "before": "answer"}
    simulator.faults(
        [
            {"endpoint": "queue", **led, "action": {"patch": {"download_url": ELSEWHERE}}},
            {"endpoint": "download", "match": redirected, "action": away},
            {"endpoint": "quote", "action": away, "times": 1},
        ]
    )
    pricing = {"model": MODEL, "duration": "5s"}
    # Its redirect is an answer that makes no sense, and nothing else.
    assert [(await client.post("quote", pricing)).status_code for _ in range(2)] == [502, 200]
    delivered = [await client.buy("usual"), await client.buy("private", model=PRIVATE_MODEL)]
    broken = [await client.buy(name, model=PRIVATE_MODEL) for name in ("led", "redirected")]
    await client.queue(order("with a picture", image_url=ELSEWHERE))
    for path in ("/api/v1/models?type=video", "/api/v1/billing/balance", "/readyz?verbose"):
        assert (await client.get(path)).status_code == 200, path
    for queue_id in delivered:
        assert (await client.finished(queue_id)).headers["content-type"] == "video/mp4"
        assert (await client.post("complete", {"queue_id": queue_id})).status_code == 200
    await settled_down(gateway)
    states = [str(job_of(gateway, queue_id).state) for queue_id in broken]
    assert states == ["stalled"] * 2


def _read_the_bill(gateway: GatewayProcess) -> None:
    answer = httpx.post(
        f"{gateway.url}/gateway/v1/admin/reconciliations",
        json={},
        headers={"authorization": f"Bearer {admin_key(gateway)}"},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 201, answer.text


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def _calls(trace: Path, pid: int) -> list[str]:
    """All that was written of a process, once that is all."""
    deadline = time.monotonic() + ENDED_SECONDS_MAX
    while not re.search(rf"^{pid} +\+\+\+ ", text := trace.read_text(), re.MULTILINE):
        assert time.monotonic() < deadline, "strace has not written of the end"
        time.sleep(0.05)
    return text.splitlines()


def _led_to(call: str) -> tuple[str, int] | str | None:
    """The address that a call names, if it names one; one that cannot be read stands for itself."""
    family = _FAMILY.search(call)
    if family is None:
        return None
    place = _IPV4.search(call) if family[1] == "AF_INET" else None
    return call if place is None else (place[2], int(place[1]))
