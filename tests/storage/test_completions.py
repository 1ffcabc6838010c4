"""Learned completion times are kept with the ledger, and a damaged row costs nothing but itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.completion import Kind, Sketch
from gateway.storage.completions import SqliteCompletionTimes
from gateway.storage.ledger_sqlite import SqliteLedger

KINDS = [Kind("wan", "720p", 5), Kind("wan", "720p", 10), Kind("wan"), Kind("kling", None, 5)]


async def test_each_kind_is_kept_by_itself_and_the_last_word_counts(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "gateway.db", upstream="test", now=1)
    times = SqliteCompletionTimes(ledger.access)
    sketches = [Sketch().seen(10.0 * n, 11.0 * n, None) for n in range(1, 5)]
    for kind, sketch in zip(KINDS, sketches, strict=True):
        await times.keep(kind, Sketch(), None, 1)
        await times.keep(kind, sketch, 145_000, 2)
    await ledger.close()
    ledger = await SqliteLedger.open(tmp_path / "gateway.db", upstream="test", now=3)
    found = {
        kind: (kept, average)
        for kind, kept, average in await SqliteCompletionTimes(ledger.access).read()
    }
    await ledger.close()
    assert set(found) == set(KINDS)
    for kind, sketch in zip(KINDS, sketches, strict=True):
        assert found[kind][0].weights == pytest.approx(sketch.weights, abs=1e-4)
        assert found[kind][1] == 145_000


async def test_a_row_that_cannot_be_read_is_learned_anew(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "gateway.db", upstream="test", now=1)
    times = SqliteCompletionTimes(ledger.access)
    for kind in KINDS:
        await times.keep(kind, Sketch(), None, 1)
    await ledger.access.run(
        lambda c: c.execute("UPDATE completion_times SET weights = 'x' WHERE model = 'kling'")
    )
    assert {kind for kind, _, _ in await times.read()} == set(KINDS[:3])
    await ledger.close()
