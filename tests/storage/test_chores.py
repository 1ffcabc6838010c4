"""What a gateway asks its ledger every second reads only the jobs that may be meant: a ledger may
have a million that are over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.core.retention import KeepRules
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.storage.conftest import NOON

RULES = KeepRules(keep=1, keep_undelivered=1, grace=1, purge_on_complete=True)
Chore = Callable[[SqliteLedger], Awaitable[object]]


@pytest.mark.parametrize(
    ("chore", "indexes"),
    [
        (lambda ledger: ledger.copies(["resting"]), {"jobs_with_copies"}),
        (lambda ledger: ledger.purgeable(RULES, NOON), {"jobs_with_videos", "jobs_with_copies"}),
        (lambda ledger: ledger.stored_ids(), {"jobs_with_videos"}),
        (lambda ledger: ledger.video_totals(), {"jobs_with_videos"}),
    ],
    ids=["copies", "purgeable", "stored_ids", "video_totals"],
)
async def test_a_chore_goes_by_the_index_of_those_that_need_it(
    tmp_path: Path, chore: Chore, indexes: set[str]
) -> None:
    ledger = await SqliteLedger.open(tmp_path / "gateway.db", upstream=None, now=NOON)
    asked: list[str] = []
    await ledger.access.scanner.set_trace_callback(asked.append)
    await chore(ledger)
    await ledger.access.scanner.set_trace_callback(None)  # type: ignore[arg-type]
    (statement,) = asked
    plan = [row[3] for row in await ledger.access.scan(f"EXPLAIN QUERY PLAN {statement}")]
    of_jobs = [step for step in plan if " jobs" in step]
    assert {name for name in indexes if any(name in step for step in of_jobs)} == indexes
    assert [step for step in of_jobs if not any(name in step for name in indexes)] == []
    await ledger.close()
