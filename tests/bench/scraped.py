"""What watching costs: a scrape of a gateway with many users and jobs, and the polls beside it.

Polls are timed from outside, in turns with and without somebody who scrapes. The gateway has one
core, whoever polls and scrapes the other.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import yaml

from gateway.simulator.settings import PACKAGED_CATALOGUE
from tests.bench.load import LOAD_CORE, Request, on_core, slowest_hundredth
from tests.bench.processes import SERVED_CORE
from tests.gateway_process import GatewayProcess, with_rules
from tests.hand_made import count_jobs
from tests.promises.asking import MODEL, Client, order
from tests.simulator_process import SimulatorProcess

USERS, MODELS, TEAMS, JOBS = 1_000, 200, 10, 100_000
SCRAPES = 25
TURNS = 30
"""Of each kind: one in itself is told more by the machine's other work than by a scrape."""
SCRAPE_EVERY = 5.0
"""Three times as often as the rules beside the dashboards ask for."""
POLLERS = 4
SCRAPE_SECONDS_MAX = 0.1
POLLS_SLOWER_MAX = 1.05
_JOBS = """
WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :jobs)
INSERT INTO jobs (id, queue_id, user, key_id, team, model, state, holding, quote, reserved, settled,
    created_at, ended_at, body_digest, answer_owed, policy, policy_version, copy_gone)
SELECT 'old' || n, 'queue' || n, 'user' || (n % :users), 'key' || (n % :users),
    'team' || (n % :teams), 'model-' || ((n / :teams) % :models),
    iif(n % 9, 'purged', 'failed_billed'), 'settled', 60000, 0, 60000,
    :now - n * 1000, :now - n * 1000, 'digest' || n, 0, 'default', 'v', 1
FROM counted
"""
_ENTRIES = "INSERT INTO entries (job, kind, at, reserved, in_doubt, settled) SELECT {} FROM jobs"


@dataclass(frozen=True)
class Watched:
    """What was found."""

    scrape_seconds: float
    """The median."""
    best_seconds: float
    """The shortest: nearest to what a machine without other work takes."""
    samples: int
    quiet_p99: float
    scraped_p99: float
    """Of polls, in seconds, the median of the turns."""
    noise: float
    """How much longer the quiet turns' upper quartile took than their lower one: what a machine
    with other work does by itself."""

    @property
    def slower(self) -> float:
        """How many times as long polls take."""
        return self.scraped_p99 / self.quiet_p99

    def __str__(self) -> str:
        return (
            f"A scrape of {self.samples:,} samples, with {USERS:,} users, {MODELS} models and "
            f"{JOBS:,} jobs, takes {self.scrape_seconds * 1000:.0f} ms (goal: under "
            f"{SCRAPE_SECONDS_MAX * 1000:.0f}), at best {self.best_seconds * 1000:.0f} ms. The "
            f"slowest hundredth of polls takes {self.quiet_p99 * 1000:.2f} ms, and "
            f"{self.scraped_p99 * 1000:.2f} ms beside somebody "
            f"who scrapes every {SCRAPE_EVERY:.0f} s: {self.slower:.2f} times as long "
            f"(goal: {POLLS_SLOWER_MAX}). By itself it moved by a factor of {self.noise:.2f} "
            f"between the quartiles of {TURNS} turns without scrapes."
        )


def measure(folder: Path) -> Watched:
    """Fill a gateway, scrape it, and poll it in turns with a scrape and without, either first."""
    with _crowded(folder) as gateway:
        scrapes, shown = [], gateway.metrics()
        for _ in range(SCRAPES):
            began = time.perf_counter()
            shown = gateway.metrics()
            scrapes.append(time.perf_counter() - began)
        polls = _polls_of(gateway, SCRAPE_EVERY)
        slowest_hundredth(polls)
        quiet: list[float] = []
        scraped: list[float] = []
        for turn in range(TURNS):
            for is_scraped in (turn % 2 == 0, turn % 2 == 1):
                if is_scraped:
                    with _scraped(gateway):
                        scraped.append(slowest_hundredth(polls))
                else:
                    quiet.append(slowest_hundredth(polls))
    lower, _, upper = quantiles(quiet, n=4)
    return Watched(
        median(scrapes), min(scrapes), len(shown), median(quiet), median(scraped), upper / lower
    )


@contextmanager
def _crowded(folder: Path) -> Iterator[GatewayProcess]:
    """A gateway with all of them; its ledger adds up."""
    catalogue = folder / "catalogue.yaml"
    catalogue.write_text(yaml.safe_dump(_many_models()), "utf-8")
    rules = with_rules(
        organization={"pool": {"month": 1_000_000, "day": 100_000}},
        teams={f"team{n}": {"pool": {"month": 100_000, "day": 10_000}} for n in range(TEAMS)},
    )
    users = {"poller": None} | {f"user{n}": None for n in range(USERS)}
    settings = {"VGW_LOG_LEVEL": "error"}
    with SimulatorProcess(no_limits=True, catalogue=catalogue) as simulator:
        slow = {"endpoint": "queue", "outcome": {"execution_seconds": 86_400}}
        simulator.faults([slow])
        gateway = GatewayProcess(folder, simulator, policies=rules, users=users, settings=settings)
        with gateway:
            gateway.terminate()
            _fill(gateway.data_dir / "gateway.db")
            with on_core(SERVED_CORE):
                gateway.start()
            yield gateway


def _many_models() -> dict[str, Any]:
    """The packaged catalogue, with copies of its first model up to the number wanted."""
    document: dict[str, Any] = yaml.load(
        PACKAGED_CATALOGUE.read_text("utf-8"), Loader=yaml.SafeLoader
    )
    first = document["models"][0]
    document["models"] += [{**first, "id": f"model-{n}"} for n in range(MODELS)]
    return document


def _fill(path: Path) -> None:
    values = {"jobs": JOBS, "users": USERS, "teams": TEAMS, "models": MODELS}
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(_JOBS, {**values, "now": int(time.time() * 1000)})
        database.execute(_ENTRIES.format("id, 'reserve', created_at, quote, 0, 0"))
        database.execute(_ENTRIES.format("id, 'settle', created_at, -quote, 0, quote"))
        count_jobs(database)


def _polls_of(gateway: GatewayProcess, seconds: float) -> Request:
    """Polls of a job that is made in a day."""

    async def ordered() -> str:
        async with Client(gateway) as client:
            answer = await client.queue(order("in a day", model=MODEL))
            assert answer.status_code == 200, answer.text
            queue_id: str = answer.json()["queue_id"]
            return queue_id

    body = json.dumps({"model": MODEL, "queue_id": asyncio.run(ordered())})
    headers = {
        "Authorization": f"Bearer {gateway.user_key}",
        "Content-Type": "application/json",
    }
    url = f"{gateway.url}/api/v1/video/retrieve"
    return Request(url, "POST", headers, body, POLLERS, seconds)


@contextmanager
def _scraped(gateway: GatewayProcess) -> Iterator[None]:
    """Somebody scrapes, and reads no more of it than that it came."""
    is_over = threading.Event()
    came: list[int] = []

    def scrape() -> None:
        with on_core(LOAD_CORE):
            while not is_over.is_set():
                with urllib.request.urlopen(f"{gateway.url}/metrics", timeout=30) as answer:
                    came.append(len(answer.read()))
                is_over.wait(SCRAPE_EVERY)

    scraping = threading.Thread(target=scrape)
    scraping.start()
    try:
        yield
    finally:
        is_over.set()
        scraping.join()
    assert min(came, default=0) > 10_000, "nobody scraped"
