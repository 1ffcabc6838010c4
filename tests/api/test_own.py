"""The gateway's own doors: a user sees their own, all of it, and nobody else's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from gateway.api.own.me import budgets
from gateway.core.budget import Limit, Scope, Span, Standing
from gateway.core.money import Money
from tests.gateway_process import GatewayProcess

BODY = {"model": "wan-2.2-a14b-text-to-video", "prompt": "a gondola", "duration": "5s"}
VIDEO_SECONDS_MAX = 20.0


@pytest.fixture(scope="module")
def owner(gateway_server: GatewayProcess) -> Iterator[httpx.Client]:
    yield from opened(gateway_server, "owner")


@pytest.fixture(scope="module")
def stranger(gateway_server: GatewayProcess) -> Iterator[httpx.Client]:
    yield from opened(gateway_server, "stranger")


def opened(gateway_server: GatewayProcess, name: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {gateway_server.add_user(name)}"}
    with httpx.Client(base_url=gateway_server.url, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def job(owner: httpx.Client) -> dict[str, Any]:
    return stored(owner)


def stored(client: httpx.Client) -> dict[str, Any]:
    """A job of one's own whose video is here."""
    queue_id = client.post("/api/v1/video/queue", json=BODY).json()["queue_id"]
    deadline = time.monotonic() + VIDEO_SECONDS_MAX
    while True:
        found: dict[str, Any] = client.get(f"/gateway/v1/jobs/{queue_id}").json()
        if found["state"] == "stored":
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_me_tells_who_one_is_and_what_applies(owner: httpx.Client) -> None:
    found = owner.get("/gateway/v1/me").json()
    assert (found["user"], found["team"], found["policy"]) == ("owner", None, "default")
    assert found["in_doubt"] == []
    assert found["rules"]["rate"]["active_jobs"] == 10_000


def test_of_a_shared_pool_no_amount_is_told() -> None:
    def standing(scope: Scope, left: int) -> Standing:
        limit = Limit(scope, "x", "x", "day", Money(left))
        return Standing(limit, Span(0, 1), Money(0), Money(0), Money(0))

    own, pool = budgets([standing(Scope.USER, 7), standing(Scope.TEAM, 3)])
    assert own.get("left_usd") == "0.000007"
    assert own["is_limiting"] is False
    assert pool == {"scope": "team", "name": "x", "window": "day", "is_limiting": True}


def test_a_job_is_listed_and_shown_with_its_money(owner: httpx.Client, job: dict[str, Any]) -> None:
    assert job["settled_usd"] == job["quote_usd"]
    assert owner.get(f"/gateway/v1/jobs/{job['job']}").json() == job
    page = owner.get("/gateway/v1/jobs", params={"limit": 1}).json()
    assert {entry["kind"] for entry in job.pop("entries")} == {"reserve", "settle"}
    assert page == {"jobs": [job], "next": job["job"]}
    after = owner.get("/gateway/v1/jobs", params={"before": job["job"]}).json()
    assert after == {"jobs": [], "next": None}


def test_usage_is_what_the_jobs_cost(owner: httpx.Client, job: dict[str, Any]) -> None:
    found = owner.get("/gateway/v1/usage").json()
    assert [row["settled_usd"] for row in found["days"]] == [job["settled_usd"]]
    assert [row["model"] for row in found["models"]] == [BODY["model"]]
    later = owner.get("/gateway/v1/usage", params={"since": "2999-01-01"}).json()
    assert later["days"] == []


def test_strangers_and_unknown_ids_get_the_same_answer(
    owner: httpx.Client, stranger: httpx.Client, job: dict[str, Any]
) -> None:
    def answers(any_id: str) -> list[tuple[int, bytes]]:
        path = f"/gateway/v1/jobs/{any_id}"
        asked = [
            stranger.get(path),
            stranger.post(f"{path}/links", json={}),
            stranger.get("/gateway/v1/jobs", params={"before": any_id}),
        ]
        return [(answer.status_code, answer.content) for answer in asked]

    unknown = answers("no-such-job")
    assert [status for status, _ in unknown] == [404, 404, 404]
    assert answers(job["job"]) == answers(job["queue_id"]) == unknown
    assert stranger.get("/gateway/v1/jobs").json()["jobs"] == []
    assert stranger.get("/gateway/v1/usage").json()["days"] == []


