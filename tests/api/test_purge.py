"""Stored videos removed by an administrator: by owner, by age, by id, and by nothing else."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.gateway_process import GatewayProcess

BODY = {"model": "wan-2.2-a14b-text-to-video", "prompt": "a gondola", "duration": "5s"}
SECONDS_MAX = 20.0


def stored(gateway: GatewayProcess, admin: httpx.Client, user: str) -> str:
    """The id of a user's job whose video is here."""
    headers = {"Authorization": f"Bearer {gateway.add_user(user)}"}
    answer = httpx.post(
        f"{gateway.url}/api/v1/video/queue", json=BODY, headers=headers, trust_env=False
    )
    job = answer.headers["x-gateway-job"]
    deadline = time.monotonic() + SECONDS_MAX
    while state(admin, job) != "stored":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


def state(admin: httpx.Client, job: str) -> str:
    found: str = admin.get(f"/jobs/{job}").json()["state"]
    return found


def test_videos_go_by_owner_and_by_age_and_all_others_stay(
    gateway_server: GatewayProcess, admin: httpx.Client
) -> None:
    ours, theirs = (stored(gateway_server, admin, user) for user in ("maria", "nina"))

    def purge(**which: Any) -> list[str]:
        answer = admin.post("/videos/purge", json=which)
        assert answer.status_code == 200, answer.text
        gone: list[str] = answer.json()["jobs"]
        return gone

    assert purge(user="maria", older_than="1d") == []
    assert set(purge(older_than="0s", dry_run=True)) == {ours, theirs}
    assert [state(admin, job) for job in (ours, theirs)] == ["stored", "stored"]
    assert purge(user="maria", older_than="0s") == [ours]
    assert purge(ids=[theirs], user="maria") == []
    assert [state(admin, job) for job in (ours, theirs)] == ["purged", "stored"]
    assert purge(ids=[theirs]) == [theirs]
    again = admin.post("/videos/purge", json={"ids": [theirs]})
    assert (again.status_code, "purged" in again.json()["detail"]) == (409, True)


@pytest.mark.parametrize("form", [None, {}, {"older_than": 30}, {"older_than": "30"}])
def test_nothing_is_removed_by_a_form_that_does_not_say_what(
    admin: httpx.Client, form: dict[str, Any] | None
) -> None:
    """A bare 30 could be days or milliseconds."""
    answer = admin.post("/videos/purge", json=form)
    assert answer.status_code == 400
    assert answer.json()["issues"][0]["path"]
