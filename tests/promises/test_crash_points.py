"""R13 over one job's life: `kill -9` as the gateway enters each system call that makes something
durable, from the order to the settled video, and what it may cost: nothing acknowledged, no money.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.gateway_process import GatewayProcess
from tests.missing import missing
from tests.promises.asking import (
    Client,
    eventually,
    order,
    order_stubbornly,
    purchases,
    settled_down,
)
from tests.promises.books import assert_books_balance, job_of, jobs_of
from tests.simulator_process import SimulatorProcess

STRACE = shutil.which("strace")
STEPS = {
    "fdatasync": 10,  # each commit of the ledger, and its checkpoint
    "pwrite64": 30,  # each page of them
    "ftruncate": 1,  # the log cut off
    "fallocate": 1,  # room for the video
    "fsync": 3,  # the video, and the folders of its name
    "rename": 1,  # the moment in which it exists
    "unlink": 1,
}
"""The calls, and how often at least one makes them in the life of one job."""
CALLS_MAX = 150


@cache
def why_no_strace() -> str | None:
    """Why a running process cannot be watched here."""
    if STRACE is None:
        return "no strace here: kills at single system calls of a job's life are NOT tested"
    probe = subprocess.run(
        [STRACE, "-qq", "-e", "trace=fsync", "-o", "/dev/null", "true"], check=False
    )
    return "strace may not trace here: kills at single calls are NOT tested" * bool(
        probe.returncode
    )


@pytest.fixture
def strace() -> None:
    if reason := why_no_strace():
        missing(reason)


@asynccontextmanager
async def killing_at(gateway: GatewayProcess, call: str, when: int) -> AsyncIterator[None]:
    """Within the context the gateway dies as one of its threads enters such a call so often."""
    command = [str(STRACE), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:signal=KILL:when={when}", "-p", str(gateway.pid)]
    tracer = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    try:
        await eventually(lambda: asyncio.to_thread(_is_traced, gateway.pid))
        yield
    finally:
        # Where the process is dead, the tracer has ended already.
        with suppress(ProcessLookupError):
            tracer.terminate()
        await tracer.wait()


def _is_traced(pid: int) -> bool:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return all("\nTracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)


async def _rests(gateway: GatewayProcess) -> bool:
    """Whether it is dead, or has put everything away."""
    log = gateway.data_dir / "gateway.db-wal"
    return not gateway.is_running or log.stat().st_size == 0


async def _live(
    gateway: GatewayProcess, prompt: str, call: str, when: int
) -> httpx.Response | None:
    """One job's life until its video is delivered, or until the kill; what its order got."""
    answer: httpx.Response | None = None
    async with killing_at(gateway, call, when), Client(gateway) as client:
        try:
            answer = await client.queue(order(prompt))
            await client.finished(answer.json()["queue_id"])
        except httpx.TransportError:
            # The process may be seen a moment longer than its connections.
            await asyncio.to_thread(gateway.wait)
        await eventually(lambda: _rests(gateway))
    return answer


async def _lose_nothing(
    gateway: GatewayProcess, simulator: SimulatorProcess, call: str, when: int
) -> bool:
    """Whether a life was cut off at that call; it lost nothing and bought nothing twice."""
    prompt = f"cut off at {call} {when}"
    known = {job.id for job in jobs_of(gateway)}
    answer = await _live(gateway, prompt, call, when)
    is_killed = not gateway.is_running
    if is_killed:
        await asyncio.to_thread(gateway.wait)
        await asyncio.to_thread(gateway.start)
    async with Client(gateway) as client:
        # A client that has no answer sends its order again, and hears of the same one.
        answer = answer or await order_stubbornly(client, order(prompt))
        assert answer is not None
        assert answer.status_code in (200, 409), answer.text
        await settled_down(gateway)
        assert purchases(simulator, prompt) <= 1
        mine = [job for job in jobs_of(gateway) if job.id not in known]
        if answer.status_code == 200:
            job = job_of(gateway, answer.json()["queue_id"])
            video = await client.finished(answer.json()["queue_id"])
            assert sha256(video.content).hexdigest() == job.video_sha256
            assert job.settled == job.quote
        else:
            job = job_of(gateway, answer.json()["job"])
            assert job.in_doubt == job.quote
        # What was cut off before it was sent has given its money back.
        assert all(str(other.state) == "released" for other in mine if other.id != job.id)
    assert_books_balance(gateway)
    return is_killed


@pytest.mark.parametrize(("call", "when"), [("fdatasync", 6), ("rename", 1)])
async def test_a_kill_at_a_step_of_a_jobs_life_loses_nothing(
    strace: None, gateway: GatewayProcess, simulator: SimulatorProcess, call: str, when: int
) -> None:
    """R13, R7: a commit in the middle of a life, and the video's own moment."""
    assert await _lose_nothing(gateway, simulator, call, when)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("call", STEPS)
async def test_a_kill_at_any_step_of_a_jobs_life_loses_nothing(
    strace: None, gateway: GatewayProcess, simulator: SimulatorProcess, call: str
) -> None:
    """R13, R7: at the first, the second, … until a life ends without it."""
    kills = 0
    while await _lose_nothing(gateway, simulator, call, kills + 1):
        kills += 1
        assert kills < CALLS_MAX, f"no life ever ended without {CALLS_MAX} calls of {call}"
    print(f"{kills} kills at {call}")
    assert kills >= STEPS[call], f"fewer calls of {call} than are known"
