"""An hour at the key's full rate, in virtual time: orders come evenly, clients poll, and what they
get is compared with what they get from Venice itself with one key between them.

The stand-in knows when each video was ready; the least delay that any schedule of looks could reach
is computed beside it.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.types import ASGIApp

from gateway.app import Gateway
from gateway.core.keys import digest
from gateway.records import Key, User
from gateway.secret_files import new_key
from gateway.server import listen
from gateway.settings import load_settings
from gateway.simulator.app import PREFIX, create_app
from gateway.simulator.server import LOOPBACK, _Protocol
from gateway.simulator.settings import SimulatorSettings
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.bench import virtual_time
from tests.bench.bound import best_schedule
from tests.generous_rules import with_rules

MODEL = "wan-2.2-a14b-text-to-video"
P80_SECONDS = 115.0
"""Of that model, as the stand-in publishes it."""
ORDERS_PER_MINUTE = 40
POLL_SECONDS = 5.0
LOOKS_PER_JOB = 3.0
"""120 retrieves a minute for 40 jobs."""
USERS = 8
WARM_SHARE = 0.15
"""Of the time, at the beginning: until the pipeline is full it says nothing of the full rate."""
REORDER_SECONDS = 5.0
PATIENCE_SECONDS = 900.0
"""Then a client gives its job up: seven times as long as the video should have taken."""


@dataclass(frozen=True)
class Hour:
    """What came of it; times in seconds of the hour, rates a minute."""

    name: str
    delivered_per_minute: float
    refused: int
    """Calls that Venice answered with 429."""
    blocks: int
    found: list[float] = field(repr=False)
    """From ready to here, by the gateway's own retrieves; empty without a gateway."""
    delays: list[float] = field(repr=False)
    """From ready to delivered."""
    looks_per_job: float

    @property
    def mean(self) -> float:
        """Mean delay."""
        return fmean(self.delays) if self.delays else float("nan")

    @property
    def p95(self) -> float:
        """The delay that one in twenty exceeds."""
        return _quantile(self.delays, 0.95)

    def __str__(self) -> str:
        own = f", {fmean(self.found):.1f} s of it until it is here" if self.found else ""
        return (
            f"{self.name}: {self.delivered_per_minute:.1f} a minute, {self.refused} times 429, "
            f"{self.blocks} blocks, delay {self.mean:.1f} s{own}, p95 {self.p95:.1f} s, "
            f"{self.looks_per_job:.2f} retrieves a job"
        )


def run_hour(folder: Path, minutes: float, *, has_gateway: bool) -> Hour:
    """One of the two."""
    return virtual_time.run(_hour(folder, minutes, has_gateway=has_gateway))


async def _hour(folder: Path, minutes: float, *, has_gateway: bool) -> Hour:
    clock = virtual_time.VirtualClock()
    venice = create_app(SimulatorSettings(seed=11), clock.seconds)
    try:
        if not has_gateway:
            traffic = _Traffic(venice, ["one-key-for-all"], minutes)
            await traffic.run()
            return _judge("clients with the key itself", venice, traffic)
        async with _serving(venice) as url:
            keys = await _seed(folder / "data" / "gateway.db", url)
            async with _gateway(folder, url, clock) as gateway:
                traffic = _Traffic(gateway.asgi, keys, minutes)
                await traffic.run()
                return _judge("the gateway", venice, traffic, is_gateway=True)
    finally:
        venice.state.simulator.store.close()


@asynccontextmanager
async def _serving(venice: Starlette) -> AsyncIterator[str]:
    """The stand-in on a port, in the same time."""
    listener = listen(LOOPBACK, 0)
    config = uvicorn.Config(
        venice, http=_Protocol, ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}{PREFIX}"
    finally:
        server.should_exit = True
        await task
        listener.close()


@asynccontextmanager
async def _gateway(
    folder: Path, url: str, clock: virtual_time.VirtualClock
) -> AsyncIterator[Gateway]:
    rules = with_rules(venice={"queue_per_minute": 40, "retrieve_per_minute": 120})
    (folder / "policies").mkdir()
    (folder / "policies" / "rules.yaml").write_text(json.dumps(rules))
    environ = {
        "VENICE_API_KEY": "the-key-of-a-benchmark",
        "VGW_UPSTREAM_URL": url,
        "VGW_DATA_DIR": str(folder / "data"),
        "VGW_POLICIES": str(folder / "policies"),
    }
    settings = load_settings(environ, cwd=folder)
    key = SecretStr("the-key-of-a-benchmark")
    async with Gateway(settings, url, url, key, clock=clock) as gateway:
        yield gateway


