"""`make bench`: measures, prints, and writes `docs/benchmarks.md`."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import report
from tests.bench.load import ROOT
from tests.bench.reservations import compare_reservations
from tests.bench.rounds import Comparison
from tests.bench.scraped import measure
from tests.bench.served import compare_polls, served
from tests.bench.videos import compare_videos, memory_of_slow_readers, polls_beside_cold_videos

NO_NGINX = (
    "Stored videos were not measured: nginx, which it is compared with, is not installed here."
)


SLOW, SLOW_QUICKLY = (100, 500_000_000), (5, 5_000_000)
"""Readers that take little, and the size of their video."""


def main() -> None:
    """Measure everything; `--quick` to see that it runs, which writes nothing."""
    parser = argparse.ArgumentParser("tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short turn each; writes nothing")
    parser.add_argument("--turns", type=int, default=9, help="turns of subject and baseline")
    quick = (given := parser.parse_args()).quick
    turns, share, seconds = (1, 0.05, 1.0) if quick else (given.turns, 1.0, 2.0)
    found: list[Comparison] = []
    notes: list[str] = []

    def keep(one: Comparison) -> None:
        found.append(one)
        print(one, flush=True)

    with served() as running:
        keep(compare_polls(running, turns, seconds))
    alone = len(found)
    for one in compare_videos(turns, seconds):
        keep(one)
    notes.append(polls_beside_cold_videos() if len(found) > alone else NO_NGINX)
    print(notes[-1])
    notes.append(memory_of_slow_readers(*(SLOW_QUICKLY if quick else SLOW)))
    print(notes[-1])
    with TemporaryDirectory(prefix="bench-", dir=_same_disk()) as folder:
        watched = measure(Path(folder))
        print(watched, flush=True)
        notes.append(f"**Watching**: {watched}")
    with TemporaryDirectory(prefix="bench-", dir=_same_disk()) as folder:
        for one in compare_reservations(Path(folder), turns, share):
            keep(one)
    if not quick:
        report.write(found, notes)
        print(f"written to {report.FILE}")


def _same_disk() -> Path:
    """A folder on the disk of the working tree: a temporary one may be memory."""
    folder = ROOT / ".cache"
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
