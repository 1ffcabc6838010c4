"""What the log of a running gateway says of a request: whose it was, and which job came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.gateway_process import GatewayProcess

BODY = {"model": "wan-2.2-a14b-text-to-video", "prompt": "CANARY-prompt", "duration": "5s"}
SECONDS_MAX = 20.0


def until(gateway: GatewayProcess, is_there: Callable[[list[Any]], bool]) -> list[Any]:
    """The events of the log once they are as they must come to be."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        lines = [line for line in gateway.log().splitlines() if line.startswith("{")]
        events = [json.loads(line) for line in lines]
        if is_there(events):
            return events
        assert time.monotonic() < deadline, events[-5:]
        time.sleep(0.05)


def test_what_came_of_a_request_is_found_by_its_id_and_then_by_its_job(
    gateway_server: GatewayProcess, admin: httpx.Client
) -> None:
    mine = {"Authorization": f"Bearer {gateway_server.add_user('logged')}"}
    with httpx.Client(base_url=gateway_server.url, trust_env=False) as client:
        # On one connection: what was known of one request is not taken over into the next.
        ordered = client.post("/api/v1/video/queue", json=BODY, headers=mine)
        nobodys = client.get("/gateway/v1/me")
        shown = admin.get("/users/logged")
    job = ordered.headers["x-gateway-job"]

    def is_done(events: list[Any]) -> bool:
        return any(e.get("job") == job and e.get("state") == "stored" for e in events)

    events = until(gateway_server, is_done)

    def of(answer: httpx.Response) -> dict[str, Any]:
        found = [e for e in events if e.get("request") == answer.headers["x-request-id"]]
        return {e["event"]: e for e in found}

    order = of(ordered)
    assert {"reservation.held", "job.moved", "request"} <= order.keys()
    for event in order.values():
        assert (event["job"], event["user"], event["team"]) == (job, "logged", None)
    assert of(nobodys)["request"].keys().isdisjoint({"user", "team", "job"})
    assert of(shown)["request"]["administrator"] == "admin"
    later = [e for e in events if e.get("job") == job and "request" not in e]
    assert {e["state"] for e in later if e["event"] == "job.moved"} == {"fetching", "stored"}
    assert {e["user"] for e in later} == {"logged"}
    assert "CANARY" not in gateway_server.log()
