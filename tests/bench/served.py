"""What a real gateway process serves: polls beside a bare application, videos beside nginx."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import processes
from tests.bench.load import Request, requests_per_second
from tests.bench.rounds import Comparison, compare

POLLS_GOAL = 0.5
READERS = 4
MEGABYTE = 1_000_000


@contextmanager
def served() -> Iterator[processes.Running]:
    """A gateway in a folder of its own."""
    with TemporaryDirectory(prefix="bench-") as folder, processes.gateway(Path(folder)) as running:
        yield running


def compare_polls(running: processes.Running, turns: int, seconds: float) -> Comparison:
    """Polls of a job in the making, answered from memory."""
    with processes.bare_app() as bare_url:

        def poll(url: str) -> float:
            body = running.poll(running.working)
            return requests_per_second(
                Request(url, "POST", running.headers(), body, seconds=seconds)
            )

        return compare(
            "polls answered from memory",
            "requests/s",
            lambda: poll(f"{running.url}/api/v1/video/retrieve"),
            lambda: poll(bare_url),
            turns=turns,
            goal=POLLS_GOAL,
        )


def compare_videos(running: processes.Running, turns: int, seconds: float) -> Comparison | None:
    """A stored video, asked for as clients ask; None where nginx is not installed."""
    if shutil.which("nginx") is None:
        return None
    file = max((running.data_dir / "videos").rglob("*"), key=lambda path: path.stat().st_size)
    megabytes = file.stat().st_size / MEGABYTE
    body = running.poll(running.stored)

    def fetch(request: Request) -> float:
        return requests_per_second(request) * megabytes

    url = f"{running.url}/api/v1/video/retrieve"
    own = Request(url, "POST", running.headers(), body, READERS, seconds)
    with (
        TemporaryDirectory(prefix="bench-nginx-") as folder,
        processes.nginx(Path(folder), file) as bare_url,
    ):
        bare = Request(bare_url, connections=READERS, seconds=seconds)
        return compare(
            f"a stored video of {megabytes:.1f} MB",
            "MB/s",
            lambda: fetch(own),
            lambda: fetch(bare),
            turns=turns,
            goal=None,
        )
