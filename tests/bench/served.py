"""What a real gateway process answers: polls, beside a bare application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import processes
from tests.bench.load import Request, requests_per_second
from tests.bench.rounds import Comparison, compare

POLLS_GOAL = 0.5


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
