"""What watching costs: a scrape of a gateway with many users and jobs, and the polls beside it.

Polls are timed from outside, one by one, while somebody scrapes now and then: all of them are
compared with those that no scrape was near. A machine with other work moves both alike, which it
does not do with turns that follow each other. The gateway has one core, whoever polls and scrapes
the other.
"""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from gateway.simulator.settings import PACKAGED_CATALOGUE
from tests.bench.load import LOAD_CORE, Request, each_answer, on_core
from tests.bench.processes import SERVED_CORE
from tests.gateway_process import GatewayProcess, with_rules
from tests.hand_made import count_jobs
from tests.promises.asking import MODEL, Client, order
from tests.simulator_process import SimulatorProcess

USERS, MODELS, TEAMS, JOBS = 1_000, 200, 10, 100_000
SCRAPES = 25
RUNS = 5
"""With scrapes, and as many without."""
RUN_SECONDS = 30.0
SCRAPE_EVERY = 15.0
"""As the configuration beside the dashboards has it (`grafana/prometheus/prometheus.yml`)."""
NEAR_SECONDS = 1.0
"""After a scrape, until nothing of it can be felt. The gateway has done with it after some 15 ms; a
machine that is held to a share of its processors gives less for some while after a moment in which
all of them worked."""
POLLERS, POLLS_PER_SECOND = 16, 1_000
"""What 5,000 clients ask that poll every five seconds, whether the one before was answered or not:
a load that waits would hide a gateway that stands still."""
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
    polls: int
    p99: float
    """Of all polls while somebody scraped, in seconds."""
    far_p99: float
    """Of those that no scrape was near."""
    near_p99: float
    """Of the others: some are under way while a scrape is answered."""
    quiet_p99: tuple[float, ...]
    """Of the runs in which nobody scraped."""

    @property
    def slower(self) -> float:
        """How many times as long polls take."""
        return self.p99 / self.far_p99

    def __str__(self) -> str:
        low, high = min(self.quiet_p99) * 1000, max(self.quiet_p99) * 1000
        return (
            f"A scrape of {self.samples:,} samples, with {USERS:,} users, {MODELS} models and "
            f"{JOBS:,} jobs, takes {self.scrape_seconds * 1000:.0f} ms (goal: under "
            f"{SCRAPE_SECONDS_MAX * 1000:.0f}), at best {self.best_seconds * 1000:.0f} ms. "
            f"Of {self.polls:,} polls beside somebody who scrapes every {SCRAPE_EVERY:.0f} s, the "
            f"slowest hundredth takes {self.p99 * 1000:.2f} ms; of those that no scrape was near, "
            f"{self.far_p99 * 1000:.2f} ms: {self.slower:.3f} times as long (goal: "
            f"{POLLS_SLOWER_MAX}). Of those within {NEAR_SECONDS} s of one it is "
            f"{self.near_p99 * 1000:.2f} ms. In {RUNS} runs of {RUN_SECONDS:.0f} s without scrapes "
            f"it was between {low:.2f} and {high:.2f} ms: so much the machine moves by itself."
        )


def measure(folder: Path) -> Watched:
    """Fill a gateway, scrape it, and poll it in turns with a scrape and without, either first."""
    with _crowded(folder) as gateway:
        scrapes, shown = [], gateway.metrics()
        for _ in range(SCRAPES):
            began = time.perf_counter()
            shown = gateway.metrics()
            scrapes.append(time.perf_counter() - began)
        polls = _polls_of(gateway, RUN_SECONDS)
        quiet: list[float] = []
        far: list[float] = []
        near: list[float] = []
        for _ in range(RUNS):
            quiet.append(_p99([wait for _, wait in each_answer(polls)]))
            with _scraped(gateway) as when:
                answers = each_answer(polls)
            for asked, wait in answers:
                (near if _is_near(asked, asked + wait, when) else far).append(wait)
    return Watched(
        median(scrapes),
        min(scrapes),
        len(shown),
        len(far) + len(near),
        _p99(far + near),
        _p99(far),
        _p99(near),
        tuple(quiet),
    )


def _is_near(began: float, ended: float, scrapes: Sequence[tuple[float, float]]) -> bool:
    """Whether a poll was under way while a scrape was, or soon after."""
    return any(began <= end + NEAR_SECONDS and ended >= start for start, end in scrapes)


def _p99(waits: Sequence[float]) -> float:
    return sorted(waits)[math.ceil(len(waits) * 0.99) - 1]


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
    return Request(url, "POST", headers, body, POLLERS, seconds, POLLS_PER_SECOND)


@contextmanager
def _scraped(gateway: GatewayProcess) -> Iterator[Sequence[tuple[float, float]]]:
    """Somebody scrapes, and reads no more of it than that it came: when each began and ended."""
    is_over = threading.Event()
    when: list[tuple[float, float]] = []

    def scrape() -> None:
        with on_core(LOAD_CORE):
            pause = SCRAPE_EVERY / 2
            while not is_over.wait(pause):
                pause, began = SCRAPE_EVERY, time.perf_counter()
                with urllib.request.urlopen(f"{gateway.url}/metrics", timeout=30) as answer:
                    assert len(answer.read()) > 10_000, "nobody scraped"
                when.append((began, time.perf_counter()))

    scraping = threading.Thread(target=scrape)
    scraping.start()
    try:
        yield when
    finally:
        is_over.set()
        scraping.join()
    assert when, "nobody scraped"
