"""Lists of administration: filtered, a page at a time, as CSV; and changes that lose no other's."""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest

from gateway.api import answers
from gateway.api.admin.reconciliations import RunHead
from gateway.api.listing import _cell

LISTS = {
    "users": ("users", answers.UserAnswer),
    "keys": ("keys", answers.KeyAnswer),
    "grants": ("grants", answers.GrantAnswer),
    "jobs": ("jobs", answers.JobAnswer),
    "videos": ("videos", answers.VideoAnswer),
    "audit": ("audit", answers.AuditAnswer),
    "notices": ("notices", answers.DeliveryAnswer),
    "ledger/entries": ("entries", answers.EntryAnswer),
    "reconciliations": ("runs", RunHead),
    "teams": ("teams", answers.TeamAnswer),
    "admin-keys": ("admin_keys", answers.AdminKeyAnswer),
}


def added(admin: httpx.Client, *names: str, **fields: Any) -> None:
    for name in names:
        assert admin.post("/users", json={"name": name, **fields}).status_code == 201


def a_key(admin: httpx.Client, user: str, **fields: Any) -> str:
    key_id: str = admin.post("/keys", json={"user": user, **fields}).json()["id"]
    return key_id


def all_pages(admin: httpx.Client, path: str, name: str, **query: Any) -> list[Any]:
    rows: list[Any] = []
    while True:
        page = admin.get(path, params=query).json()
        rows += page[name]
        if page["next"] is None:
            return rows
        query["after"] = page["next"]


def paged(admin: httpx.Client, **query: Any) -> list[str]:
    """The users of the test below, among those of other tests of the same gateway."""
    found = [user["name"] for user in all_pages(admin, "/users", "users", **query)]
    return [name for name in found if name.startswith("paged")]


def test_users_are_filtered_and_come_a_page_at_a_time(admin: httpx.Client) -> None:
    names = [f"paged{number}" for number in range(5)]
    added(admin, *names, policy="default")
    admin.patch("/users/paged3", json={"disabled": True})
    ours = partial(paged, admin, policy="default")
    assert ours(limit=2) == names
    assert ours(disabled="true") == ["paged3"]
    assert ours(disabled="false") == [name for name in names if name != "paged3"]
    assert paged(admin, policy="another") == []
    assert admin.get("/users", params={"team": "nobodys"}).status_code == 404


def test_keys_and_grants_are_filtered(admin: httpx.Client) -> None:
    added(admin, "filtered")
    keys = [a_key(admin, "filtered", service=number == 1) for number in range(3)]
    admin.post(f"/keys/{keys[0]}/revoke", json={})
    found = all_pages(admin, "/keys", "keys", user="filtered", limit=1)
    assert sorted(key["id"] for key in found) == sorted(keys)
    [revoked] = all_pages(admin, "/keys", "keys", user="filtered", revoked="true")
    [service] = all_pages(admin, "/keys", "keys", user="filtered", service="true")
    assert (revoked["id"], service["id"]) == (keys[0], keys[1])
    form = {"to": "user:filtered", "usd": "1", "window": "day", "until": "1d", "why": "a test"}
    first, second = (admin.post("/grants", json=form).json()["id"] for _ in range(2))
    admin.post(f"/grants/{first}/revoke", json={})
    active = all_pages(admin, "/grants", "grants", to="user:filtered", active="true")
    assert [grant["id"] for grant in active] == [second]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/users", {"after": "nobody"}),
        ("/keys", {"after": ""}),
        ("/users", {"limit": "0"}),
        ("/audit", {"before": str(2**63)}),
        ("/notices", {"before": "9" * 30}),
        ("/ledger/entries", {"after": str(2**64)}),
        ("/reconciliations", {"before": str(2**63)}),
        ("/users", {"disabled": "perhaps"}),
        ("/jobs", {"format": "xml"}),
        ("/grants", {"colour": "red"}),
        ("/jobs", {"since": "yesterday"}),
        ("/audit", {"since": "2026-11-02", "until": "2026-11-01"}),
        ("/videos", {"since": "2026-11-02", "until": "2026-11-01"}),
        ("/videos", {"delivered": "perhaps"}),
        ("/videos", {"state": "stored"}),
        ("/ledger/entries", {"kind": "gift"}),
        ("/admin-keys", {"role": "owner"}),
    ],
)
def test_a_question_with_a_mistake_is_refused(
    admin: httpx.Client, path: str, query: dict[str, str]
) -> None:
    assert admin.get(path, params=query).status_code == 400


