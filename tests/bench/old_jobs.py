"""A ledger with a past: as many ended jobs as wanted, with their entries, made by SQL in seconds.

`python -m tests.bench.old_jobs FILE` proves one and tells what that took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import closing
from pathlib import Path

from gateway.core.budget import END_OF_TIME
from gateway.core.policy import ORGANIZATION_NAME
from gateway.storage.database import prepare
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.hand_made import count_jobs

USERS, TEAMS, MODELS = 200, 8, 12
STEP_MS = 20_000
"""Between two jobs: a million take seven and a half months."""
UPSTREAM = "bench"
_JOBS = """
WITH RECURSIVE many(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM many WHERE n + 1 < :after)
INSERT INTO jobs (id, queue_id, user, key_id, team, model, state, holding, quote, reserved, settled,
    created_at, sent_at, accepted_at, ready_at, ended_at, body_digest, answer, answer_owed, policy,
    policy_version, seconds, resolution, upstream_key, copy_gone, delivered_at)
SELECT printf('old%018d', n), printf('%08x-venice', n), 'user-' || (n % :users),
    'key-' || (n % :users), 'team-' || (n % :teams), 'model-' || (n % :models), 'purged', 'settled',
    500000, 0, 500000, :until - (:count - n) * :step, 1, 1, 1, 1,
    printf('%064x', n), '{"model":"a","queue_id":"b"}', 0, 'default', '1', 5, '720p',
    '0123456789abcdef', 1, 1
FROM many
"""
_ENTRIES = """
INSERT INTO entries (job, kind, at, reserved, in_doubt, settled)
SELECT id, kind, created_at, CASE kind WHEN 'reserve' THEN 500000 ELSE -500000 END, 0,
    CASE kind WHEN 'reserve' THEN 0 ELSE 500000 END
FROM jobs JOIN (SELECT 'reserve' AS kind UNION ALL SELECT 'settle')
WHERE number > (SELECT coalesce(max(number), 0) FROM jobs) - :more ORDER BY number, kind
"""
_BALANCES = """
INSERT INTO balances (scope, id, starts_at, ends_at, models, reserved, in_doubt, settled)
SELECT :scope, {who}, created_at / :length * :length, (created_at / :length + 1) * :length, '*',
    0, 0, sum(settled)
FROM jobs GROUP BY 2, 3
"""
_DAY_MS = 86_400_000
_SCOPES = {
    "key": ("key_id", (_DAY_MS,)),
    "user": ("user", (_DAY_MS, 30 * _DAY_MS, END_OF_TIME)),
    "team": ("team", (30 * _DAY_MS,)),
    "organization": (f"'{ORGANIZATION_NAME}'", (_DAY_MS, 30 * _DAY_MS, END_OF_TIME)),
}
"""Whose windows there were, and how long: in a past of half a year, some 100,000."""
CHUNK = 100_000


def fill(path: Path, jobs: int, until: int) -> None:
    """Add so many ended jobs, the last of them reserved just before a moment."""
    with closing(prepare(path, UPSTREAM, 1)) as connection:
        for first in range(0, jobs, CHUNK):
            after = min(first + CHUNK, jobs)
            values = {
                "first": first,
                "after": after,
                "more": after - first,
                "count": jobs,
                "until": until,
                "step": STEP_MS,
                "users": USERS,
                "teams": TEAMS,
                "models": MODELS,
            }
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_JOBS, values)
            connection.execute(_ENTRIES, values)
            connection.execute("COMMIT")
        for scope, (who, lengths) in _SCOPES.items():
            for length in lengths:
                window = {"scope": scope, "length": length}
                connection.execute(_BALANCES.format(who=who), window)
        count_jobs(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _verify(path: Path) -> dict[str, object]:
    ledger = await SqliteLedger.open(path, upstream=UPSTREAM, now=1)
    before = _peak()
    began, worked = time.perf_counter(), time.process_time()
    found = await ledger.verify()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - worked
    await ledger.close()
    return {
        "is_sound": found.is_sound,
        "entries": found.entries,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "megabytes": _peak(),
        "megabytes_before": before,
    }


def _peak() -> float:
    """The most memory that this process has ever held, in megabytes.

    Not `ru_maxrss`: a process inherits that from the one that started it, however large it was.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kibibytes) / 1024


def main() -> None:
    """Verify a ledger in a process of its own, so that its memory is its own too."""
    print(json.dumps(asyncio.run(_verify(Path(sys.argv[1])))))


if __name__ == "__main__":
    main()
