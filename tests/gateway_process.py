"""A gateway in a process of its own for tests: real HTTP, real kills, always the same port.

It stands before a `SimulatorProcess` and keeps its data across restarts; it never meets Venice.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from gateway.core.keys import digest
from gateway.records import Key, User
from gateway.secret_files import new_key
from gateway.storage.ledger_sqlite import SqliteLedger
from tests.generous_rules import GENEROUS, with_rules
from tests.simulator_process import SimulatorProcess

ROOT = Path(__file__).parent.parent
READY_SECONDS_MAX = 60.0
"""For a machine with much else to do; how soon it must be ready is another test's promise."""
STOP_SECONDS_MAX = 25.0
"""The gateway may drain for ten seconds, and then closes its doors."""
COMMAND_SECONDS_MAX = 60.0
ORGANIZATION_KEY = "vk-CANARY-organization-7f3a9c51"
_ONE_USER: Mapping[str, str | None] = {"anna": None}

__all__ = ["ORGANIZATION_KEY", "CommandRefused", "GatewayProcess", "with_rules"]


class GatewayProcess:
    """Runs `python -m gateway serve` before a running simulator while the context lasts.

    `policies` is a document as in `policies/`; `users` (name to policy) are made before the
    first start; `settings` are further environment variables; `folder` holds all its files;
    `tracer` is a command that becomes the one it is given, as `strace -D` does.
    """

    def __init__(
        self,
        folder: Path,
        simulator: SimulatorProcess,
        *,
        policies: Mapping[str, Any] | str = GENEROUS,
        users: Mapping[str, str | None] = _ONE_USER,
        settings: Mapping[str, str] | None = None,
        tracer: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.simulator = simulator
        self.data_dir = folder / "data"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.keys: dict[str, str] = {}
        """The first key of each user."""
        self.user_key = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "gateway.log"
        self._users = dict(users)
        self._tracer = tracer
        self._environment = {
            **_clean_environment(),
            "PYTHONPATH": str(ROOT),
            "VENICE_API_KEY": ORGANIZATION_KEY,
            "VGW_UPSTREAM_URL": simulator.url,
            "VGW_PORT": str(self.port),
            "VGW_DATA_DIR": str(self.data_dir),
            "VGW_POLICIES": str(folder / "policies"),
            "VGW_LOG_FORMAT": "json",
            **(settings or {}),
        }
        self.write_policies(policies)

    def __enter__(self) -> Self:
        self._add_offline(self._users)
        self.user_key = next(iter(self.keys.values()), "")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; only while it runs."""
        assert self._process is not None, "the gateway does not run"
        return self._process.pid

    def start(self) -> float:
        """Start it and wait until it is ready; the seconds that took."""
        began = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._tracer, sys.executable, "-m", "gateway", "serve"],
                env=self._environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait_until_ready(began + READY_SECONDS_MAX)
        return time.monotonic() - began

    def kill(self) -> None:
        """End it as a power cut would, without a chance to write anything."""
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> float:
        """Ask it to stop and wait until it has; the seconds that took."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        self.wait()
        return time.monotonic() - began

    def signal(self, number: signal.Signals) -> None:
        """Send a signal without waiting; nothing happens if it does not run."""
        if self.is_running:
            os.kill(self.pid, number)

    def wait(self, seconds: float = STOP_SECONDS_MAX) -> int | None:
        """Wait for its end; the exit status, None if it did not run."""
        if self._process is None:
            return None
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        self._process = None
        return status

    def restart(self) -> float:
        """Start it again, killing it first if it still runs; the seconds until it was ready."""
        self.kill()
        return self.start()

    def write_policies(self, policies: Mapping[str, Any] | str) -> None:
        """Put these rules in place of all others; a running gateway takes them at `reload`."""
        path = self.folder / "policies" / "rules.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        # JSON is YAML, and keeps every text quoted.
        path.write_text(policies if isinstance(policies, str) else json.dumps(policies))

    def reload(self) -> None:
        """Have a running gateway read its policies again, and wait until it has."""
        before = self.log().count('"policies.')
        self.signal(signal.SIGHUP)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while self.log().count('"policies.') == before:
            if time.monotonic() > deadline:
                raise TimeoutError("the policies were not read again")
            time.sleep(0.02)

    def add_user(self, name: str, team: str | None = None, policy: str | None = None) -> str:
        """Make a user with one key and return that key."""
        if self._process is not None:
            given = {"--team": team, "--policy": policy}
            options = [part for flag, value in given.items() if value for part in (flag, value)]
            self.cli("user", "add", name, *options)
            key: str = self.cli("key", "create", name)["key"]
            self.keys.setdefault(name, key)
            return key
        return self._add_offline({name: policy}, team)[name]

    def cli(self, *words: str) -> Any:
        """What a command prints with `--json`; `CommandRefused` where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words, "--json"],
            env=self._environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        if done.returncode != 0:
            raise CommandRefused(f"{' '.join(words)}: status {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def metrics(self) -> dict[str, float]:
        """Every sample at `/metrics`, by its name with labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        samples = (line for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in (s.rpartition(" ") for s in samples)}

    def log(self) -> str:
        """All that it has written since the first start."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """The logged events of one name."""
        lines = (line for line in self.log().splitlines() if line.startswith("{"))
        found = (json.loads(line) for line in lines)
        return [event for event in found if event.get("event") == name]

    def _wait_until_ready(self, deadline: float) -> None:
        assert self._process is not None
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"no start: {self._process.returncode}, {self.log()[-600:]}")
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        self.kill()
        raise TimeoutError(f"the gateway was not ready in time: {self.log()[-600:]}")

    def _add_offline(
        self, users: Mapping[str, str | None], team: str | None = None
    ) -> dict[str, str]:
        made = {name: new_key() for name in users}
        now = time.time_ns() // 1_000_000

        async def add() -> None:
            path = self.data_dir / "gateway.db"
            ledger = await SqliteLedger.open(path, upstream=self.simulator.url, now=now)
            try:
                for name, (key_id, key) in made.items():
                    await ledger.add_user(User(name, team, users[name], created_at=now))
                    await ledger.add_key(Key(key_id, name, digest(key), created_at=now))
            finally:
                await ledger.close()

        # A test may itself run in an event loop.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, add()).result()
        keys = {name: key for name, (_, key) in made.items()}
        self.keys = {**keys, **self.keys}
        return keys


class CommandRefused(Exception):
    """A command ended with a status other than 0; the text has its reason."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _clean_environment() -> dict[str, str]:
    """This process's environment without anything that a gateway would read."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VGW_", "VENICE_", "AWS_")) and not name.lower().endswith("_proxy")
    }
