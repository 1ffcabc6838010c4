"""The demonstration shows a video within seconds, reads no real key, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_process import ROOT

FIRST_VIDEO_SECONDS_MAX = 10.0
END_SECONDS_MAX = 8.0
REAL_KEY = "vk-CANARY-a-real-key-2b90"
STATES_AT_ONCE = {
    "in_doubt", "settled_in_doubt", "released_in_doubt", "refused", "failed_refunded",
    "failed_billed", "stalled", "stored", "processing",
}  # fmt: skip
"""States that jobs of the demonstration come to within seconds; the others take longer."""


class Demo:
    """A running demonstration and what it has printed."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.printed = ""

    def read_until(self, mark: str) -> str:
        """Everything printed up to the line that has the mark."""
        assert self.process.stdout is not None
        while mark not in self.printed:
            line = self.process.stdout.readline()
            assert line, f"ended without {mark!r}: {self.printed}"
            self.printed += line
        return self.printed

    def key(self, user: str) -> str:
        found = re.search(rf"^ +{user} +(vgw_\w+)$", self.printed, re.MULTILINE)
        assert found is not None
        return found[1]

    def end(self) -> float:
        """Press Ctrl-C and wait; the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        rest, _ = self.process.communicate(timeout=30)
        self.printed += rest
        return time.monotonic() - began


@contextmanager
def running(folder: Path, *words: str) -> Iterator[Demo]:
    """A demonstration in an environment that holds a real key and settings of a real gateway."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", *words],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(folder),
            "VENICE_API_KEY": REAL_KEY,
            "VGW_UPSTREAM_URL": "https://venice.invalid/api/v1",
            "VGW_DATA_DIR": str(folder / "real-data"),
            "VGW_PORT": str(port),
        },
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Demo(process, port)
    finally:
        process.kill()
        process.communicate()


def ask(url: str, key: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as got:
            return got.status, json.load(got)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_video_plays_within_ten_seconds_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    with running(tmp_path) as demo:
        demo.read_until("The first video")
        assert time.monotonic() - began < FIRST_VIDEO_SECONDS_MAX
        demo.read_until("-o video.mp4")
        (link,) = re.findall(r"http\S+/gateway/v1/media/\S+", demo.printed)
        with urllib.request.urlopen(link, timeout=10) as video:
            assert video.read()[4:8] == b"ftyp"

        order = {"model": "kling-2.5-turbo-pro-text-to-video", "prompt": "p", "duration": "10s"}
        status, refusal = ask(f"{demo.url}/api/v1/video/queue", demo.key("bo"), order)
        assert (status, refusal["budget"]["name"]) == (402, "bo")
        budget = refusal["budget"]
        assert Decimal(budget["spent_usd"]) + Decimal(budget["reserved_usd"]) > 0

        until_states(demo, STATES_AT_ONCE)
        (path,) = re.findall(r"VGW_ADMIN_KEY_FILE=(\S+)", demo.printed)
        admin_key = Path(path).read_text().strip()
        assert demo.end() < END_SECONDS_MAX
    assert demo.process.returncode == 0, demo.printed
    assert admin_key not in demo.printed
    assert REAL_KEY not in demo.printed
    assert "Traceback" not in demo.printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demonstration_ended_before_it_began_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path) as demo:
        demo.read_until("Starting a simulated Venice")
        demo.process.send_signal(number)
        rest, _ = demo.process.communicate(timeout=30)
    assert "Traceback" not in rest
    assert demo.process.returncode == 0, rest
    assert list(tmp_path.iterdir()) == []


def until_states(demo: Demo, wanted: set[str]) -> None:
    """Wait until there has been a job in each of these states."""
    deadline = time.monotonic() + 30
    seen: set[str] = set()
    while not wanted <= seen:
        assert time.monotonic() < deadline, f"never seen: {wanted - seen}"
        with urllib.request.urlopen(f"{demo.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        counts = re.findall(r'^venice_gateway_jobs\{state="(\w+)"\} (\S+)$', text, re.MULTILINE)
        seen |= {state for state, count in counts if count != "0.0"}
        time.sleep(0.1)


def test_chaos_tells_what_was_saved_and_nothing_is_bought_twice(tmp_path: Path) -> None:
    with running(tmp_path, "--chaos", "--for", "12") as demo:
        printed = demo.read_until("Everything has ended")
        assert demo.process.wait(30) == 0
    saved = re.findall(r"saved so far.*bought twice: (\d+)", printed)
    assert len(saved) >= 2
    assert set(saved) == {"0"}
    (last,) = re.findall(r"(\d+) purchases not made twice", printed)[-1:]
    assert int(last) > 0, printed
    assert "Traceback" not in printed
    assert list(tmp_path.iterdir()) == []
