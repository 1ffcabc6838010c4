"""R38: a start looks at every job, every balance and every file, and is over within ten seconds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.policy import ORGANIZATION_NAME
from gateway.storage.sums import SCOPE_COLUMNS
from gateway.storage.videos_disk import name_of
from tests.gateway_process import GatewayProcess, with_rules
from tests.hand_made import count_jobs
from tests.promises.asking import Client, order
from tests.promises.books import assert_books_balance
from tests.simulator_process import SimulatorProcess

CHECKED_SECONDS_MAX = 10.0
FIRST = 1_767_225_600_000
"""The first moment of 2026."""
USERS, TEAMS, DAYS, PRICE = 20, 4, 300, 60_000
RULES = with_rules(videos={"keep": "3650d", "keep_undelivered": "3650d", "on_complete": "keep"})

_JOBS = """
WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :jobs)
INSERT INTO jobs (id, queue_id, user, key_id, team, model, state, holding, quote, reserved, settled,
    created_at, ended_at, stored_at, body_digest, answer_owed, policy, policy_version, video_sha256,
    video_bytes, copy_gone)
SELECT 'old' || n, 'queue' || n, 'user' || (n % :users), 'key' || (n % :users),
    'team' || (n % :teams), 'wan-2.2-a14b-text-to-video', 'stored', 'settled', :price, 0, :price,
    :first + n * (:days * 86400000 / :jobs), :first, :first, 'digest' || n, 0, 'default', 'v',
    'hash', 4, 1
FROM counted
"""
_ENTRIES = "INSERT INTO entries (job, kind, at, reserved, in_doubt, settled) SELECT {} FROM jobs"
_RESERVE = "id, 'reserve', created_at, quote, 0, 0"
_SETTLE = "id, 'settle', created_at, -quote, 0, quote"
_BALANCES = (
    "INSERT INTO balances (scope, id, starts_at, ends_at, models, reserved, in_doubt, settled) "
    "SELECT '{scope}', {who}, day, day + 86400000, '*', 0, 0, sum(settled) FROM "
    "(SELECT *, created_at / 86400000 * 86400000 AS day FROM jobs) GROUP BY {who}, day"
)


def fill(gateway: GatewayProcess, jobs: int) -> None:
    """As many stored jobs as a year brings, each with its entries, windows by day and its file."""
    values = {"jobs": jobs, "users": USERS, "teams": TEAMS, "days": DAYS}
    with closing(sqlite3.connect(gateway.data_dir / "gateway.db")) as database, database:
        database.execute(_JOBS, {**values, "price": PRICE, "first": FIRST})
        for entry in (_RESERVE, _SETTLE):
            database.execute(_ENTRIES.format(entry))
        for scope, who in (*SCOPE_COLUMNS.items(), ("organization", f"'{ORGANIZATION_NAME}'")):
            database.execute(_BALANCES.format(scope=scope, who=who))
        count_jobs(database)
    for number in range(1, jobs + 1):
        name = name_of(f"old{number}")
        path = gateway.data_dir / "videos" / name[:2] / name[2:4] / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mp4\n")


def checked_seconds(gateway: GatewayProcess) -> float:
    """How long the checks of the last start took."""
    return float(gateway.events("start.checked")[-1]["seconds"])


@pytest.mark.parametrize(
    ("jobs", "ready_seconds"),
    [(1_500, 5.0), pytest.param(100_000, 15.0, marks=pytest.mark.torture)],
)
async def test_a_start_checks_everything_in_time_and_stops_spending_where_it_differs(
    simulator: SimulatorProcess, tmp_path: Path, jobs: int, ready_seconds: float
) -> None:
    """R38, and of R13 that a gateway with a thousand jobs is ready in five seconds."""
    gateway = GatewayProcess(tmp_path, simulator, policies=RULES)
    gateway.user_key = gateway.add_user("anna")
    fill(gateway, jobs)
    try:
        orphan = gateway.data_dir / "videos" / "ab" / "cd" / f"abcd{'0' * 60}.mp4"
        orphan.parent.mkdir(parents=True, exist_ok=True)
        orphan.write_bytes(b"left behind")
        ready = gateway.start()
        print(f"{jobs} jobs: checked in {checked_seconds(gateway)} s, ready after {ready:.1f} s")
        assert checked_seconds(gateway) <= CHECKED_SECONDS_MAX
        assert ready <= ready_seconds
        assert not orphan.exists()
        assert_books_balance(gateway)
        async with Client(gateway) as client:
            assert (await client.queue(order("after the checks"))).status_code == 200
            gateway.kill()
            with closing(sqlite3.connect(gateway.data_dir / "gateway.db")) as database, database:
                database.execute("UPDATE balances SET settled = settled + 1 WHERE number = 7")
            gateway.start()
            assert checked_seconds(gateway) <= CHECKED_SECONDS_MAX
            refused = await client.queue(order("after a difference"))
            assert refused.json()["code"] == "SPENDING_STOPPED"
            assert "0.000001" in refused.json()["message"]
    finally:
        gateway.terminate()
