"""The processes that are measured: a gateway with a key and two jobs, the bare application, nginx.

Each is pinned to the core that the load does not use, and ends with its context.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.core.keys import digest, parse
from gateway.records import Key, User
from gateway.secret_files import new_key
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.bench.load import ROOT, on_core
from tests.simulator_process import SimulatorProcess

SERVED_CORE = 0
START_SECONDS_MAX = 30.0
VIDEO_BYTES = 5_000_000
VENICE_KEY = "the-key-of-a-benchmark"
AT_ONCE = "at once"
"""Prompts with these words are ready when they are ordered."""
MODEL = "wan-2.2-a14b-text-to-video"
_RULES = """
version: 1
policies:
  default:
    each_user: {day: 100, month: 1000}
    rate:
      requests_per_minute: 1000000000
      polls_per_minute: 1000000000
      queue_per_minute: 1000000000
"""
_NGINX = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  types {{ video/mp4 mp4; }}
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""


@dataclass(frozen=True)
class Running:
    """A gateway with its two jobs."""

    url: str
    key: str
    working: str
    """The queue_id of a job that is still being made."""
    stored: str
    """The queue_id of a job whose video is here."""
    data_dir: Path
    pid: int
    venice: str
    """The address of the stand-in behind it."""

    def headers(self) -> dict[str, str]:
        """What a client sends."""
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}

    def poll(self, queue_id: str) -> str:
        """The body of a poll."""
        return json.dumps({"model": MODEL, "queue_id": queue_id})


@contextmanager
def gateway(folder: Path, video_bytes: int = VIDEO_BYTES) -> Iterator[Running]:
    """A gateway process before a simulator, with one job that works and one that is stored."""
    (folder / "policies").mkdir()
    (folder / "policies" / "rules.yaml").write_text(_RULES)
    with SimulatorProcess(no_limits=True, video_bytes_min=video_bytes) as simulator:
        simulator.faults(
            [
                {
                    "endpoint": "queue",
                    "outcome": "ready_now",
                    "match": {"prompt_contains": AT_ONCE},
                },
                {"endpoint": "queue", "outcome": {"kind": "completed", "execution_seconds": 86400}},
            ]
        )
        key = asyncio.run(_seed(folder / "data" / "gateway.db", simulator.url))
        port = _free_port()
        environ = {n: v for n, v in os.environ.items() if not n.startswith(("VGW_", "VENICE_"))}
        environ |= {
            "VGW_DATA_DIR": str(folder / "data"),
            "VGW_POLICIES": str(folder / "policies"),
            "VGW_PORT": str(port),
            "VGW_UPSTREAM_URL": simulator.url,
            "VENICE_API_KEY": VENICE_KEY,
            "VGW_LOG_LEVEL": "error",
        }
        command = [sys.executable, "-m", "gateway", "serve"]
        with _process(command, folder, {**environ, "PYTHONPATH": str(ROOT)}) as process:
            url = f"http://127.0.0.1:{port}"
            until(lambda: _asked(f"{url}/livez"))
            working = order(url, key, "in a day")
            stored = order(url, key, AT_ONCE)
            data_dir, venice = folder / "data", simulator.url
            running = Running(url, key, working, stored, data_dir, process.pid, venice)
            until(lambda: is_stored(running, stored))
            yield running


async def _seed(database: Path, upstream: str) -> str:
    """A user with a key, made before the gateway starts."""
    text = new_key()[1]
    parsed = parse(text)
    assert parsed is not None
    ledger = await SqliteLedger.open(database, upstream=upstream, now=1)
    try:
        await ledger.add_user(User("bench", created_at=1))
        await ledger.add_key(Key(parsed.id, "bench", digest(text), created_at=1))
    finally:
        await ledger.close()
    return text


def order(url: str, key: str, prompt: str, prefix: str = "/api/v1") -> str:
    """Order a video; its queue_id."""
    body = {"model": MODEL, "prompt": prompt, "duration": "5s"}
    answers: list[tuple[str, bytes]] = []

    def is_taken() -> bool:
        answer = _asked(f"{url}{prefix}/video/queue", key, body)
        answers.extend([answer] if answer else [])
        return answer is not None

    until(is_taken)
    queue_id: str = json.loads(answers[0][1])["queue_id"]
    return queue_id


def is_stored(running: Running, queue_id: str) -> bool:
    """Whether a job's video is here."""
    body = {"model": MODEL, "queue_id": queue_id}
    answer = _asked(f"{running.url}/api/v1/video/retrieve", running.key, body)
    return answer is not None and answer[0] == "video/mp4"


def _asked(url: str, key: str = "", body: Any = None) -> tuple[str, bytes] | None:
    """Content type and body; None while nobody answers yet, or only that they are not ready."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return None
        raise RuntimeError(f"{url} answered {error.code}: {error.read()!r}") from error
    except OSError:
        return None


@contextmanager
def bare_app() -> Iterator[str]:
    """The constant Starlette application; its URL."""
    with bare_process() as (url, _):
        yield url


@contextmanager
def bare_process() -> Iterator[tuple[str, int]]:
    """The same, with its process id."""
    command = [sys.executable, "-m", "tests.bench.bare_app"]
    with _process(command, ROOT, dict(os.environ)) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}/api/v1/video/retrieve"
        until(lambda: _asked(url, body={}))
        yield url, process.pid


@contextmanager
def nginx(folder: Path, file: Path) -> Iterator[tuple[str, int]]:
    """One nginx worker that serves this very file, as it lies in memory; its URL and process id."""
    program = shutil.which("nginx")
    assert program is not None, "asked for only where nginx is installed"
    (folder / "video.mp4").symlink_to(file)
    port = _free_port()
    (folder / "nginx.conf").write_text(_NGINX.format(port=port, folder=folder))
    folder.chmod(0o755)
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    with _process(command, folder, dict(os.environ)) as process:
        url = f"http://127.0.0.1:{port}/video.mp4"
        until(lambda: _asked(url))
        yield url, process.pid


def processor_seconds(pid: int) -> float:
    """What a process has used of the processor so far; 0 where nobody tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii")
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _process(
    command: Sequence[str], folder: Path, environ: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    with on_core(SERVED_CORE):
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def until(holds: Any) -> None:
    """Return when something holds; `TimeoutError` where it does not in time."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {START_SECONDS_MAX} s; its reason is on stderr")
        time.sleep(0.05)
