"""Sends one HTTP request over and over from a process of its own: `wrk` where it is installed,
else a small generator over raw sockets. Any answer but 200 is an error, not a figure.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
TIMER_SECONDS = 0.001
"""Timers of the load are whole milliseconds."""
LOAD_CORE = 1
"""The load runs on one core, what is measured on the other, where there are two."""


@dataclass(frozen=True)
class Request:
    """What is sent; `seconds` long over `connections` kept alive."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    connections: int = 32
    seconds: float = 2.0
    per_second: float | None = None
    """How many in all, from `each_answer` alone; without it each follows the answer before it."""


class LoadFailed(Exception):
    """Something else than 200 came back, or nothing."""


def requests_per_second(request: Request) -> float:
    """How many answers of 200 came back a second."""
    return _by_wrk(request) if shutil.which("wrk") else _by_sockets(request)


def bytes_per_second(request: Request, body_bytes: int) -> float:
    """How many bytes of answers came back a second; where the generator only counts answers, those
    of whole ones."""
    if not shutil.which("wrk"):
        return _by_sockets(request) * body_bytes
    found = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?)B", _said_by_wrk(request))
    if found is None:
        raise LoadFailed("wrk told of no transfer")
    return float(found[1]) * float(1024 ** "_KMG".index(found[2] or "_"))


def each_answer(request: Request) -> list[tuple[float, float]]:
    """When each request was due, by `time.perf_counter` of any process here, and the seconds from
    then to its answer: one that has to wait for the answer before it is late, and that counts.

    By the bench's own sockets, for `wrk` does not tell of single ones.
    """
    return [(asked, wait) for asked, wait in _said_by_sockets(request)["answers"]]


def generator() -> str:
    """Which generator is used here."""
    return "wrk" if shutil.which("wrk") else "the bench's own sockets"


def _by_wrk(request: Request) -> float:
    said = _said_by_wrk(request)
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise LoadFailed(said)
    return float(found[1])


def _said_by_wrk(request: Request) -> str:
    lines = [f"wrk.method = {json.dumps(request.method)}"]
    lines += [f"wrk.body = {json.dumps(request.body)}"] if request.body else []
    lines += [f"wrk.headers[{json.dumps(n)}] = {json.dumps(v)}" for n, v in request.headers.items()]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("\n".join(lines))
        script.flush()
        command = ["wrk", "-t1", f"-c{request.connections}", f"-d{max(1, round(request.seconds))}"]
        command += ["--latency", "-s", script.name, request.url]
        said = _run(command, request)
    if "Non-2xx" in said:
        raise LoadFailed(said)
    return said


def _by_sockets(request: Request) -> float:
    return float(_said_by_sockets(request)["rate"])


def _said_by_sockets(request: Request) -> dict[str, Any]:
    said = _run([sys.executable, "-m", "tests.bench.load", json.dumps(asdict(request))], request)
    found: dict[str, Any] = json.loads(said)
    return found


def _run(command: list[str], request: Request) -> str:
    with on_core(LOAD_CORE):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    said, complaint = process.communicate(timeout=request.seconds + 30)
    if process.returncode:
        raise LoadFailed(said + complaint)
    return said


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes started inside stay on one core, where the system can and has more than one."""
    if not hasattr(os, "sched_setaffinity") or core not in os.sched_getaffinity(0):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class _Connection(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(
        self, content: bytes, failed: asyncio.Future[None], interval: float | None
    ) -> None:
        self._content = content
        self._failed = failed
        self._interval = interval
        """Seconds from one request to the next; None where it follows its answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._asked = 0.0
        self.answers: list[tuple[float, float]] = []
        """When each was asked for, and the seconds it took."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Not all at one moment.
        self._ask_at(time.perf_counter() + (self._interval or 0.0) * random.random())

    def _ask_at(self, due: float) -> None:
        self._asked = due
        early = due - time.perf_counter()
        if early > 0:
            asyncio.get_running_loop().call_later(early, self._ask)
        else:
            self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        # A timer may be late by itself; a request that waited for its answer is late by its server.
        self._asked = max(self._asked, min(time.perf_counter(), self._asked + TIMER_SECONDS))
        self._transport.write(self._content)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() != 200:
            self._fail(f"status {self._parser.get_status_code()}")
            return
        now = time.perf_counter()
        self.answers.append((self._asked, now - self._asked))
        self._ask_at(now if self._interval is None else self._asked + self._interval)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection ended: {error}")

    def _fail(self, why: str) -> None:
        if not self._failed.done():
            self._failed.set_exception(LoadFailed(why))


async def _send(request: Request) -> dict[str, Any]:
    parts = urlsplit(request.url)
    body = request.body.encode()
    fields = {"Host": parts.netloc, **request.headers}
    fields |= {"Content-Length": str(len(body))} if body else {}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    content = f"{request.method} {parts.path} HTTP/1.1\r\n{head}\r\n".encode() + body
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    interval = request.connections / request.per_second if request.per_second else None
    started = time.perf_counter()
    connections = []
    for _ in range(request.connections):
        _, connection = await loop.create_connection(
            lambda: _Connection(content, failed, interval), HOST, parts.port or 80
        )
        connections.append(connection)
    done, _ = await asyncio.wait([failed], timeout=request.seconds)
    for future in done:
        future.result()
    answers = sorted(answer for each in connections for answer in each.answers)
    if not answers:
        raise LoadFailed("nothing was answered")
    return {"rate": len(answers) / (time.perf_counter() - started), "answers": answers}


if __name__ == "__main__":
    gc.disable()  # it would be a pause of the load's own
    print(json.dumps(uvloop.run(_send(Request(**json.loads(sys.argv[1]))))))
