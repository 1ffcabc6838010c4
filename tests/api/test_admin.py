"""The doors of administration: who may open them, and that what they do counts at once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.api.routes import DOORS, OPEN_DOORS
from gateway.app.offline import open_administration
from gateway.settings import load_settings
from tests.api.conftest import ADMIN
from tests.gateway_process import ORGANIZATION_KEY, GatewayProcess

WITHOUT_A_KEY = {*OPEN_DOORS, "media", "openapi"}
"""Probes, links that are their own key, and the description of the doors."""
BODY = {"model": "wan-2.2-a14b-text-to-video", "prompt": "a gondola", "duration": "5s"}


@pytest.fixture
def client(gateway_server: GatewayProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway_server.url, trust_env=False) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def added(admin: httpx.Client, name: str, **key: Any) -> dict[str, Any]:
    """A user with a fresh key."""
    assert admin.post("/users", json={"name": name}).status_code == 201
    answer = admin.post("/keys", json={"user": name, **key})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def me(client: httpx.Client, key: str) -> int:
    return client.get("/gateway/v1/me", headers=bearer(key)).status_code


METHODS = [
    (name, method, route.path)
    for name, route in DOORS.items()
    for method in sorted(route.methods or ())
]


@pytest.mark.parametrize(("name", "method", "path"), METHODS)
def test_every_door_but_an_explicit_few_is_shut_without_a_key(
    client: httpx.Client, name: str, method: str, path: str
) -> None:
    for parameter in ("id", "name", "token"):
        path = path.replace(f"{{{parameter}}}", "some-id")
    status = client.request(method, path).status_code
    assert (status == 401) == (name not in WITHOUT_A_KEY)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["", "/", "/users", "/nothing", "/users/../keys", "/%2e%2e"])
def test_nothing_under_admin_answers_anything_but_401_without_the_admin_key(
    client: httpx.Client, gateway_server: GatewayProcess, method: str, path: str
) -> None:
    assert client.request(method, ADMIN + path).status_code == 401
    with_user_key = client.request(method, ADMIN + path, headers=bearer(gateway_server.user_key))
    assert with_user_key.status_code == 401


@pytest.mark.parametrize(
    ("name", "method", "path"), [door for door in METHODS if not door[2].startswith(ADMIN)]
)
def test_the_admin_key_opens_no_door_of_a_user(
    admin: httpx.Client, client: httpx.Client, name: str, method: str, path: str
) -> None:
    if name not in WITHOUT_A_KEY:
        headers = {"Authorization": admin.headers["Authorization"]}
        assert client.request(method, path, headers=headers).status_code == 401


def test_a_revoked_key_is_refused_on_its_next_request(
    admin: httpx.Client, client: httpx.Client
) -> None:
    made = added(admin, "revoked")
    assert me(client, made["key"]) == 200
    assert admin.post(f"/keys/{made['id']}/revoke", json={}).json()["revoked_at"]
    assert me(client, made["key"]) == 401


def test_a_disabled_user_is_refused_until_enabled_again(
    admin: httpx.Client, client: httpx.Client
) -> None:
    key = added(admin, "disabled")["key"]
    admin.patch("/users/disabled", json={"disabled": True})
    assert me(client, key) == 401
    admin.patch("/users/disabled", json={"disabled": False})
    assert me(client, key) == 200


def test_a_rotated_key_has_the_same_settings_and_the_old_one_ends_after_the_overlap(
    admin: httpx.Client, client: httpx.Client
) -> None:
    old = added(admin, "rotated", tags=["ci"], budget={"usd": "3", "window": "day"})
    new = admin.post(f"/keys/{old['id']}/rotate", json={}).json()
    assert me(client, old["key"]) == me(client, new["key"]) == 200
    last = admin.post(f"/keys/{new['id']}/rotate", json={"overlap": "0s"}).json()
    assert me(client, new["key"]) == 401
    shown = admin.get(f"/keys/{last['id']}").json()
    assert (shown["tags"], shown["budget_usd"]) == (["ci"], "3.000000")
    assert (shown["counts_as"], shown["expires_at"]) == (old["id"], None)
    refused = admin.post(f"/keys/{old['id']}/rotate", json={})
    assert (refused.status_code, last["id"] in refused.json()["detail"]) == (409, True)
    assert admin.post(f"/keys/{new['id']}/rotate", json={}).status_code == 409


def test_a_rotated_key_goes_on_in_the_windows_of_the_old_one(
    admin: httpx.Client, client: httpx.Client
) -> None:
    price = "0.1025"
    old = added(admin, "thrifty", budget={"usd": price, "window": "total"})

    def order(key: str, prompt: str) -> int:
        body = {**BODY, "prompt": prompt}
        return client.post("/api/v1/video/queue", json=body, headers=bearer(key)).status_code

    assert order(old["key"], "first") == 200
    new = admin.post(f"/keys/{old['id']}/rotate", json={}).json()
    assert [order(key, "second") for key in (new["key"], old["key"])] == [402, 402]
    windows = client.get("/gateway/v1/me", headers=bearer(new["key"])).json()["budgets"]
    (window,) = [window for window in windows if window["scope"] == "key"]
    assert Decimal(window["spent_usd"]) + Decimal(window["reserved_usd"]) == Decimal(price)
    assert window["name"] == new["id"]

    form = {"usd": price, "window": "total", "until": "1d", "why": "one more"}
    grant = admin.post("/grants", json={"to": f"key:{new['id']}", **form}).json()
    assert grant["to"] == f"key:{old['id']}"
    assert [order(key, "third") for key in (new["key"], old["key"])] == [200, 402]
    rows = admin.get("/usage", params={"by": "key"}).json()["usage"]
    assert [row["jobs"] for row in rows if row["key"] in (old["id"], new["id"])] == [2]


def test_a_lost_answer_is_found_again_with_the_key_that_followed(
    gateway_server: GatewayProcess, admin: httpx.Client, client: httpx.Client
) -> None:
    simulator, old = gateway_server.simulator, added(admin, "twin")
    body = {**BODY, "prompt": "lost, then rotated"}

    def order(key: str) -> httpx.Response:
        return client.post("/api/v1/video/queue", json=body, headers=bearer(key))

    simulator.faults([{"endpoint": "queue", "before": "answer", "action": {"drop": True}}])
    try:
        lost = order(old["key"])
    finally:
        simulator.faults([])
    new = admin.post(f"/keys/{old['id']}/rotate", json={}).json()
    again = order(new["key"])
    assert (lost.status_code, again.status_code) == (409, 409)
    assert again.json()["job"] == lost.json()["job"]


def test_a_key_made_for_a_time_is_followed_by_one_for_as_long(admin: httpx.Client) -> None:
    old = added(admin, "lasting", expires="30d")
    new = admin.post(f"/keys/{old['id']}/rotate", json={"overlap": "1h"}).json()
    ends = [admin.get(f"/keys/{key['id']}").json()["expires_at"] for key in (old, new)]
    until = [datetime.fromisoformat(end) - datetime.now(UTC) for end in ends]
    assert timedelta(minutes=59) < until[0] <= timedelta(hours=1)
    assert timedelta(days=29, hours=23) < until[1] <= timedelta(days=30)


def test_a_grant_raises_a_limit_until_it_is_revoked(
    admin: httpx.Client, client: httpx.Client
) -> None:
    made = added(admin, "granted", budget={"usd": "0.000001", "window": "day"})

    def order() -> int:
        headers = bearer(made["key"])
        return client.post("/api/v1/video/queue", json=BODY, headers=headers).status_code

    assert order() == 402
    form = {"to": f"key:{made['id']}", "usd": "5", "window": "day", "until": "1d", "why": "a rush"}
    grant = admin.post("/grants", json=form).json()
    assert order() == 200
    assert admin.post(f"/grants/{grant['id']}/revoke", json={}).status_code == 200
    assert order() == 402


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/users", {"name": "x", "role": "admin"}),
        ("/users", {"name": "../x"}),
        ("/users", {"name": 7}),
        ("/users", {"name": "x", "email": "nowhere"}),
        ("/keys", {"user": "anna", "budget": {"usd": -1, "window": "day"}}),
        ("/keys", {"user": "anna", "budget": {"usd": 1, "window": "fortnight"}}),
        ("/keys", {"user": "anna", "expires": "2001-01-01"}),
        ("/keys", {"user": "anna", "tags": ["NOT A TAG"]}),
        ("/keys", {"user": "anna", "digest": "0" * 64}),
        ("/grants", {"to": "anna", "usd": 1, "window": "day", "until": "1d", "why": "x"}),
        ("/grants", {"to": "user:anna", "usd": 0, "window": "day", "until": "1d", "why": "x"}),
        ("/grants", {"to": "user:anna", "usd": 1, "window": "day", "until": "1d", "why": " "}),
    ],
)
def test_a_form_with_a_mistake_is_refused_and_the_field_named(
    admin: httpx.Client, path: str, form: dict[str, Any]
) -> None:
    answer = admin.post(path, json=form)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["issues"][0]["path"]


def test_names_nobody_knows_are_404_and_taken_ones_409(admin: httpx.Client) -> None:
    assert admin.get("/users/nobody").status_code == 404
    assert admin.post("/keys", json={"user": "nobody"}).status_code == 404
    assert admin.post("/users", json={"name": "anna"}).status_code == 409
    refused = admin.post("/users", json={"name": "y", "policy": "stduio"})
    assert refused.status_code == 404
    assert "default" in refused.json()["detail"]


def test_a_bad_policy_is_refused_at_reload_and_the_old_rules_stand(
    admin: httpx.Client, gateway_server: GatewayProcess
) -> None:
    path = gateway_server.folder / "policies" / "rules.yaml"
    good, before = path.read_text(), admin.get("/policies").json()["version"]
    try:
        path.write_text("version: 2\n")
        refused = admin.post("/policies/reload", json={})
        assert refused.status_code == 409
        assert "rules.yaml:1" in refused.json()["detail"]
        assert admin.get("/policies").json()["version"] == before
    finally:
        path.write_text(good)
    assert admin.post("/policies/reload", json={}).json()["version"] == before


def test_every_act_is_kept_with_who_did_it_and_no_secret(
    admin: httpx.Client, gateway_server: GatewayProcess
) -> None:
    made = added(admin, "audited")
    listed = admin.get("/keys", params={"user": "audited"})
    assert [key["id"] for key in listed.json()["keys"]] == [made["id"]]
    assert made["key"] not in listed.text
    admin.patch("/users/audited", json={"policy": "default"})
    admin.post(f"/keys/{made['id']}/revoke", json={})
    database = sqlite3.connect(f"file:{gateway_server.data_dir / 'gateway.db'}?mode=ro", uri=True)
    rows = database.execute(
        "SELECT actor, act, target, detail FROM audit WHERE target IN ('audited', ?)", (made["id"],)
    ).fetchall()
    database.close()
    acts = ["user.add", "key.create", "user.change", "key.revoke"]
    assert [(row[0], row[1]) for row in rows] == [("admin", act) for act in acts]
    assert made["key"] not in str(rows)


RESOURCES = (
    "teams", "users", "keys", "grants", "jobs", "ledger", "usage", "videos", "policies",
    "reconciliations", "audit", "upstream",
)  # fmt: skip
"""What is under `/gateway/v1/admin`, as clients of administration know it."""


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_resource_of_administration_has_a_door_by_its_name(
    admin: httpx.Client, resource: str
) -> None:
    answer = admin.get(f"/{resource}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


def test_the_ledger_in_sums_equals_its_rows(admin: httpx.Client, client: httpx.Client) -> None:
    made = added(admin, "summed")
    ordered = client.post("/api/v1/video/queue", json=BODY, headers=bearer(made["key"]))
    assert ordered.status_code == 200
    rows = admin.get("/usage", params={"by": "day"}).json()["usage"]
    sums = admin.get("/ledger").json()
    held = sum(Decimal(row[a]) for row in rows for a in ("settled_usd", "reserved_usd"))
    assert Decimal(sums["settled_usd"]) + Decimal(sums["reserved_usd"]) == held > 0
    assert sum(sums["jobs"].values()) == sum(row["jobs"] for row in rows)


def test_the_way_to_venice_is_shown_with_what_each_call_leaves_and_without_the_key(
    admin: httpx.Client, client: httpx.Client
) -> None:
    made = added(admin, "traveller")
    body = {**BODY, "prompt": "a gondola that travels"}
    ordered = client.post("/api/v1/video/queue", json=body, headers=bearer(made["key"]))
    assert ordered.status_code == 200
    answer = admin.get("/upstream")
    shown = answer.json()
    orders = shown["calls"]["queue"]
    assert orders["left"] < orders["allowed_per_minute"] == orders["per_minute"] * 95 // 100
    assert 0 < shown["failures"]["left"] <= shown["failures"]["allowed_per_30s"]
    assert (shown["blocked"], shown["breakers_open"]) == (False, [])
    assert ORGANIZATION_KEY not in answer.text


def test_where_no_gateway_runs_nobody_knows_how_the_way_to_venice_stands(tmp_path: Path) -> None:
    settings = load_settings({"VGW_ADMIN_KEY": "an-admin-key"}, serves=False, cwd=tmp_path)

    async def asked() -> httpx.Response:
        async with open_administration(settings) as doors:
            way = httpx.ASGITransport(doors)
            async with httpx.AsyncClient(transport=way, base_url="http://here") as client:
                return await client.get(f"{ADMIN}/upstream", headers=bearer("an-admin-key"))

    assert asyncio.run(asked()).status_code == 409