async def _seed(database: Path, upstream: str) -> list[str]:
    """Users with a key each; the keys."""
    ledger = await SqliteLedger.open(database, upstream=upstream, now=1)
    keys = []
    try:
        for number in range(USERS):
            key_id, key = new_key()
            await ledger.add_user(User(f"user{number}", created_at=1))
            await ledger.add_key(Key(key_id, f"user{number}", digest(key), created_at=1))
            keys.append(key)
    finally:
        await ledger.close()
    return keys


def best_delay() -> float:
    """The least mean delay that the retrieves there are allow, for the same distribution."""
    return best_schedule([P80_SECONDS], LOOKS_PER_JOB).delay


class _Traffic:
    """Clients that order, poll, and keep what they got."""

    def __init__(self, app: ASGIApp, keys: list[str], minutes: float) -> None:
        self._app = app
        self._keys = keys
        self._chance = random.Random(5)
        self._orders = round(minutes * ORDERS_PER_MINUTE)
        self.delivered: dict[str, float] = {}
        self.began = self.ended = 0.0

    async def run(self) -> None:
        """Order evenly until the time is over; what is not delivered then is left."""
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            self.began = _now()
            clients = []
            for number in range(self._orders):
                clients.append(asyncio.create_task(self._client(http, number)))
                due = self.began + (number + 1) * 60 / ORDERS_PER_MINUTE
                await asyncio.sleep(max(0.0, due - _now()))
            self.ended = _now()
            for task in clients:
                task.cancel()
            await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self, http: httpx.AsyncClient, number: int) -> None:
        headers = {"Authorization": f"Bearer {self._keys[number % len(self._keys)]}"}
        order = {"model": MODEL, "prompt": f"boat {number}", "duration": "5s"}
        while True:
            answer = await http.post(f"{PREFIX}/video/queue", json=order, headers=headers)
            if answer.status_code == 200:
                break
            await asyncio.sleep(REORDER_SECONDS)
        body = {"model": MODEL, "queue_id": answer.json()["queue_id"]}
        end = _now() + PATIENCE_SECONDS
        await asyncio.sleep(random.random() * POLL_SECONDS)
        while _now() < end:
            asked = _now()
            answer = await http.post(f"{PREFIX}/video/retrieve", json=body, headers=headers)
            if answer.headers.get("content-type") == "video/mp4":
                self.delivered[body["queue_id"]] = _now()
                return
            await asyncio.sleep(max(0.0, asked + POLL_SECONDS - _now()))


def _now() -> float:
    """Unix seconds, in virtual time."""
    return virtual_time.VirtualClock().seconds()


def _judge(name: str, venice: Starlette, traffic: _Traffic, *, is_gateway: bool = False) -> Hour:
    truth = venice.state.simulator.truth.report(0, _now())
    jobs = {job["queue_id"]: job for job in truth["jobs"]}
    warm = traffic.began + (traffic.ended - traffic.began) * WARM_SHARE
    counted = {q: at for q, at in traffic.delivered.items() if at >= warm}
    minutes = (traffic.ended - warm) / 60
    return Hour(
        name,
        len(counted) / minutes,
        sum(call["status"] == 429 for call in truth["calls"]),
        len(truth["blocks"]),
        _found(truth, jobs, counted) if is_gateway else [],
        [(at - jobs[q]["ready_at"]) for q, at in counted.items()],
        fmean(jobs[q]["retrieves"] for q in counted) if counted else float("nan"),
    )


def _found(truth: dict[str, Any], jobs: dict[str, Any], counted: dict[str, float]) -> list[float]:
    """From ready to the retrieve that brought it: the part that the schedule decides."""
    last = {call["queue_id"]: call["at"] for call in truth["calls"] if call["queue_id"] in counted}
    return [(last[q] - jobs[q]["ready_at"]) for q in counted]


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * len(values))] if values else float("nan")