def test_a_link_opens_the_video_without_a_key(
    owner: httpx.Client, gateway_server: GatewayProcess, job: dict[str, Any]
) -> None:
    made = owner.post(f"/gateway/v1/jobs/{job['queue_id']}/links", json={"expires_in": "1h"})
    assert made.status_code == 201
    assert made.json()["expires_at"].endswith("Z")
    video = httpx.get(made.json()["url"], trust_env=False)
    assert (video.status_code, len(video.content)) == (200, job["video_bytes"])
    forged = httpx.get(made.json()["url"][:-2] + "AA", trust_env=False)
    assert forged.status_code == 404


def test_whoever_a_link_was_shared_with_cannot_remove_the_video(
    owner: httpx.Client, job: dict[str, Any]
) -> None:
    url = owner.post(f"/gateway/v1/jobs/{job['job']}/links", json={}).json()["url"]
    refused = httpx.delete(url, trust_env=False)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert httpx.head(url, trust_env=False).status_code == 200
    assert owner.get(f"/gateway/v1/jobs/{job['job']}").json()["completed_at"] is None


def test_a_link_needs_no_body_and_a_bare_number_is_seconds(
    owner: httpx.Client, job: dict[str, Any]
) -> None:
    path = f"/gateway/v1/jobs/{job['job']}/links"
    for form, seconds in ((None, 3_600), ({"expires_in": 90}, 90)):
        made = owner.post(path, json=form)
        assert made.status_code == 201
        lasts = datetime.fromisoformat(made.json()["expires_at"]) - datetime.now(UTC)
        assert abs(lasts.total_seconds() - seconds) < 30


@pytest.mark.parametrize("expires_in", ["0s", "31d", "soon", 7.5, None])
def test_a_link_for_ever_or_for_no_time_is_refused(
    owner: httpx.Client, job: dict[str, Any], expires_in: Any
) -> None:
    path = f"/gateway/v1/jobs/{job['job']}/links"
    assert owner.post(path, json={"expires_in": expires_in}).status_code == 400


def test_refusals_are_kept_for_the_user_to_see_newest_first(
    gateway_server: GatewayProcess, stranger: httpx.Client
) -> None:
    key = gateway_server.cli("key", "create", "stranger", "--budget", "0", "--per", "day")["key"]
    headers = {"Authorization": f"Bearer {key}"}
    for _ in range(2):
        assert stranger.post("/api/v1/video/queue", json=BODY, headers=headers).status_code == 402
    page = stranger.get("/gateway/v1/refusals", params={"limit": 1}).json()
    (refusal,) = page["refusals"]
    assert (refusal["rule"], refusal["model"]) == ("key.day", BODY["model"])
    older = stranger.get("/gateway/v1/refusals", params={"before": page["next"]}).json()
    assert len(older["refusals"]) == 1


def test_a_receipt_says_what_became_of_the_money_and_not_who_of_administration_acted(
    gateway_server: GatewayProcess,
) -> None:
    headers = {"authorization": f"Bearer {gateway_server.user_key}", "x-gateway-tags": "trailer"}
    with httpx.Client(base_url=gateway_server.url, headers=headers, trust_env=False) as client:
        body = {"model": "wan-2.2-a14b-text-to-video", "prompt": "a receipt", "duration": "5s"}
        bought = client.post("/api/v1/video/queue", json=body)
        job = client.get(f"/gateway/v1/jobs/{bought.json()['queue_id']}").json()
    assert job["quote_usd"] == bought.headers["x-gateway-cost-usd"]
    assert (job["tags"], bool(job["policy_version"])) == (["trailer"], True)
    first = job["entries"][0]
    assert (first["kind"], first["reserved_usd"]) == ("reserve", job["quote_usd"])
    assert "by" not in first


def test_a_video_is_delivered_once_its_last_byte_was_asked_for_and_not_before(
    gateway_server: GatewayProcess,
) -> None:
    """A look at its size or at its beginning leaves it owed, and kept for as long as that."""
    for watcher in opened(gateway_server, "watcher"):
        job = stored(watcher)
        path = f"/gateway/v1/videos/{job['queue_id']}"
        assert watcher.head(path).status_code == 200
        assert watcher.get(path, headers={"range": "bytes=0-9"}).status_code == 206
        assert watcher.get(f"/gateway/v1/jobs/{job['job']}").json()["delivered_at"] is None
        assert watcher.get(path).status_code == 200
        deadline = time.monotonic() + VIDEO_SECONDS_MAX
        while watcher.get(f"/gateway/v1/jobs/{job['job']}").json()["delivered_at"] is None:
            assert time.monotonic() < deadline