@pytest.mark.parametrize("path", LISTS)
def test_every_list_is_there_as_csv_with_the_same_rows_and_its_columns(
    admin: httpx.Client, path: str
) -> None:
    name, answer = LISTS[path]
    rows = admin.get(f"/{path}", params={"limit": 5}).json()[name]
    by_header = admin.get(f"/{path}", params={"limit": 5}, headers={"accept": "text/csv"})
    assert by_header.headers["content-type"] == "text/csv; charset=utf-8"
    assert by_header.headers["vary"] == "Accept"
    table = list(csv.reader(io.StringIO(by_header.text)))
    assert table[0] == list(answer.__annotations__)
    assert len(table) == len(rows) + 1
    by_query = admin.get(f"/{path}", params={"limit": 5, "format": "csv"})
    assert by_query.headers["content-type"] == by_header.headers["content-type"]
    assert "next" in admin.get(f"/{path}", headers={"accept": "application/json, text/csv"}).json()


def test_a_page_of_csv_says_in_its_head_how_to_go_on(admin: httpx.Client) -> None:
    added(admin, "linked1", "linked2")
    first = admin.get("/users", params={"format": "csv", "limit": 1})
    url = first.headers["link"].removeprefix("<").partition(">")[0]
    second = admin.get(f"/users{url}")
    assert second.status_code == 200
    assert second.text.splitlines()[0] == first.text.splitlines()[0]
    assert second.text.splitlines()[1] != first.text.splitlines()[1]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "true"),
        ("-0.085000", "-0.085000"),
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3", "'-2+3"),
        (["a", "b"], "a b"),
        ({"to": "x"}, '{"to": "x"}'),
        (7, "7"),
    ],
)
def test_a_cell_is_text_and_no_formula(value: object, cell: str) -> None:
    assert _cell(value) == cell


def test_a_change_for_another_state_of_a_thing_is_refused(admin: httpx.Client) -> None:
    added(admin, "tagged")
    for path, change in (
        ("/users/tagged", {"email": "a@example.org"}),
        (f"/keys/{a_key(admin, 'tagged')}", {"tags": ["x"]}),
    ):
        seen = admin.get(path).headers["etag"]
        mine = admin.patch(path, json=change, headers={"if-match": seen})
        assert mine.status_code == 200
        late = admin.patch(path, json=change, headers={"if-match": seen})
        assert (late.status_code, late.json()["code"]) == (412, "PRECONDITION_FAILED")
        now = mine.headers["etag"]
        assert admin.get(path).headers["etag"] == now != seen
        assert admin.patch(path, json={}, headers={"if-match": f'"x", {now}'}).status_code == 200
        assert admin.patch(path, json={}, headers={"if-match": "*"}).status_code == 200


def test_of_many_who_saw_the_same_state_one_changes_it(admin: httpx.Client) -> None:
    added(admin, "raced")
    seen = {"if-match": admin.get("/users/raced").headers["etag"]}

    def change(number: int) -> int:
        form = {"email": f"a{number}@example.org"}
        return admin.patch("/users/raced", json=form, headers=seen).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(change, range(16)))
    assert statuses == [200] + [412] * 15


def test_a_keys_settings_change_but_not_its_user_its_budget_or_its_end(
    admin: httpx.Client,
) -> None:
    added(admin, "changed")
    key = a_key(admin, "changed", tags=["a"], expires="1d")
    form = {"name": "robot", "models": ["wan-*"], "tags": [], "expires": None, "delivery": "json"}
    now = admin.patch(f"/keys/{key}", json=form).json()
    assert (now["name"], now["models"], now["tags"]) == ("robot", ["wan-*"], [])
    assert (now["expires_at"], now["delivery"]) == (None, "json")
    for wrong in (
        {"user": "anna"},
        {"budget": None},
        {"delivery": None},
        {"expires": "2001-01-01"},
    ):
        assert admin.patch(f"/keys/{key}", json=wrong).status_code == 400
    admin.post(f"/keys/{key}/revoke", json={})
    assert admin.patch(f"/keys/{key}", json={"tags": ["b"]}).status_code == 409
