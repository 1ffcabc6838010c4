"""Polls by the thousand: what they take of the machine, beside a bare application, and that they
take nothing of the key, however many clients there are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from tests.bench import processes
from tests.bench.crowd import Answered, Crowd
from tests.bench.load import LOAD_CORE, ROOT, on_core
from tests.gateway_process import GatewayProcess, with_rules
from tests.simulator_process import SimulatorProcess

MODEL = "wan-2.2-a14b-text-to-video"
CLIENTS, JOBS = 10_000, 500
POLL_SECONDS = 5.0
TURN_SECONDS = 15.0
GOAL = 0.5
NUMBERS_OF_CLIENTS = (1, 10, 100, 1_000, 10_000)
WATCHED_SECONDS = 8.0
"""How long the jobs take whose retrieves are counted; the model's usual time is the same."""
WATCHED_JOBS = 5
SPEED = 14.0
POLLS_PER_SECOND_MAX = 2_000
"""Of the crowd that is counted: more clients poll more slowly, as the load can send no more."""
RULES = with_rules(venice={"queue_per_minute": 100_000, "retrieve_per_minute": 120})
"""The jobs are bought at once; Venice is asked about them no more than it allows."""
ENDLESS = {"endpoint": "queue", "outcome": {"execution_seconds": 1e9}}


@dataclass(frozen=True)
class Polled:
    """What one kind of server took for the same polls."""

    name: str
    answered: Answered
    cpu_microseconds: float
    """Of the server's processor time, for each poll."""
    memory_mb: float

    @property
    def per_core(self) -> float:
        """Polls a second that one core would answer."""
        return 1e6 / self.cpu_microseconds

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.per_core:,.0f} polls/s a core, p50 {self.answered.p50:.1f} ms, "
            f"p99 {self.answered.p99:.1f} ms, {self.memory_mb:.0f} MB, "
            f"{self.answered.others} not 200"
        )


def compare_crowds(folder: Path, clients: int = CLIENTS, jobs: int = JOBS) -> tuple[Polled, Polled]:
    """The gateway and the bare application under the same crowd, one after the other."""
    with (
        SimulatorProcess(no_limits=True) as simulator,
        GatewayProcess(
            folder, simulator, policies=RULES, settings={"VGW_LOG_LEVEL": "error"}
        ) as gateway,
    ):
        simulator.faults([ENDLESS])
        bodies = tuple(_poll_of(queue_id) for queue_id in _buy(gateway, jobs))
        url = f"{gateway.url}/api/v1/video/retrieve"
        crowd = Crowd(url, gateway.user_key, bodies, clients, POLL_SECONDS, TURN_SECONDS)
        own = _measured("the gateway", crowd, gateway.pid)
    with processes.bare_process() as (url, pid):
        crowd = Crowd(url, "k", bodies, clients, POLL_SECONDS, TURN_SECONDS)
        return own, _measured("a bare application", crowd, pid)


def count_retrieves(folder: Path, numbers: Sequence[int]) -> dict[int, float]:
    """Retrieves a job, by the number of clients that poll the jobs from start to end."""
    found = {}
    with (
        SimulatorProcess(no_limits=True, speed=SPEED, seed=2) as simulator,
        GatewayProcess(folder, simulator, settings={"VGW_LOG_LEVEL": "error"}) as gateway,
    ):
        outcome = {"execution_seconds": WATCHED_SECONDS * SPEED}
        simulator.faults([{"endpoint": "queue", "outcome": outcome}])
        url = f"{gateway.url}/api/v1/video/retrieve"
        for clients in numbers:
            bought = _buy(gateway, WATCHED_JOBS)
            pace = max(1.0, clients / POLLS_PER_SECOND_MAX)
            bodies = tuple(map(_poll_of, bought))
            _send(Crowd(url, gateway.user_key, bodies, clients, pace, WATCHED_SECONDS * 0.9))
            _until_delivered(gateway, bought)
            jobs = {job["queue_id"]: job["retrieves"] for job in simulator.truth()["jobs"]}
            found[clients] = sum(jobs[queue_id] for queue_id in bought) / len(bought)
    return found


def _buy(gateway: GatewayProcess, jobs: int) -> list[str]:
    headers = {"Authorization": f"Bearer {gateway.user_key}"}
    with httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=60) as http:
        order = {"model": MODEL, "prompt": "a crowd", "duration": "5s"}
        return [
            http.post("/api/v1/video/queue", json=order).raise_for_status().json()["queue_id"]
            for _ in range(jobs)
        ]


def _poll_of(queue_id: str) -> str:
    return json.dumps({"model": MODEL, "queue_id": queue_id})


def _until_delivered(gateway: GatewayProcess, bought: Sequence[str]) -> None:
    headers = {"Authorization": f"Bearer {gateway.user_key}"}
    with httpx.Client(base_url=gateway.url, headers=headers, trust_env=False) as http:
        for queue_id in bought:
            body = {"queue_id": queue_id}
            deadline = time.monotonic() + 90
            while b"PROCESSING" in http.post("/api/v1/video/retrieve", json=body).content[:40]:
                if time.monotonic() > deadline:
                    raise TimeoutError("a job was not delivered")
                time.sleep(0.2)


def _measured(name: str, crowd: Crowd, pid: int) -> Polled:
    before = _cpu_seconds(pid)
    answered = _send(crowd)
    used = _cpu_seconds(pid) - before
    return Polled(name, answered, used * 1e6 / max(1, answered.answers), _memory_mb(pid))


def _send(crowd: Crowd) -> Answered:
    command = [sys.executable, "-m", "tests.bench.crowd", json.dumps(asdict(crowd))]
    with on_core(LOAD_CORE):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Answered(**json.loads(done.stdout))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
