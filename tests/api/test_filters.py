"""Lists of administration, filtered: each filter lets through what it names and nothing else, also
where the list is read a page at a time.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.core.keys import parse
from gateway.moments import rfc3339
from tests.api.test_lists import a_key, added, all_pages
from tests.api.test_purge import BODY, SECONDS_MAX, stored
from tests.gateway_process import GatewayProcess

MODELS = ("wan-2.2-a14b-text-to-video", "longcat-text-to-video")


def days_ago(count: float) -> str:
    at = datetime.now(UTC) - timedelta(days=count)
    return rfc3339(int(at.timestamp()) * 1000)


def a_job(admin: httpx.Client, user: str, key: str, model: str, at: str) -> str:
    """A job that was bought elsewhere."""
    form = {"queue_id": str(uuid4()), "model": model, "user": user, "key": key}
    answer = admin.post("/jobs/adopt", json={**form, "price_usd": "0.10", "created_at": at})
    assert answer.status_code == 201, answer.text
    job: str = answer.json()["job"]
    return job


@pytest.fixture
def sifted(admin: httpx.Client) -> tuple[list[str], list[str], str]:
    """A user's two keys, the jobs of each model by each key, and their user."""
    user = f"sifted{uuid4().hex[:8]}"
    added(admin, user)
    keys = [a_key(admin, user) for _ in range(2)]
    jobs = [
        a_job(admin, user, key, model, days_ago(day))
        for day, (key, model) in enumerate((k, m) for k in keys for m in MODELS)
    ]
    return keys, jobs, user


def test_jobs_are_filtered_by_what_their_rows_name(
    admin: httpx.Client, sifted: tuple[list[str], list[str], str]
) -> None:
    (first_key, _), jobs, user = sifted

    def found(**query: Any) -> set[str]:
        rows = all_pages_back(admin, "/jobs", "jobs", limit=1, **query)
        return {row["job"] for row in rows} & set(jobs)

    assert found(user=user) == set(jobs)
    assert found(key=first_key) == {jobs[0], jobs[1]}
    assert found(key=first_key, user=user, model=MODELS[1]) == {jobs[1]}
    assert found(user=user, model=MODELS[0]) == {jobs[0], jobs[2]}
    assert found(user=user, since=days_ago(2.5), until=days_ago(0.5)) == {jobs[1], jobs[2]}
    assert found(since=days_ago(0.5)) == {jobs[0]}
    assert found(until=days_ago(2.5)) == {jobs[3]}
    assert found(team="nobodys") == found(model="no-model") == set()
    assert found(key=first_key, user="anna") == set()
    assert admin.get("/jobs", params={"key": "nobodys"}).status_code == 404


def test_jobs_by_a_key_are_also_those_of_the_keys_before_it(
    admin: httpx.Client, sifted: tuple[list[str], list[str], str]
) -> None:
    (first_key, _), jobs, _ = sifted
    rotated = admin.post(f"/keys/{first_key}/rotate", json={}).json()["id"]
    rows = all_pages_back(admin, "/jobs", "jobs", key=rotated)
    assert [row["job"] for row in rows] == [jobs[1], jobs[0]]


def test_videos_are_filtered_as_jobs_are_and_by_whether_anybody_has_them(
    gateway_server: GatewayProcess, admin: httpx.Client
) -> None:
    users = [f"{name}{uuid4().hex[:8]}" for name in ("kept", "fetched")]
    kept, fetched = jobs = [stored(gateway_server, admin, user) for user in users]
    delivered(gateway_server, admin, users[1], fetched)
    key = parse(gateway_server.keys[users[0]])
    assert key is not None

    def found(*options: str, **query: Any) -> set[str]:
        """By the door and by the command, which know the same names."""
        rows = all_pages_back(admin, "/videos", "videos", limit=1, **query)
        words = [word for name, value in query.items() for word in (f"--{name}", value)]
        assert gateway_server.cli("video", "list", *(options or words)) == rows
        return {row["job"] for row in rows}

    assert found() == found(model=BODY["model"]) == found(since=days_ago(1)) == set(jobs)
    assert found(user=users[0]) == found(key=key.id) == {kept}
    assert found(user=users[0], key=key.id, until=days_ago(-1)) == {kept}
    assert found("--delivered", delivered="true") == {fetched}
    assert found("--undelivered", delivered="false") == {kept}
    assert found("--no-suspicious", suspicious="false") == set(jobs)
    assert found("--suspicious", suspicious="true") == found(team="nobodys") == set()
    assert found(until=days_ago(1)) == found(model="no-model") == set()
    assert len(gateway_server.cli("video", "list", "--limit", "1")) == 1
    assert admin.get("/videos", params={"key": "nobodys"}).status_code == 404


