"""Writes `docs/benchmarks.md` from what one run found; ratios first, figures beside them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.bench.load import ROOT, generator
from tests.bench.rounds import Comparison

FILE = ROOT / "docs" / "benchmarks.md"
_PACKAGES = ("starlette", "uvicorn", "uvloop", "httptools")
_TEXT = """# Benchmarks

Written by `make bench`. Each subject is measured beside the barest thing that does the same work,
in turns, on one machine, in one run; a ratio of 1 means that the gateway costs nothing on top.
Absolute figures drift with the machine and with what else runs on it, so only the ratios are worth
comparing, and the spread says how much this run is to be trusted.

| what | ratio | spread | goal | gateway | baseline |
|---|---|---|---|---|---|
{rows}

{notes}## What is compared

- **Polls**: `POST /api/v1/video/retrieve` of a job in the making, through a gateway process, 32
  connections kept alive; the baseline is a Starlette application that answers a constant JSON
  under the same uvicorn, uvloop and httptools. The gateway checks the key, counts the poll, reads
  the body as strict JSON, finds the job and times it.
- **Reservations**: the ledger holds a quote in four windows (key, user, team, organization),
  durably; the baseline is one thread with group commit, a SAVEPOINT per transaction and the same
  pragmas, that updates four balances and inserts a job and an entry of four columns. It has no
  windows, grants, constraints, foreign keys or secondary indexes.
- **Stored videos**: the bytes of a finished video by `POST /api/v1/video/retrieve`; the baseline is
  one nginx worker with `sendfile` and the same file. Work is how many gigabytes were sent for each
  second of the processor; a ratio of 0.67 is one and a half times nginx's seconds. On one machine
  the kernel does a part of the sending in the reader's time, and which part changes with server and
  readers: nginx's own seconds for a gigabyte differ by a factor of three. So what counts are
  nginx's seconds and, on top of them, what server and reader together took more than with nginx
  ([26](decisions/0026-what-serving-and-watching-cost.md)); *as booked* is what the accounting says
  of the two servers alone.
- **Watching**: polls that are sent when they are due, in runs with somebody who scrapes and
  without; each is timed by itself, and all are compared with those that no scrape was near.
- **Taking in**: from Venice's answer to a durable, checked and hashed file; the baseline is a plain
  download of the same size from the same stand-in into a file, with one sync.

Most of a reservation's time is the transaction itself, in the writer thread, and most of that is
writing: the job's row with its indexes, checks and tallies first, then the entry and the four
balances it moves, then the commit. What four windows hold is remembered, so that judging them
reads nothing, and what is written lies together, in the order of time. The bare writer does the
same writes to narrow tables without indexes and judges inside the update. Orders are made before
the clock starts, and eight of them are of one millisecond.

## Where it was measured

| | |
|---|---|
{machine}
"""


def write(found: Sequence[Comparison], notes: Sequence[str]) -> None:
    """Put this run's results in place of the last one's."""
    text = _TEXT.format(
        rows="\n".join(map(_row, found)),
        notes="".join(f"{note}\n\n" for note in notes),
        machine="\n".join(f"| {name} | {value} |" for name, value in _machine()),
    )
    FILE.write_text(text, "utf-8")


def _row(one: Comparison) -> str:
    low, high = one.spread
    goal = "–" if one.goal is None else f"{one.goal:.2f}, {one.verdict}"
    subject, baseline = (f"{value:,.0f} {one.unit}" for value in (one.subject, one.baseline))
    cells = (one.name, f"{one.ratio:.2f}", f"{low:.2f}–{high:.2f}", goal, subject, baseline)
    return f"| {' | '.join(cells)} |"


def _machine() -> list[tuple[str, str]]:
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return [
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        ("packages", packages),
        ("nginx", _nginx()),
        ("load by", generator()),
    ]


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _nginx() -> str:
    program = shutil.which("nginx")
    if program is None:
        return "not installed"
    said = subprocess.run([program, "-v"], check=False, capture_output=True, text=True).stderr
    return said.strip().rpartition("/")[2] or "installed"
