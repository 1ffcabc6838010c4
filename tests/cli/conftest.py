"""A gateway's data with a few jobs in it, administered while the gateway runs and while not."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.core.budget import Calendar
from gateway.core.job import Event
from gateway.core.money import Money
from gateway.records import Caller, Key, Order, Reserved, User
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.gateway_process import GatewayProcess, with_rules
from tests.simulator_process import SimulatorProcess

RULES = with_rules(
    organization={"pool": {"month": 1000}},
    teams={"film": {"policy": "studio", "pool": {"month": 200}}},
    policies={"default": {"each_user": {"day": 5}}, "studio": {"extends": "default"}},
)
DOUBTED, BILLED, RELEASED = "job-doubted", "job-billed", "job-released"
PRICE = Money.from_text("0.25")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    error: str

    @property
    def value(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)


class Place:
    """Where commands are run: beside a running gateway, or on its database alone."""

    def __init__(self, process: GatewayProcess) -> None:
        self.process = process

    def run(self, *words: str, **settings: str) -> Done:
        """Run a command as it is typed."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words],
            env={**self.process._environment, **settings},
            cwd=self.process.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def begun(self, *words: str) -> subprocess.Popen[str]:
        """A command that runs on while the test does."""
        return subprocess.Popen(
            [sys.executable, "-m", "gateway", *words],
            env=self.process._environment,
            cwd=self.process.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def value(self, *words: str) -> Any:
        """What a command that must succeed prints with `--json`."""
        done = self.run(*words, "--json")
        assert done.status == 0, done.error
        return done.value

    def acts(self) -> list[str]:
        """What was done here, as the audit keeps it."""
        path = self.process.data_dir / "gateway.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return [act for (act,) in database.execute("SELECT act FROM audit ORDER BY number")]


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(speed=50, seed=1) as running:
        yield running


@pytest.fixture(scope="session", params=["running", "alone"])
def place(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    simulator: SimulatorProcess,
) -> Iterator[Place]:
    process = prepared(tmp_path_factory.mktemp(str(request.param)), simulator)
    if request.param == "running":
        process.start()
    yield Place(process)
    process.terminate()


@pytest.fixture
def alone(tmp_path: Path, simulator: SimulatorProcess) -> Place:
    return Place(prepared(tmp_path, simulator))


def prepared(folder: Path, simulator: SimulatorProcess) -> GatewayProcess:
    """A gateway that does not run yet, with a user and three jobs that have come to rest."""
    process = GatewayProcess(folder, simulator, policies=RULES, users={})
    asyncio.run(_seed(process.data_dir / "gateway.db", simulator.url))
    return process


async def _seed(path: Path, upstream: str) -> None:
    now = time.time_ns() // 1_000_000
    ledger = await SqliteLedger.open(path, upstream=upstream, now=now)
    user, key = User("anna", created_at=now), Key("seededKey0", "anna", "0" * 64, created_at=now)
    await ledger.add_user(user)
    await ledger.add_key(key)
    ends = {
        DOUBTED: [Event.SEND, Event.LOSE_ANSWER],
        BILLED: [Event.SEND, Event.ACCEPT, Event.FAIL_BILLED],
        RELEASED: [Event.GIVE_UP],
    }
    for job_id, events in ends.items():
        order = Order(
            id=job_id,
            caller=Caller(user, key),
            model="wan-2.2-a14b-text-to-video",
            body_digest=job_id,
            idempotency_key=None,
            quote=PRICE,
            limits=(),
            calendar=Calendar(),
            tags=("trailer",),
        )
        assert isinstance(await ledger.reserve(order, now), Reserved)
        for event in events:
            facts = {"queue_id": f"queue-of-{job_id}"} if event is Event.ACCEPT else {}
            await ledger.advance(job_id, event, now, facts=facts)
    await ledger.close()
