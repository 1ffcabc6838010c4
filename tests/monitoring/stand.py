"""A real Prometheus beside a demonstration that it scrapes, to see what the queries give.

Both are processes of their own on loopback, and end with their context.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from grafana.vocabulary import RANGE, RATE
from tests.monitoring.asked import PROMETHEUS, ROOT

SCRAPE_SECONDS = 1
READY_SECONDS_MAX = 60.0
END_SECONDS_MAX = 30.0
RATE_SECONDS = 30
"""Long for so short a time of scraping: everything that is rare has happened within it."""
_CONFIG = """
global: {{scrape_interval: {seconds}s, evaluation_interval: {seconds}s}}
rule_files: ["{rules}/recording.yml", "{rules}/alerts.yml"]
scrape_configs:
  - job_name: venice-gateway
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Series:
    """What one query gave under one set of labels: moments and values, NaN left out."""

    labels: Labels
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Stand:
    """A Prometheus, and since when there is something to be seen in it."""

    url: str
    began: float

    def now(self, expr: str) -> list[Series]:
        """The value of a query at this moment."""
        found = self._get("query", query=self._filled(expr), time=f"{time.time():.3f}")
        return [Series(s["metric"], _points([s["value"]])) for s in _vector(found)]

    def since_the_beginning(self, expr: str) -> list[Series]:
        """The values of a query at every second."""
        found = self._get(
            "query_range",
            query=self._filled(expr),
            start=f"{self.began:.3f}",
            end=f"{time.time():.3f}",
            step="1",
        )
        return [Series(s["metric"], _points(s["values"])) for s in found["result"]]

    def label_values(self, asked: str) -> list[str]:
        """What Grafana would offer for `label_values(series, label)`."""
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", asked)
        assert match is not None, asked
        values: list[str] = self._get(f"label/{match[2]}/values", **{"match[]": match[1]})
        return values

    def rules(self) -> list[dict[str, Any]]:
        """Every rule as Prometheus has it, with its health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, door: str, **asked: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{door}", params=asked, timeout=30, trust_env=False)
        assert answer.status_code == 200, f"{asked}: {answer.text}"
        return answer.json()["data"]

    def _filled(self, expr: str) -> str:
        """A query as Grafana sends it."""
        span = max(RATE_SECONDS, int(time.time() - self.began))
        text = expr.replace(RATE, f"{RATE_SECONDS}s").replace(RANGE, f"{span}s")
        return re.sub(r"\$(instance|team|model)\b", ".*", text)


def is_possible() -> bool:
    """Whether a Prometheus is installed."""
    return shutil.which("prometheus") is not None


@contextmanager
def stand(folder: Path, seconds: float) -> Iterator[Stand]:
    """Let an organization play for so long, through a restart and a change of its rules."""
    port = _free_port()
    with _prometheus(folder, port) as url:
        began = time.time()
        with _demo(folder / "first", port):
            _until(lambda: _has_videos(port))
        with _demo(folder / "second", port):
            time.sleep(seconds / 2)
            _change_the_rules(folder / "second")
            time.sleep(seconds / 2)
            yield Stand(url, began)


def _change_the_rules(folder: Path) -> None:
    (rules,) = folder.glob("venice-gateway-demo-*/policies/demo.yaml")
    rules.write_text(rules.read_text("utf-8") + "# changed\n", "utf-8")


def _has_videos(port: int) -> bool:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10, trust_env=False).text
    return bool(re.search(r"^venice_gateway_video_hits_total\{.*\} [1-9]", text, re.MULTILINE))


@contextmanager
def _demo(folder: Path, port: int) -> Iterator[None]:
    folder.mkdir()
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("VGW_", "VENICE_"))}
    environ = {**kept, "VGW_PORT": str(port), "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gateway", "demo", "--chaos"]
    with _process(command, folder, environ):
        _until(lambda: _answers(f"http://127.0.0.1:{port}/livez"))
        yield


@contextmanager
def _prometheus(folder: Path, scraped: int) -> Iterator[str]:
    config = folder / "prometheus.yml"
    config.write_text(_CONFIG.format(seconds=SCRAPE_SECONDS, rules=PROMETHEUS, port=scraped))
    port = _free_port()
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with _process(command, folder, dict(os.environ)):
        _until(lambda: _answers(f"http://127.0.0.1:{port}/-/ready"))
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _process(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Iterator[None]:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environ), stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_SECONDS_MAX)
        finally:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {READY_SECONDS_MAX} s")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _vector(found: Any) -> list[Any]:
    if found["resultType"] == "scalar":
        return [{"metric": {}, "value": found["result"]}]
    result: list[Any] = found["result"]
    return result


def _points(values: Sequence[Sequence[Any]]) -> list[tuple[float, float]]:
    points = [(float(at), float(value)) for at, value in values]
    return [(at, value) for at, value in points if value == value]  # noqa: PLR0124 - NaN is not
