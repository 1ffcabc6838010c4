"""Stored videos: how fast they are served and at what cost beside nginx, how long taking one in
lasts beside a plain download, and what polls feel while videos come from a cold disk.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import processes
from tests.bench.load import Request, bytes_per_second, on_core
from tests.bench.rounds import Comparison, compare
from tests.slow_readers import allowed_bytes, grown_by_readers

SIZES = (5_000_000, 50_000_000)
READERS = (1, 16)
SPEED_GOAL = 0.8
WORK_GOAL = 1 / 1.5
"""Gigabytes for a second of the processor: at most one and a half times nginx's seconds."""
FILL_GOAL = 1 / 1.15
FILLS_A_TURN = 3
"""One takes some hundredths of a second, of which a sync of the disk is a good part, and none is
like another."""
POLL_GOAL_MS = 5.0
LEAST_WORK = 0.01
"""Seconds for a gigabyte: what is found below it is the clock's error."""
MEGABYTE, GIGABYTE = 1_000_000, 1_000_000_000
COLD_READERS = 4
POLLS = 1_500


@dataclass(frozen=True)
class _Work:
    """What a gigabyte took of the processor, in seconds."""

    booked: float
    """To the process that serves."""
    both: float
    """To it and to who reads: the kernel does a part of the sending in the reader's time, another
    one with each server and number of readers."""


class _Side:
    """One of the two that are compared: what it sends, and the processor's part in that."""

    def __init__(self, request: Request, pid: int, body_bytes: int) -> None:
        self._request = request
        self._pid = pid
        self._body_bytes = body_bytes
        self.work: list[_Work] = []
        """By turn."""

    def serve(self) -> float:
        """Megabytes a second, for one turn."""
        before, began = self._seconds(), time.monotonic()
        speed = bytes_per_second(self._request, self._body_bytes)
        sent = speed * (time.monotonic() - began) / GIGABYTE
        server, reader = (now - then for now, then in zip(self._seconds(), before, strict=True))
        self.work.append(_Work(server / sent, (server + reader) / sent))
        return speed / MEGABYTE

    def _seconds(self) -> tuple[float, float]:
        """Of the processor: the server's, and those of the readers that have ended."""
        readers = resource.getrusage(resource.RUSAGE_CHILDREN)
        return processes.processor_seconds(self._pid), readers.ru_utime + readers.ru_stime


def compare_videos(turns: int, seconds: float) -> Iterator[Comparison]:
    """Each size and number of readers: speed and work beside nginx; then filling. Nothing where
    nginx is not installed."""
    if shutil.which("nginx") is None:
        return
    for size in SIZES:
        with (
            TemporaryDirectory(prefix="bench-") as folder,
            processes.gateway(Path(folder), size) as running,
        ):
            for readers in READERS:
                yield from _compare_serving(running, readers, turns, seconds)
            yield _compare_filling(running, size, turns * FILLS_A_TURN)


def _compare_serving(
    running: processes.Running, readers: int, turns: int, seconds: float
) -> Iterator[Comparison]:
    file = max((running.data_dir / "videos").rglob("*.mp4"), key=lambda path: path.stat().st_size)
    size = file.stat().st_size
    with (
        TemporaryDirectory(prefix="bench-nginx-") as folder,
        processes.nginx(Path(folder), file) as (url, pid),
    ):
        path = f"{running.url}/api/v1/video/retrieve"
        body = running.poll(running.stored)
        asked = Request(path, "POST", running.headers(), body, readers, seconds)
        own = _Side(asked, running.pid, size)
        bare = _Side(Request(url, connections=readers, seconds=seconds), pid, size)
        name = f"a stored video of {size / MEGABYTE:.0f} MB, {readers} reading"
        yield compare(name, "MB/s", own.serve, bare.serve, turns=turns, goal=SPEED_GOAL)
        work = list(zip(own.work[1:], bare.work[1:], strict=True))
        due = [(_due(mine, its), its.booked) for mine, its in work]
        yield _work(f"{name}: work", WORK_GOAL, due)
        booked = [(mine.booked, its.booked) for mine, its in work]
        yield _work(f"{name}: work as booked", None, booked)


def _due(own: _Work, bare: _Work) -> float:
    """What serving took: the bare server's seconds, and what both ends took more than with it."""
    return max(bare.booked + own.both - bare.both, LEAST_WORK)


def _work(name: str, goal: float | None, turns: Iterable[tuple[float, float]]) -> Comparison:
    """Of seconds for a gigabyte, by turn: so many gigabytes for a second."""
    pairs = tuple((1 / max(own, LEAST_WORK), 1 / max(bare, LEAST_WORK)) for own, bare in turns)
    return Comparison(name, "GB for a second of the processor", pairs, goal)


