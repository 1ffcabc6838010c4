"""Event streams: a job is followed to its end, from where one left off; nobody waits for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.streams import STREAMS_OF_A_KEY_MAX
from tests.gateway_process import GatewayProcess, with_rules
from tests.simulator_process import SimulatorProcess

BODY = {"model": "wan-2.2-a14b-text-to-video", "prompt": "a canal", "duration": "5s"}
NEVER = {"endpoint": "queue", "outcome": {"execution_seconds": 1e6}, "times": 1}


@pytest.fixture(scope="module")
def slow_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Two seconds a video; a job that is told to takes for ever."""
    rules = with_rules()
    users = {"anna": None, "berta": None}
    with (
        SimulatorProcess(speed=60, seed=3, no_limits=True) as simulator,
        GatewayProcess(
            tmp_path_factory.mktemp("events"), simulator, policies=rules, users=users
        ) as running,
    ):
        yield running


@pytest.fixture
def client(slow_gateway: GatewayProcess) -> Iterator[httpx.Client]:
    yield from opened(slow_gateway, "anna")


def opened(gateway: GatewayProcess, user: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {gateway.keys[user]}"}
    limits = httpx.Limits(max_connections=200)
    with httpx.Client(
        base_url=gateway.url, headers=headers, trust_env=False, timeout=30, limits=limits
    ) as found:
        yield found


def buy(client: httpx.Client, gateway: GatewayProcess, *, is_endless: bool = False) -> str:
    """The door to the events of a new job."""
    gateway.simulator.faults([NEVER] if is_endless else [])
    queue_id = client.post("/api/v1/video/queue", json=BODY).json()["queue_id"]
    return f"/gateway/v1/jobs/{queue_id}/events"


def read(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The events of a stream, with their data read."""
    event: dict[str, Any] = {}
    for line in lines:
        if not line:
            if "event" in event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = json.loads(value) if name == "data" else value


def test_a_job_is_followed_to_its_end(client: httpx.Client, slow_gateway: GatewayProcess) -> None:
    door = buy(client, slow_gateway)
    with client.stream("GET", door) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        found = list(read(answer.iter_lines()))
    states = [e["data"]["state"] for e in found if e["event"] == "state"]
    assert states[0] == "processing"
    assert states[-1] == "stored"
    assert found[-1]["event"] == "end"
    assert found[-1]["data"] == {"state": "stored"}
    shares = [e["data"]["progress"] for e in found if e["event"] == "progress"]
    assert shares == sorted(shares)
    assert all(0 <= share < 1 for share in shares)
    assert all("id" in e for e in found if e["event"] == "state")
    # Whoever has seen the end is told to come no more; whoever has not is told it again.
    last_id = [e["id"] for e in found if e["event"] == "state"][-1]
    assert client.get(door, headers={"Last-Event-ID": last_id}).status_code == 204
    again = client.get(door, headers={"Last-Event-ID": "processing-1"})
    assert [e["event"] for e in read(iter(again.text.split("\n")))] == ["state", "end"]


def test_one_goes_on_where_one_left_off(client: httpx.Client, slow_gateway: GatewayProcess) -> None:
    door = buy(client, slow_gateway, is_endless=True)
    with client.stream("GET", door) as answer:
        first = next(read(answer.iter_lines()))
    assert (first["event"], first["data"]["state"]) == ("state", "processing")
    with client.stream("GET", door, headers={"Last-Event-ID": first["id"]}) as answer:
        assert next(read(answer.iter_lines()))["event"] == "progress"


def test_a_strangers_job_has_no_events(client: httpx.Client, slow_gateway: GatewayProcess) -> None:
    door = buy(client, slow_gateway)
    unknown = client.get("/gateway/v1/jobs/nobody/events")
    for stranger in opened(slow_gateway, "berta"):
        answer = stranger.get(door)
        assert (answer.status_code, answer.json()) == (unknown.status_code, unknown.json())
    assert httpx.get(slow_gateway.url + door, trust_env=False).status_code == 401


def test_a_key_holds_only_so_many_streams_and_a_closed_one_frees_its_place(
    client: httpx.Client, slow_gateway: GatewayProcess
) -> None:
    door = buy(client, slow_gateway, is_endless=True)
    streams = [
        client.send(client.build_request("GET", door), stream=True)
        for _ in range(STREAMS_OF_A_KEY_MAX)
    ]
    assert {answer.status_code for answer in streams} == {200}
    refused = client.get(door)
    assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(refused.headers["retry-after"]) > 0
    for answer in streams:
        answer.close()
    deadline = time.monotonic() + 10
    while (status := client.head(door).status_code) != 200:
        assert time.monotonic() < deadline, status
        time.sleep(0.1)


def test_a_stop_ends_the_streams_politely_and_waits_for_none(
    tmp_path: Path, client: httpx.Client, slow_gateway: GatewayProcess
) -> None:
    door = buy(client, slow_gateway, is_endless=True)
    queue_id = door.split("/")[-2]
    with client.stream("GET", door) as answer:
        found = read(answer.iter_lines())
        assert next(found)["event"] == "state"
        try:
            assert slow_gateway.terminate() < 5
        finally:
            slow_gateway.start()
        assert [e["event"] for e in found][-1] == "draining"
    held = client.post("/api/v1/video/retrieve", json={"queue_id": queue_id})
    assert held.json()["status"] == "PROCESSING"
