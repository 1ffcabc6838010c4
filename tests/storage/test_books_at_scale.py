"""`ledger verify` over a long past: within its time, and within bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import old_jobs
from tests.storage.conftest import NOON

SECONDS_MAX = 30.0
MEGABYTES_MAX = 300.0
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("entries", [10_000, pytest.param(1_000_000, marks=pytest.mark.torture)])
@pytest.mark.timeout(900)
def test_a_long_past_is_proved_in_time_and_in_bounded_memory(tmp_path: Path, entries: int) -> None:
    """Of the processor's time: what else this machine does is not the ledger's."""
    path = tmp_path / "gateway.db"
    old_jobs.fill(path, entries // 2, NOON)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.old_jobs", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    print(found)
    assert found["is_sound"]
    assert found["entries"] == entries
    assert found["cpu_seconds"] <= SECONDS_MAX
    assert found["megabytes"] <= MEGABYTES_MAX
