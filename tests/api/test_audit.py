"""What administration does is kept: every door that changes something leaves its act."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from gateway.api.admin.routes import DOORS
from tests.api.conftest import ADMIN

Changes = Iterator[tuple[str, str, str, dict[str, Any]]]
ELSEWHERE = {
    ("POST", "/jobs/{id}/resolve"): "needs a doubt: tests/cli/test_administration.py",
    ("POST", "/jobs/{id}/refetch"): "needs a missed video: tests/promises/test_refetch.py",
    ("POST", "/reconciliations"): "needs Venice's bill: tests/cli/test_reconcile.py",
    ("POST", "/notices/test"): "needs a receiver: tests/promises/test_notices.py",
    ("POST", "/notices/{id}/redeliver"): "the same",
    ("POST", "/ledger/repair"): "needs a damaged ledger: tests/cli/test_administration.py",
}
ADOPTED = {
    "queue_id": "11111111-2222-4333-8444-555555555555",
    "model": "wan-2.2-a14b-text-to-video",
    "user": "kept",
}


def changes() -> Changes:
    """Every change there is, in an order in which each is possible: the method, the door, the act
    it is to leave, and what to send with the names that are in the path."""
    yield "POST", "/users", "user.add", {"name": "kept"}
    yield "PATCH", "/users/{name}", "user.change", {"policy": "default"}
    yield "PATCH", "/users/{name}", "user.disable", {"disabled": True}
    yield "PATCH", "/users/{name}", "user.enable", {"disabled": False}
    yield "POST", "/keys", "key.create", {"user": "kept"}
    yield "PATCH", "/keys/{id}", "key.change", {"name": "laptop"}
    yield "POST", "/keys/{id}/rotate", "key.rotate", {}
    yield "POST", "/jobs/adopt", "job.adopt", ADOPTED
    yield "POST", "/keys/{id}/revoke", "key.revoke", {}
    grant = {"to": "user:kept", "usd": "5", "window": "day", "until": "1d", "why": "a rush"}
    yield "POST", "/grants", "grant.add", grant
    yield "POST", "/grants/{id}/revoke", "grant.revoke", {}
    yield "POST", "/videos/purge", "video.purge", {"user": "kept"}
    yield "POST", "/spending", "spending.stop", {"stopped": True, "why": "a test"}
    yield "POST", "/spending", "spending.resume", {"stopped": False, "why": "its end"}
    yield "POST", "/policies/reload", "policy.reload", {}
    yield "POST", "/admin-keys", "admin_key.create", {"name": "ops", "role": "viewer"}
    yield "POST", "/admin-keys/{name}/revoke", "admin_key.revoke", {}
    yield "POST", "/admin-keys/reset", "admin_key.reset", {}


def test_every_change_is_kept_with_who_made_it(admin: httpx.Client) -> None:
    made = {"name": "kept"}
    for method, door, act, body in changes():
        answer = admin.request(method, door.format_map(made), json=body)
        assert answer.is_success, (door, answer.text)
        (newest,) = admin.get("/audit", params={"limit": 1}).json()["audit"]
        assert (newest["by"], newest["act"]) == ("admin", act)
        if door in ("/keys", "/grants", "/admin-keys"):
            made |= {name: answer.json()[name] for name in ("id", "name") if name in answer.json()}


def test_no_door_that_changes_something_is_left_out() -> None:
    there = {
        (method, route.path.removeprefix(ADMIN))
        for route in DOORS.values()
        for method in (route.methods or set()) - {"GET", "HEAD"}
    }
    tried = {(method, door) for method, door, _, _ in changes()}
    assert tried | set(ELSEWHERE) == there


def test_a_refused_change_leaves_no_act(admin: httpx.Client) -> None:
    before = admin.get("/audit", params={"limit": 1}).json()["audit"]
    assert admin.patch("/users/nobody", json={"policy": "default"}).status_code == 404
    assert admin.get("/audit", params={"limit": 1}).json()["audit"] == before