def delivered(gateway: GatewayProcess, admin: httpx.Client, user: str, job: str) -> None:
    """Fetch a user's video, until it is known that they have it."""
    headers = {"Authorization": f"Bearer {gateway.keys[user]}"}
    url = f"{gateway.url}/gateway/v1/videos/{job}"
    assert httpx.get(url, headers=headers, trust_env=False).status_code == 200
    deadline = time.monotonic() + SECONDS_MAX
    while admin.get(f"/jobs/{job}").json()["delivered_at"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_acts_are_filtered_by_who_did_what_to_whom_and_when(admin: httpx.Client) -> None:
    name = f"acted{uuid4().hex[:8]}"
    added(admin, name)
    for is_disabled in (True, False):
        admin.patch(f"/users/{name}", json={"disabled": is_disabled})

    def acts(**query: Any) -> list[str]:
        return [row["act"] for row in all_pages_back(admin, "/audit", "audit", **query)]

    assert acts(target=name, limit=1) == ["user.enable", "user.disable", "user.add"]
    assert acts(target=name, act="user.disable", by="admin") == ["user.disable"]
    assert acts(target=name, by="nobody") == []
    assert acts(target=name, since=days_ago(1), until=days_ago(-1)) == acts(target=name)
    assert acts(target=name, until=days_ago(1)) == []


def all_pages_back(admin: httpx.Client, path: str, name: str, **query: Any) -> list[Any]:
    """Every page of a list whose newest comes first."""
    rows: list[Any] = []
    while True:
        page = admin.get(path, params=query).json()
        rows += page[name]
        if page["next"] is None:
            return rows
        query["before"] = page["next"]


def test_entries_are_filtered_by_job_and_kind(
    admin: httpx.Client, sifted: tuple[list[str], list[str], str]
) -> None:
    _, (job, *_), _ = sifted
    shown = admin.get(f"/jobs/{job}").json()
    rows = all_pages(admin, "/ledger/entries", "entries", job=job, limit=1)
    assert rows == shown["entries"]
    assert all_pages(admin, "/ledger/entries", "entries", job=shown["queue_id"]) == rows
    kinds = {row["kind"] for row in rows}
    assert len(kinds) == len(rows)
    for kind in kinds:
        (row,) = all_pages(admin, "/ledger/entries", "entries", job=job, kind=kind)
        assert row["kind"] == kind
    everything = all_pages(admin, "/ledger/entries", "entries", kind="settle", limit=2)
    assert {row["kind"] for row in everything} == {"settle"}
    assert admin.get("/ledger/entries", params={"job": "nobodys"}).status_code == 404


def test_teams_and_admin_keys_are_filtered_and_come_a_page_at_a_time(admin: httpx.Client) -> None:
    name = f"ops{uuid4().hex[:8]}"
    for number, role in enumerate(("viewer", "admin")):
        form = {"name": f"{name}{number}", "role": role}
        assert admin.post("/admin-keys", json=form).status_code == 201
    admin.post(f"/admin-keys/{name}1/revoke", json={})

    def named(**query: Any) -> list[str]:
        rows = all_pages(admin, "/admin-keys", "admin_keys", limit=1, **query)
        return [row["name"] for row in rows if row["name"].startswith(name)]

    assert named() == [f"{name}0", f"{name}1"]
    assert named(role="viewer") == named(revoked="false") == [f"{name}0"]
    assert all_pages(admin, "/teams", "teams", policy="nobodys") == []


def test_a_filter_stays_on_the_way_to_the_next_page_of_csv(
    admin: httpx.Client, sifted: tuple[list[str], list[str], str]
) -> None:
    _, _, user = sifted
    query: dict[str, str | int] = {"user": user, "model": MODELS[0], "limit": 1, "format": "csv"}
    link = admin.get("/jobs", params=query).headers["link"]
    assert f"model={MODELS[0]}" in link
    assert f"user={user}" in link