def _compare_filling(running: processes.Running, size: int, turns: int) -> Comparison:
    numbers = itertools.count()

    def fill() -> float:
        """One video taken in, checked, hashed and made durable."""
        before = _filled(running)
        prompt = f"{processes.AT_ONCE} {size} {next(numbers)}"
        queue_id = processes.order(running.url, running.key, prompt)
        processes.until(lambda: processes.is_stored(running, queue_id))
        seconds, count = (now - then for now, then in zip(_filled(running), before, strict=True))
        assert count == 1, "one video was taken in"
        return size / MEGABYTE / seconds

    def download() -> float:
        """The same from the same stand-in, into a file and no more."""
        prompt = f"{processes.AT_ONCE} {size} plain {next(numbers)}"
        queue_id = processes.order(running.venice, processes.VENICE_KEY, prompt, prefix="")
        return size / MEGABYTE / _plain_download(running, queue_id)

    name = f"taking in a video of {size / MEGABYTE:.0f} MB"
    return compare(name, "MB/s", fill, download, turns=turns, goal=FILL_GOAL)


def _filled(running: processes.Running) -> tuple[float, float]:
    """Seconds and number of all fills so far."""
    with urllib.request.urlopen(f"{running.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    name = "venice_gateway_video_fill_seconds"
    return float(values[f"{name}_sum"]), float(values[f"{name}_count"])


def _plain_download(running: processes.Running, queue_id: str) -> float:
    body = json.dumps({"model": processes.MODEL, "queue_id": queue_id}).encode()
    headers = {"Authorization": f"Bearer {processes.VENICE_KEY}"}
    headers["Content-Type"] = "application/json"
    request = urllib.request.Request(f"{running.venice}/video/retrieve", body, headers)
    began = time.monotonic()
    with (
        on_core(processes.SERVED_CORE),
        TemporaryDirectory(prefix="bench-", dir=running.data_dir) as folder,
        urllib.request.urlopen(request, timeout=60) as answer,
        (Path(folder) / "video.mp4").open("wb") as file,
    ):
        assert answer.headers.get_content_type() == "video/mp4"
        shutil.copyfileobj(answer, file, 256 * 1024)
        os.fsync(file.fileno())
    return time.monotonic() - began


def memory_of_slow_readers(readers: int, size: int) -> str:
    """How much the gateway grows under many readers that take little, in a sentence."""
    with TemporaryDirectory(prefix="bench-") as folder:
        grown = asyncio.run(grown_by_readers(Path(folder), readers, size))
    allowed = allowed_bytes(readers)
    return (
        f"{readers} readers of {size / MEGABYTE:.0f} MB at once, most of whom stop reading: the "
        f"gateway grows by {grown / MEGABYTE:.0f} MB at most; the goal of "
        f"{allowed / MEGABYTE:.0f} MB is {'reached' if grown < allowed else 'missed'}."
    )


def polls_beside_cold_videos(polls: int = POLLS) -> str:
    """How long polls take while videos come from a disk, beside none, in a sentence."""
    with (
        TemporaryDirectory(prefix="bench-") as folder,
        processes.gateway(Path(folder), SIZES[-1]) as running,
    ):
        alone = _poll_p99_ms(running, polls)
        with _reading_cold(running):
            beside = _poll_p99_ms(running, polls)
    verdict = "reached" if beside - alone <= POLL_GOAL_MS else "missed"
    return (
        f"Polls while {COLD_READERS} readers fetch videos that are not in memory: p99 "
        f"{beside:.1f} ms, alone {alone:.1f} ms; the goal of {POLL_GOAL_MS:.0f} ms more at most "
        f"is {verdict}."
    )


def _poll_p99_ms(running: processes.Running, polls: int) -> float:
    taken = []
    body = running.poll(running.working).encode()
    request = urllib.request.Request(
        f"{running.url}/api/v1/video/retrieve", body, running.headers()
    )
    for _ in range(polls):
        began = time.monotonic()
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
        taken.append(time.monotonic() - began)
    return sorted(taken)[polls * 99 // 100] * 1000


@contextmanager
def _reading_cold(running: processes.Running) -> Iterator[None]:
    """Readers of one video that is put out of memory again and again.

    In a process of their own, that steps aside for the one that polls: it is the gateway that is
    to be measured, and not who measures it.
    """
    (file,) = (running.data_dir / "videos").rglob("*.mp4")
    body = running.poll(running.stored).encode()
    request = urllib.request.Request(
        f"{running.url}/api/v1/video/retrieve", body, running.headers()
    )
    readers = multiprocessing.get_context("fork").Process(
        target=_read_cold, args=(request, file), daemon=True
    )
    readers.start()
    try:
        yield
    finally:
        readers.kill()
        readers.join()


def _read_cold(request: urllib.request.Request, file: Path) -> None:
    """Read a video, and have it forgotten, until the process is ended."""
    os.nice(19)

    def read() -> None:
        while True:
            with urllib.request.urlopen(request, timeout=60) as answer:
                while answer.read(1_000_000):
                    pass

    for _ in range(COLD_READERS):
        threading.Thread(target=read, daemon=True).start()
    descriptor = os.open(file, os.O_RDONLY)
    while True:
        time.sleep(0.05)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
