"""Backups, schema steps, the switch of spending, admin keys and videos, as people type them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from gateway.core.keys import parse
from gateway.storage.database import FileLock
from gateway.storage.migrate import read_steps
from gateway.storage.videos_disk import name_of
from tests.cli.conftest import BILLED, Place

VIDEO = b"a video's bytes"
NEWEST = read_steps()[-1].version


def admin_key(place: Place) -> str:
    return (place.process.data_dir / "admin.key").read_text().strip()


def status(place: Place, key: str, path: str, method: str = "GET") -> int:
    """What the door of administration answers a key."""
    with httpx.Client(base_url=place.process.url, trust_env=False) as client:
        headers = {"authorization": f"Bearer {key}"}
        body = {"stopped": True, "why": "a try"} if method == "POST" else None
        return client.request(
            method, f"/gateway/v1/admin/{path}", headers=headers, json=body
        ).status_code


def give_video(place: Place) -> Path:
    """Let a job have a stored video, as far as the database and the store know."""
    with closing(sqlite3.connect(place.process.data_dir / "gateway.db")) as database, database:
        database.execute(
            "UPDATE jobs SET state = 'stored', stored_at = created_at, video_bytes = ?, "
            "video_sha256 = ? WHERE id = ?",
            (len(VIDEO), hashlib.sha256(VIDEO).hexdigest(), BILLED),
        )
    name = name_of(BILLED)
    path = place.process.data_dir / "videos" / name[:2] / name[2:4] / f"{name}.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(VIDEO)
    return path


def test_a_backup_says_what_is_in_it_and_overwrites_nothing(place: Place) -> None:
    copy = place.process.folder / "copy.db"
    made = place.value("backup", str(copy))
    counted = {name: made[name] for name in ("file", "jobs", "videos", "schema_version")}
    assert counted == {"file": str(copy), "jobs": 3, "videos": False, "schema_version": NEWEST}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    again = place.run("backup", str(copy))
    assert (again.status, again.out) == (1, "")
    assert "is there already" in again.error


def test_spending_is_stopped_and_resumed_with_a_reason(place: Place) -> None:
    stopped = place.value("spending", "stop", "--why", "the card is lost")
    assert stopped == {"stopped": True, "why": "stopped by admin: the card is lost"}
    assert place.value("spending", "show") == stopped
    assert place.value("spending", "resume", "--why", "found") == {"stopped": False, "why": None}


def test_looking_at_the_schema_changes_nothing(place: Place) -> None:
    found = place.value("migrate", "--check")
    assert (found["version"], found["pending"], found["backup"]) == (NEWEST, [], None)


def test_a_database_is_restored_only_while_nobody_uses_it(alone: Place) -> None:
    copy = alone.process.folder / "copy.db"
    alone.value("backup", str(copy))
    lock = FileLock(alone.process.data_dir / "gateway.db")
    lock.say("http://127.0.0.1:9")
    refused = alone.run("restore", str(copy), "--json")
    lock.release()
    assert (refused.status, refused.out) == (1, "")
    assert "Stop the gateway first" in refused.error
    done = alone.value("restore", str(copy))
    assert Path(done["replaced"]).exists()
    assert done["spending_waits"].startswith("restored ")
    assert "spending resume" in alone.value("spending", "show")["why"]


@pytest.mark.parametrize("words", [("restore", "copy.db"), ("user", "list")])
def test_a_command_waits_for_another_one_and_says_so(alone: Place, words: tuple[str, ...]) -> None:
    """The other one is seen to be waited for before it lets go."""
    alone.value("backup", "copy.db")
    lock = FileLock(alone.process.data_dir / "gateway.db")
    waiting = alone.begun(*words, "--json")
    assert waiting.stderr is not None
    told = waiting.stderr.readline()
    lock.release()
    out, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    assert json.loads(out)
    assert "aiting for another command" in told


def test_an_admin_key_is_named_shown_once_and_revoked(alone: Place) -> None:
    made = alone.value("admin-key", "create", "vera", "--role", "viewer")
    parsed = parse(made["key"])
    assert parsed is not None
    assert (parsed.is_admin, parsed.id) == (True, made["id"])
    listed = alone.value("admin-key", "list")
    assert [(key["name"], key["role"]) for key in listed] == [("vera", "viewer")]
    assert made["key"] not in str(listed)
    taken = alone.run("admin-key", "create", "vera", "--role", "admin")
    assert (taken.status, "taken" in taken.error) == (1, True)
    assert alone.value("admin-key", "revoke", "vera")["revoked_at"]


@pytest.fixture
def running(alone: Place) -> Place:
    alone.process.start()
    return alone


def test_a_viewer_changes_nothing_and_a_reset_key_ends_at_once(running: Place) -> None:
    viewer = running.value("admin-key", "create", "vera", "--role", "viewer")["key"]
    boss = running.value("admin-key", "create", "boss", "--role", "admin")["key"]
    try:
        assert status(running, viewer, "users") == 200
        assert status(running, viewer, "spending", "POST") == 403
        assert status(running, viewer, "nowhere", "POST") == 403
        assert status(running, boss, "spending", "POST") == 200
        old = admin_key(running)
        done = running.run("admin-key", "reset", "--json")
        assert done.value == {"path": str(running.process.data_dir / "admin.key")}
        new = admin_key(running)
        assert new not in done.out + done.error
        assert (status(running, old, "users"), status(running, new, "users")) == (401, 200)
        headers = {"authorization": f"Bearer {viewer}"}
        url = f"{running.process.url}/gateway/v1/admin/audit"
        with httpx.Client(headers=headers, trust_env=False) as client:
            first = client.get(url, params={"limit": 2}).json()
            rest = client.get(url, params={"before": first["next"]}).json()
        acts = [(row["by"], row["act"]) for row in first["audit"] + rest["audit"]]
        assert acts == [
            ("admin", "admin_key.reset"),
            ("boss", "spending.stop"),
            ("admin", "admin_key.create"),
            ("admin", "admin_key.create"),
        ]
        assert rest["next"] is None
    finally:
        running.process.terminate()


def test_videos_are_listed_proved_and_purged_only_when_told_so(alone: Place) -> None:
    path = give_video(alone)
    (listed,) = alone.value("video", "list", "--user", "anna")
    assert (listed["job"], listed["bytes"]) == (BILLED, len(VIDEO))
    assert listed["expires_at"] > listed["stored_at"]
    totals = alone.value("video", "stats")
    assert (totals["videos"], totals["undelivered"], totals["by_state"]["stored"]) == (1, 1, 1)
    orphan = path.with_name(f"{'0' * 64}.mp4")
    orphan.write_bytes(b"nobody's")
    path.write_bytes(VIDEO.upper())
    proof = alone.run("video", "verify", "--json")
    assert proof.status == 1
    assert (proof.value["damaged"], proof.value["orphans"]) == ([BILLED], [orphan.stem])

    tried = alone.run("video", "purge", "--user", "anna", "--json")
    assert (tried.status, tried.value["jobs"], path.exists()) == (1, [BILLED], True)
    done = alone.value("video", "purge", BILLED, "--yes")
    assert (done["videos"], done["bytes"], path.exists()) == (1, len(VIDEO), False)
    assert alone.value("job", "show", BILLED)["state"] == "purged"
